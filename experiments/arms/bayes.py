"""Chance to win and expected loss of arms, from the same means and standard errors that the frequentist tables use.

Posteriors are normal: flat by default, or with a normal prior on each arm's value. Arms of a bandit must enter with
their adaptively weighted values (`experiments.off_policy.adaptive`), never with raw means. This module must never sample: the
integrals are computed on a grid, so that the same data always give the same number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import integrate, stats

from experiments.validation import ArrayLike, DataError, FloatArray, positive, refuse_first, same_length, vector

GRID = 4001
REACH = 9.0


class ArmChance(NamedTuple):
    """An arm compared with all others."""

    mean: float
    """Posterior mean, metric's unit."""
    std: float
    """Posterior standard deviation."""
    chance_to_win: float
    """Posterior probability that this arm is the best of all."""
    expected_loss: float
    """Expected amount given up by choosing this arm instead of the best, metric's unit, >= 0."""


def chances(
    values: ArrayLike,
    std_errors: ArrayLike,
    *,
    prior_mean: float = 0.0,
    prior_std: float | None = None,
    higher_is_better: bool = True,
) -> list[ArmChance]:
    """For K independent arms: posterior, chance to win, expected loss (Stucchio 2015). `prior_std=None` is flat."""
    mean = vector("values", values)
    std = vector("standard errors", std_errors)
    same_length(values=mean, standard_errors=std)
    refuse_first(std <= 0, std, "a standard error is {value}", "an arm whose metric does not vary has no posterior")
    if len(mean) < 2:
        raise DataError("there is only one arm", fix="a chance to win needs at least two")
    if prior_std is not None:
        precision = 1 / std**2 + 1 / positive("prior_std", prior_std) ** 2
        mean = (mean / std**2 + prior_mean / prior_std**2) / precision
        std = np.sqrt(1 / precision)
    sign = 1.0 if higher_is_better else -1.0
    win, top = _best(sign * mean, std)
    return [
        ArmChance(float(m), float(s), float(p), max(0.0, float(top - sign * m)))
        for m, s, p in zip(mean, std, win, strict=True)
    ]


def _best(mean: FloatArray, std: FloatArray) -> tuple[FloatArray, float]:
    """P(arm is largest) for each arm, and E[max], by Simpson's rule over each arm's own z-grid."""
    z = np.linspace(-REACH, REACH, GRID)
    density = stats.norm.pdf(z)
    win, top = np.empty(len(mean)), 0.0
    for i in range(len(mean)):
        x = mean[i] + std[i] * z
        others = np.ones_like(z)
        for j in range(len(mean)):
            if j != i:
                others = others * stats.norm.cdf((x - mean[j]) / std[j])
        win[i] = integrate.simpson(density * others, x=z)
        # E[max] = sum_i E[X_i 1{i is best}]: the same integrand weighted with the value.
        top += float(integrate.simpson(x * density * others, x=z))
    return np.asarray(win / win.sum()), top
