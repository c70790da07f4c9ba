"""Off-policy point estimators with influence values, from arrays of rows.

Notation: w = target probability / logged propensity of the chosen action, r = reward, q = a reward model's prediction
for the chosen action, v = its average under the target policy. The estimand of the unbiased ones (IPS, SNIPS, DR, SNDR)
is V = E_x sum_a pi(a|x) E[r|x,a]: the mean reward per decision had the target policy chosen, over contexts like those
logged. It needs positivity, true propensities, and rewards that depend on their own decision only. q must not have
seen the row that it predicts (see `experiments.off_policy.folds`).

Each estimator returns a value and influence values (mean zero, one per row), and nothing about intervals: those follow
from the influence values alone in `experiments.off_policy.intervals`. This module must never choose a hyper-parameter from data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.sums import shrunk_weights
from experiments.validation import (
    ArrayLike,
    DataError,
    FloatArray,
    probabilities,
    propensities,
    refuse_first,
    same_length,
)

LARGEST_WEIGHT = 1e75
"""Fourth powers of weights up to here are still numbers."""
TARGET = "the value V of the target policy"
SHRUNK = "a shrunk version of V: its interval covers that number, not V"
DIAGNOSTIC = "the reward model's opinion of V: model error is not in its standard error"


class Estimate(NamedTuple):
    """A point estimate and the contribution of each row."""

    name: str
    """Short name, as in reports."""
    value: float
    """In the unit of the reward."""
    influence: FloatArray
    """Shape (rows,), unit of the reward, mean zero: SE = sd(influence, ddof 1) / sqrt(rows)."""
    estimand: str
    """Which number the estimate is consistent for."""


def importance_weights(propensity: ArrayLike, target_probability: ArrayLike) -> FloatArray:
    """w = pi(a|x) / p(a|x), shape (rows,).

    Raises `DataError` for a propensity outside (0, 1], pi outside [0, 1], or a weight above `LARGEST_WEIGHT`.
    """
    p = propensities("propensity", propensity)
    e = probabilities("target probability", target_probability)
    same_length(propensity=p, target_probability=e)
    with np.errstate(over="ignore"):
        w = np.asarray(e / p)
    fix = f"its weight exceeds {LARGEST_WEIGHT:g}, whose square is beyond computing; find out why the log says so"
    refuse_first(~(w <= LARGEST_WEIGHT), p, "propensity is {value}", fix)
    return w


def ips(w: FloatArray, r: FloatArray) -> Estimate:
    """mean(w r) (Horvitz and Thompson 1952). Unbiased, also on logs of an adaptive policy."""
    return _from_rows("ips", w * r, TARGET)


def clipped_ips(w: FloatArray, r: FloatArray, clip: float) -> Estimate:
    """mean(min(w, clip) r) (Ionides 2008). Biased by -E[(w - clip)+ r]."""
    return _from_rows("clipped_ips", np.minimum(w, clip) * r, SHRUNK)


def snips(w: FloatArray, r: FloatArray) -> Estimate:
    """sum(w r) / sum(w) (Swaminathan and Joachims 2015), with the influence function w (r - S) / mean(w).

    The denominator's noise is in the influence values; packages that freeze the denominator report intervals up to four
    times too wide at high reward rates.
    """
    wbar = _mean_weight(w)
    value = float(np.mean(w * r) / wbar)
    return Estimate("snips", value, w * (r - value) / wbar, TARGET)


def dm(v: FloatArray) -> Estimate:
    """mean(v): the direct method. A diagnostic; never offer an interval for it."""
    return _from_rows("dm", v, DIAGNOSTIC)


def dr(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray) -> Estimate:
    """mean(v + w (r - q)) (Dudik, Langford and Li 2011). Unbiased for any q that has not seen its row."""
    return _from_rows("dr", v + w * (r - q), TARGET)


def sndr(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray) -> Estimate:
    """mean(v) + sum(w (r - q)) / sum(w) (Thomas and Brunskill 2016), influence v + w (r - q - C) / mean(w)."""
    wbar = _mean_weight(w)
    correction = float(np.mean(w * (r - q)) / wbar)
    influence = v - np.mean(v) + w * (r - q - correction) / wbar
    return Estimate("sndr", float(np.mean(v)) + correction, influence, TARGET)


def switch_dr(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, tau: float) -> Estimate:
    """mean(v + w 1{w <= tau} (r - q)) (Wang, Agarwal and Dudik 2017).

    Put tau off the atoms of the weights: with `w == tau` one unit in the last place decides whole groups of rows.
    """
    return _from_rows("switch_dr", v + np.where(w <= tau, w, 0.0) * (r - q), SHRUNK)


def dr_os(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, shrinkage_lambda: float) -> Estimate:
    """DR with optimistic shrinkage, w -> lambda w / (w^2 + lambda) (Su et al. 2020): 0 gives DM, infinity gives DR."""
    if not shrinkage_lambda >= 0:
        raise DataError(f"shrinkage lambda is {shrinkage_lambda}", fix="give a number that is 0 or larger")
    return _from_rows("dr_os", v + shrunk_weights(w, shrinkage_lambda) * (r - q), SHRUNK)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first - second on the SAME rows; the noise that they share cancels in the influence values."""
    same_length(first=first.influence, second=second.influence)
    estimand = f"{first.estimand} minus {second.estimand}"
    name = f"{first.name} - {second.name}"
    return Estimate(name, first.value - second.value, first.influence - second.influence, estimand)


def logged_value(r: FloatArray) -> Estimate:
    """mean(r): the value of the policies that really ran (weight 1), to difference others against."""
    return _from_rows("logged", r, "the value of the policies that ran")


def _from_rows(name: str, rows: FloatArray, estimand: str) -> Estimate:
    value = float(np.mean(rows))
    return Estimate(name, value, rows - value, estimand)


def _mean_weight(w: FloatArray) -> float:
    wbar = float(np.mean(w))
    if wbar <= 0:
        raise DataError(
            "every importance weight is 0: the target policy never chooses a logged action",
            fix="no self-normalised estimate exists; log some actions that the target would choose",
        )
    return wbar
