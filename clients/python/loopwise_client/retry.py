"""When to try again: the failure of an attempt, and the time to wait. Pure: the caller passes in time and chance."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import NamedTuple

FIRST_S = 0.05
LONGEST_S = 2.0
GATEWAYS = (502, 504)  # a proxy could not reach the server, which is like a connection error
RETRIED = (429, 503, *GATEWAYS)


class Failed(NamedTuple):
    """An attempt without a usable answer."""

    reason: str
    again: bool  # whether another attempt may do better
    retry_after_s: float = 0.0  # what the server asks for


def pause_s(failed: Failed, attempt: int, left_s: float, chance: float) -> float | None:
    """Seconds until the next attempt: exponential backoff with full jitter, after what the server asks for.

    :param attempt: 0 for the first.
    :param left_s: until the deadline.
    :param chance: uniform in [0, 1).
    :returns: None when another attempt is of no use or would begin after the deadline.
    """
    if not failed.again:
        return None
    pause = failed.retry_after_s + chance * min(LONGEST_S, FIRST_S * 2 ** min(attempt, 20))
    return pause if pause < left_s else None


def retry_after_s(header: str | None, now: datetime) -> float:
    """Seconds that a Retry-After header asks for; 0 when it cannot be read."""
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - now).total_seconds())
