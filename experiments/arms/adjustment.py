"""Regression adjustment of a comparison over strata, with one covariate per unit from before it was assigned (CUPED).

The estimand stays: the covariate has the same mean in both arms, because it was there before assignment, so subtracting
theta times its deviation removes noise and nothing else. It works for means and for ratios, at one look and at every
look. This module must never take a covariate that the treatment may have changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.comparison import DEN, NUM
from experiments.sums import Moments, merge_moments
from experiments.validation import DataError, FloatArray

COVARIATE = 2
"""Column of the covariate in a cell's moments, after numerator and denominator."""


class Adjusted(NamedTuple):
    """Strata after adjustment."""

    strata: list[Stratum]
    """The same units, with numerators from which the covariate's part is taken."""
    theta: float
    """Change of the metric per unit of the covariate, over all strata and both arms."""
    correlation: float
    """Of the unit's influence on the metric with its covariate, within strata."""
    shared_variance: float
    """Squared error that the estimated means of the covariate give to both arms' values alike. It cancels from the
    difference, but not from the relative lift."""


def adjust_strata(strata: Sequence[Stratum]) -> Adjusted:
    """CUPED (Deng, Xu, Kohavi and Walker 2013) with theta within strata; moments hold the covariate in column 2.

    N' = N - theta D (x - mean x), D the mean denominator and mean x the stratum's: the same ratio estimator then has the
    adjusted value and error. Raises `DataError` for a covariate that does not vary.
    """
    pooled = [merge_moments(*(cell.moments for cell in stratum.cells)) for stratum in strata]
    total = sum(m.n for m in pooled)
    mean_den = sum(m.n * float(m.mean[DEN]) for m in pooled) / total
    ratio = sum(m.n * float(m.mean[NUM]) for m in pooled) / total / mean_den
    y, x = np.zeros(3), np.zeros(3)
    y[NUM], y[DEN], x[COVARIATE] = 1 / mean_den, -ratio / mean_den, 1.0
    within = sum((cell.moments.second for stratum in strata for cell in stratum.cells), start=np.zeros((3, 3)))
    var_x, var_y, both = float(x @ within @ x), float(y @ within @ y), float(y @ within @ x)
    scale = max(abs(float(m.mean[COVARIATE])) for m in pooled)
    if var_x <= 1e-18 * max(scale * scale, 1e-300) * total:
        raise DataError("the covariate does not vary", fix="drop it: a constant explains nothing")
    theta = both / var_x
    shared = sum((m.n / total) ** 2 * theta**2 * float(m.covariance()[COVARIATE, COVARIATE]) / m.n for m in pooled)
    adjusted = [
        stratum._replace(
            control=_cell(stratum.control, theta * mean_den, float(m.mean[COVARIATE])),
            treatment=_cell(stratum.treatment, theta * mean_den, float(m.mean[COVARIATE])),
        )
        for stratum, m in zip(strata, pooled, strict=True)
    ]
    correlation = both / sqrt(var_x * var_y) if var_y > 0 else 0.0
    return Adjusted(adjusted, theta, correlation, float(shared))


def _cell(cell: ArmCell, slope: float, centre: float) -> ArmCell:
    change: FloatArray = np.array([[1.0, 0.0, -slope], [0.0, 1.0, 0.0]])
    m = cell.moments
    mean = change @ m.mean + np.array([slope * centre, 0.0])
    return ArmCell(Moments(m.n, mean, change @ m.second @ change.T), cell.mean_size)
