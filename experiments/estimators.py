"""Off-policy point estimators with influence values, from arrays of rows.

Notation: w = target probability / logged propensity of the chosen action, r = reward, q = a reward model's prediction
for the chosen action, v = its average under the target policy. The estimand of the unbiased ones (IPS, SNIPS, DR, SNDR)
is V = E_x sum_a pi(a|x) E[r|x,a]: the mean reward per decision had the target policy chosen, over contexts like those
logged. It needs positivity, true propensities, and rewards that depend on their own decision only. q must not have
seen the row that it predicts (see `experiments.reward_models`).

Each estimator returns a value and influence values (mean zero, one per row), and nothing about intervals: those follow
from the influence values alone in `experiments.intervals`. This module must never choose a hyper-parameter from data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.sums import shrunk_weights
from experiments.validation import ArrayLike, DataError, FloatArray, matrix, probabilities, propensities, same_length

TARGET = "the value V of the target policy"
SHRUNK = "a shrunk version of V: its interval covers that number, not V"
DIAGNOSTIC = "the reward model's opinion of V: model error is not in its standard error"


class Estimate(NamedTuple):
    """A point estimate and what each row contributed to it."""

    name: str
    """Short name, as in reports."""
    value: float
    """In the unit of the reward."""
    influence: FloatArray
    """Shape (rows,), unit of the reward, mean zero: SE = sd(influence, ddof 1) / sqrt(rows)."""
    estimand: str
    """Which number the estimate is consistent for."""
    bias_bound: float = 0.0
    """|mean((w - what)(r - q))|, the estimated bias that shrinking the weights costs; 0 for unshrunk estimators."""


def importance_weights(propensity: ArrayLike, target_probability: ArrayLike) -> FloatArray:
    """w = pi(a|x) / p(a|x), shape (rows,). Raises `DataError` for a propensity outside (0, 1] or pi outside [0, 1]."""
    p = propensities("propensity", propensity)
    e = probabilities("target probability", target_probability)
    same_length(propensity=p, target_probability=e)
    return e / p


def ips(w: FloatArray, r: FloatArray) -> Estimate:
    """mean(w r) (Horvitz and Thompson 1952). Unbiased, also on logs of an adaptive policy."""
    return _from_rows("ips", w * r, TARGET)


def clipped_ips(w: FloatArray, r: FloatArray, clip: float) -> Estimate:
    """mean(min(w, clip) r) (Ionides 2008). Biased by -E[(w - clip)+ r]."""
    rows = np.minimum(w, clip) * r
    return _from_rows("clipped_ips", rows, SHRUNK, float(abs(np.mean(w * r - rows))))


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
    return shrunk_dr("switch_dr", w, np.where(w <= tau, w, 0.0), r, q, v)


def dr_os(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, shrinkage_lambda: float) -> Estimate:
    """DR with optimistic shrinkage, w -> lambda w / (w^2 + lambda) (Su et al. 2020): 0 gives DM, infinity gives DR."""
    if not shrinkage_lambda >= 0:
        raise DataError(f"shrinkage lambda is {shrinkage_lambda}", fix="give a number that is 0 or larger")
    return shrunk_dr("dr_os", w, shrunk_weights(w, shrinkage_lambda), r, q, v)


def clipped_dr(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, clip: float) -> Estimate:
    """DR with w -> min(w, clip) (pessimistic shrinkage, Su et al. 2020)."""
    return shrunk_dr("clipped_dr", w, np.minimum(w, clip), r, q, v)


def sub_gaussian_weights(w: FloatArray, lam: float) -> FloatArray:
    """w / (1 - lam + lam w), lam in [0, 1] (Metelli, Russo and Restelli 2021): 0 leaves w, 1 gives 1."""
    if not 0 <= lam <= 1:
        raise DataError(f"sub-Gaussian lambda is {lam}", fix="give a number between 0 and 1")
    # lam = 1 and w = 0 divide 0 by 0; a row that the target never chooses contributes nothing.
    return np.divide(w, 1 - lam + lam * w, out=np.zeros_like(w), where=w > 0)


def sub_gaussian_ips(w: FloatArray, r: FloatArray, lam: float) -> Estimate:
    """IPS with sub-Gaussian weights."""
    what = sub_gaussian_weights(w, lam)
    return _from_rows("sub_gaussian_ips", what * r, SHRUNK, float(abs(np.mean((w - what) * r))))


def sub_gaussian_dr(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, lam: float) -> Estimate:
    """DR with sub-Gaussian weights."""
    return shrunk_dr("sub_gaussian_dr", w, sub_gaussian_weights(w, lam), r, q, v)


def shrunk_dr(name: str, w: FloatArray, what: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray) -> Estimate:
    """mean(v + what (r - q)) for any shrunk weights `what`, with the bias estimate |mean((w - what)(r - q))|."""
    residual = r - q
    bias = float(abs(np.mean((w - what) * residual)))
    return _from_rows(name, v + what * residual, TARGET if bias == 0 else SHRUNK, bias)


def mips_weights(
    target: ArrayLike, logging: ArrayLike, embedding_given_action: ArrayLike, embedding: FloatArray
) -> FloatArray:
    """Marginalised weights w(x,e) = sum_a pi(a|x) p(e|a) / sum_a p(a|x) p(e|a) (Saito and Joachims 2022).

    target, logging: (rows, actions); embedding_given_action: (actions, embedding values), each row a distribution;
    embedding: (rows,) codes of the logged embedding. Assumes that a reward depends on the action through its embedding
    only. `DataError` where the logging policy could not have produced the logged embedding.
    """
    pi, p = matrix("target", target), matrix("logging", logging)
    table = matrix("embedding_given_action", embedding_given_action)
    given = table[:, embedding.astype(np.int64)].T
    bottom = (p * given).sum(axis=1)
    if (bottom <= 0).any():
        row = int(np.argmax(bottom <= 0))
        raise DataError("the logged embedding has probability 0 under the logging policy", fix="repair it", row=row)
    return np.asarray((pi * given).sum(axis=1) / bottom)


def mips(w_embedding: FloatArray, r: FloatArray) -> Estimate:
    """mean(w(x,e) r) with marginalised weights from `mips_weights`."""
    return _from_rows("mips", w_embedding * r, "V, if rewards depend on actions through their embedding only")


def difference(first: Estimate, second: Estimate) -> Estimate:
    """first - second on the SAME rows; the noise that they share cancels in the influence values."""
    same_length(first=first.influence, second=second.influence)
    estimand = f"{first.estimand} minus {second.estimand}"
    bias = first.bias_bound + second.bias_bound
    name = f"{first.name} - {second.name}"
    return Estimate(name, first.value - second.value, first.influence - second.influence, estimand, bias)


def logged_value(r: FloatArray) -> Estimate:
    """mean(r): the value of the policies that really ran (weight 1), to difference others against."""
    return _from_rows("logged", r, "the value of the policies that ran")


def _from_rows(name: str, rows: FloatArray, estimand: str, bias: float = 0.0) -> Estimate:
    value = float(np.mean(rows))
    return Estimate(name, value, rows - value, estimand, bias)


def _mean_weight(w: FloatArray) -> float:
    wbar = float(np.mean(w))
    if wbar <= 0:
        raise DataError(
            "every importance weight is 0: the target policy never chooses a logged action",
            fix="no self-normalised estimate exists; log some actions that the target would choose",
        )
    return wbar
