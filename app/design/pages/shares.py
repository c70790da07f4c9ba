"""Shares of arms, as people type them in percent, that sum to 100% also after an arm is removed."""

from decimal import Decimal, InvalidOperation
from typing import Final

from app.foundation.pages.typed import text

STEP: Final = Decimal("0.01")  # percent: the step of the page's sliders
FINEST: Final = Decimal("1e-9")  # percent: shares typed more finely are not rounded


def without(typed: list[str], index: int) -> list[str]:
    """All shares after one arm's share went to the others, in proportion to their shares, or equally if all are 0.

    If a share is not a number, nothing changes; the page shows the error then.
    """
    shares = [_percent(share) for share in typed]
    others = [share for number, share in enumerate(shares) if number != index and share is not None]
    share_of_arm = shares[index]
    if share_of_arm is None or len(others) < len(typed) - 1 or not others:
        return typed
    grown = _grown(others, share_of_arm)
    return [*grown[:index], typed[index], *grown[index:]]


def _grown(shares: list[Decimal], more: Decimal) -> list[str]:
    """The shares with so much more in total, to the hundredth of a percent; the last share takes the rounding error."""
    whole = sum(shares)
    so_far, handed_on, result = Decimal(0), Decimal(0), []
    for number, share in enumerate(shares, start=1):
        so_far += share
        part = so_far / whole if whole else Decimal(number) / len(shares)
        until = more if number == len(shares) else (more * part).quantize(STEP)
        result.append(text(share + until - handed_on))
        handed_on = until
    return result


def _percent(typed: str) -> Decimal | None:
    """A typed share; null if it is not a number."""
    try:
        result = Decimal(typed.strip().removesuffix("%").strip() or "0")
    except InvalidOperation:
        return None
    return result if result.is_finite() and 0 <= result <= 100 and result == result.quantize(FINEST) else None
