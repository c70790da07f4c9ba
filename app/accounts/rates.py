"""How often publishable keys may call: everybody who opens a page can read its key.

Each key, each address and each unit has a bucket of a minute's calls that fills up steadily. Buckets are the process's own, so
several web processes allow as many times more. The ones not used for longest are forgotten first.
"""

import math
import threading
import time
from collections import OrderedDict
from typing import Final

from app.accounts.throttle import network
from app.foundation.errors import TooManyRequests
from app.foundation.settings import Settings

MINUTE_S: Final = 60.0
MOST_BUCKETS: Final = 100_000
WORDS: Final = {"key": "This publishable key", "address": "Your address", "unit": "This unit"}


class Rates:
    """The buckets of one process."""

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            "key": settings.browser_key_per_minute,
            "address": settings.browser_address_per_minute,
            "unit": settings.browser_unit_per_minute,
        }
        self._lock = threading.Lock()
        self._buckets: OrderedDict[tuple[str, str], tuple[float, float]] = (
            OrderedDict()
        )  # calls left, and when that was so

    def take_call(self, key_id: str, address: str) -> None:
        """Count one call with a publishable key.

        :raises TooManyRequests: its ``retry_after_s`` is when the next call may be made.
        """
        self._take("address", network(address))
        self._take("key", key_id)

    def take_unit(self, unit_id: str, calls: int = 1) -> None:
        """Count what a page reports or asks of a unit. Raises as ``take_call`` does."""
        self._take("unit", unit_id, calls)

    def _take(self, kind: str, name: str, calls: int = 1) -> None:
        most = self._limits[kind]
        if not most:
            return
        calls = min(calls, most)  # of a call that is larger than a minute's, a full bucket is asked for
        now, per_s = time.monotonic(), most / MINUTE_S
        with self._lock:
            left, at = self._buckets.pop((kind, name), (float(most), now))
            left = min(most, left + (now - at) * per_s)
            taken = left >= calls
            self._buckets[kind, name] = (left - calls if taken else left, now)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        if not taken:
            message = f"{WORDS[kind]} may make {most} calls a minute from web pages. Wait for Retry-After."
            raise TooManyRequests("too_many_calls", message, retry_after_s=max(1, math.ceil((calls - left) / per_s)))
