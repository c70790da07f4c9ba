"""Shares of arms, as people type them in percent, that sum to 100% also after an arm is removed."""

from decimal import Decimal, InvalidOperation
from typing import Final

from app.foundation.pages.typed import text

STEP: Final = Decimal("0.01")  # percent: as fine as the page's sliders
FINEST: Final = Decimal("1e-9")  # percent: what is typed finer than that is left alone


def without(typed: list[str], index: int) -> list[str]:
    """All shares after that of one arm was given to the others, in proportion to theirs, or equally when none has any.

    Where a share is no number, nothing is touched: the page tells that then.
    """
    shares = [_percent(share) for share in typed]
    others = [share for number, share in enumerate(shares) if number != index and share is not None]
    given = shares[index]
    if given is None or len(others) < len(typed) - 1 or not others:
        return typed
    grown = _grown(others, given)
    return [*grown[:index], typed[index], *grown[index:]]


def _grown(shares: list[Decimal], more: Decimal) -> list[str]:
    """The shares with that much more in all, to the hundredth of a percent and to the last of them exactly."""
    whole = sum(shares)
    so_far, given, result = Decimal(0), Decimal(0), []
    for number, share in enumerate(shares, start=1):
        so_far += share
        part = so_far / whole if whole else Decimal(number) / len(shares)
        until = more if number == len(shares) else (more * part).quantize(STEP)
        result.append(text(share + until - given))
        given = until
    return result


def _percent(typed: str) -> Decimal | None:
    """A typed share; null when it is none."""
    try:
        result = Decimal(typed.strip().removesuffix("%").strip() or "0")
    except InvalidOperation:
        return None
    return result if result.is_finite() and 0 <= result <= 100 and result == result.quantize(FINEST) else None
