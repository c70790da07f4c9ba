"""Whether a reward model's predictions are right: predicted against realised, in bins of equally many rows.

A prediction must come from a model that has not learned its row. Bins are cut at quantiles of the predictions alone. A
doubly robust value needs no calibrated model, but a bad one makes it wide. This module must never move a bin's border by
rewards.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.off_policy import unit_sums
from experiments.results import Interval
from experiments.validation import FloatArray, IntArray

BINS = 10
LEAST_ROWS = 20
"""Fewer rows to a bin tell nothing: then there are fewer bins."""


class Bin(NamedTuple):
    """Rows with similar predictions."""

    rows: int
    predicted: float
    """Mean prediction."""
    realised: float
    """Mean reward."""
    interval: Interval
    """Of the mean reward, for one look; counts units."""


def bins(predicted: FloatArray, reward: FloatArray, unit: IntArray | None, bounds: tuple[float, float]) -> list[Bin]:
    """At most `BINS` bins, from low to high predictions; arrays of shape (rows,), `unit` with codes from 0."""
    count = min(BINS, len(predicted) // LEAST_ROWS)
    if count < 1:
        return []
    borders = np.unique(np.quantile(predicted, np.linspace(0, 1, count + 1)[1:-1]))
    number = np.searchsorted(borders, predicted, side="right")
    out = []
    for index in range(len(borders) + 1):
        rows = np.flatnonzero(number == index)
        if not len(rows):
            continue
        sums = unit_sums.mean_sums(reward[rows], None if unit is None else unit[rows])
        interval = unit_sums.one_look(sums, bounds)
        out.append(Bin(len(rows), float(predicted[rows].mean()), float(reward[rows].mean()), interval))
    return out
