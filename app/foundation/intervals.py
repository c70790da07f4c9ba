"""Intervals as data."""

from typing import Any

import numpy as np

from experiments.results import Interval


def as_json(interval: Interval) -> dict[str, Any]:
    """An interval as data; infinite ends become null with the reason."""
    ends = {
        name: end if end is not None and np.isfinite(end) else None
        for name, end in (("low", interval.low), ("high", interval.high))
    }
    reason = interval.reason or ("one-sided" if None in ends.values() else "")
    return ends | {"reason": reason, "note": interval.note}
