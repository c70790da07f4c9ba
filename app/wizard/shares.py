"""Shares of arms that sum to 100% also after an arm is removed."""

from decimal import Decimal, InvalidOperation

from app.foundation.pages.typed import text
from app.wizard.form import Typed

STEP = Decimal("0.01")  # percent: as fine as the page's sliders
FINEST = Decimal("1e-9")  # percent: what is typed finer than that is left alone


def handed_on(typed: Typed, do: str) -> Typed:
    """What was typed in the step of arms, with the share of the arm that is to be removed given to the others.

    They get it in proportion to theirs, or equally when none has any; a holdout keeps what it has. Where a share is no number,
    nothing is touched: the page tells that then.

    :param do: the button: ``remove-2`` removes the third arm.
    """
    verb, _, place_text = do.partition("-")
    rows = typed["rows"]
    if verb != "remove" or not place_text.isdecimal() or int(place_text) >= len(rows) or len(rows) < 2:
        return typed
    place = int(place_text)
    shares = [_percent(row["share"]) for row in rows]
    others = [share for number, share in enumerate(shares) if number != place and share is not None]
    given = shares[place]
    if given is None or len(others) < len(rows) - 1:
        return typed
    grown = iter(_grown(others, given))
    return typed | {
        "rows": [row if number == place else row | {"share": next(grown)} for number, row in enumerate(rows)]
    }


def _grown(shares: list[Decimal], more: Decimal) -> list[str]:
    """The shares with that much more in all, to the hundredth of a percent and to the last of them exactly."""
    whole = sum(shares)
    so_far, given, found = Decimal(0), Decimal(0), []
    for number, share in enumerate(shares, start=1):
        so_far += share
        part = so_far / whole if whole else Decimal(number) / len(shares)
        until = more if number == len(shares) else (more * part).quantize(STEP)
        found.append(text(share + until - given))
        given = until
    return found


def _percent(typed: str) -> Decimal | None:
    """A typed share; null when it is none."""
    try:
        found = Decimal(typed.strip().removesuffix("%").strip() or "0")
    except InvalidOperation:
        return None
    return found if found.is_finite() and 0 <= found <= 100 and found == found.quantize(FINEST) else None
