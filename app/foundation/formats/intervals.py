"""Intervals as part of a document."""

import numpy as np

from app.foundation.fields import Document
from experiments.results import Interval


class IntervalDocument(Document):
    """A confidence interval in the unit of its value, or the reason why there is none."""

    low: float | None
    high: float | None
    reason: str = ""  # why an end is null; empty when both are numbers
    note: str = ""  # what a reader must know to use it


def document_of(interval: Interval) -> IntervalDocument:
    """An interval as a document; infinite ends become null with the reason."""
    low, high = _finite(interval.low), _finite(interval.high)
    reason = interval.reason or ("one-sided" if low is None or high is None else "")
    return IntervalDocument(low=low, high=high, reason=reason, note=interval.note)


def _finite(end: float | None) -> float | None:
    return float(end) if end is not None and np.isfinite(end) else None
