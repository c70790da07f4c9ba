"""The types that several modules of this package return. This module must never compute anything."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """A confidence interval, or the reason why there is none."""

    low: float | None
    """Lower end in the unit of the value; None when there is no such interval, -inf never."""
    high: float | None
    """Upper end in the unit of the value; None when there is no such interval or it is one-sided."""
    reason: str = ""
    """Why an end is None; empty when both ends are numbers."""
    note: str = ""
    """What a reader must know to use it: which number it covers, which bound it assumes. May be empty."""

    @property
    def exists(self) -> bool:
        """Whether both ends are numbers."""
        return self.low is not None and self.high is not None

    def covers(self, value: float) -> bool:
        """Whether `value` lies inside; False where there is no interval."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


def missing(reason: str) -> Interval:
    """A missing interval, with the reason."""
    return Interval(None, None, reason)
