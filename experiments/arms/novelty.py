"""Whether an effect fades or grows: a straight line through the effects of single days.

The estimand is the change of the effect per day. Days count as independent: units that return on several days make the
error a little too small, so that this is a hint for the next experiment and no test to decide by. This module must never
change the estimate of the effect itself.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.results import Interval, missing
from experiments.validation import ArrayLike, fraction, same_length, vector

MIN_DAYS = 5


class Trend(NamedTuple):
    """The change of an effect over time."""

    slope: float | None
    """Per day, metric's unit; None with a reason in the interval."""
    interval: Interval
    """Of the slope, for one look."""
    p_value: float | None
    """Of "the effect does not change"."""


def trend(days: ArrayLike, effects: ArrayLike, std_errors: ArrayLike, *, alpha: float = 0.05) -> Trend:
    """Weighted least squares of daily effects on the day, shapes (k,), weights 1 / std_error^2.

    The error is the larger of that from the given errors and that from the scatter around the line, with k - 2 degrees of
    freedom.
    """
    x, y, se = vector("days", days), vector("effects", effects), vector("errors", std_errors)
    same_length(days=x, effects=y, errors=se)
    if len(x) < MIN_DAYS:
        return Trend(None, missing(f"needs {MIN_DAYS} days with an effect, now {len(x)}"), None)
    weight = 1 / se**2
    centre = float(weight @ x / weight.sum())
    spread = float(weight @ (x - centre) ** 2)
    slope = float(weight @ ((x - centre) * y)) / spread
    residual = y - float(weight @ y / weight.sum()) - slope * (x - centre)
    scatter = float(weight @ residual**2) / (len(x) - 2)
    error = sqrt(max(scatter, 1.0) / spread)
    half = float(stats.t.isf(fraction("alpha", alpha) / 2, len(x) - 2)) * error
    p = float(2 * stats.t.sf(abs(slope) / error, len(x) - 2))
    return Trend(slope, Interval(slope - half, slope + half), p)


def days_since_first(names: list[str]) -> list[float]:
    """Days in ISO 8601 as numbers from the first one."""
    dates = np.array(names, dtype="datetime64[D]")
    return [float(day) for day in (dates - dates.min()).astype(int)]
