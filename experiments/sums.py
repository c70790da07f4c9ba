"""Mergeable, fixed-size sums of an off-policy log: ``map(chunk) -> sums``, ``merge(a, b)``, ``finish(sums)``.

Every estimator whose influence function is linear in a handful of per-row products (IPS, clipped IPS, SNIPS, DM, DR,
SNDR, Switch-DR, DR with shrinkage, lift over the logging policy) follows from the means and the covariance matrix of
those products. Kept as (n, mean, centred second moments) and merged with the pairwise formula of Chan, Golub and
LeVeque (1979), any split of the rows gives the same answer to about 1e-12. This module must never keep a row.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

import numpy as np

from experiments.validation import DataError, FloatArray, IntArray

COLUMNS = ("rows", "w", "r", "wr", "v", "wd", "clipped_wr", "switch_wd", "shrunk_wd")
"""Per row: 1, weight, reward, w r, model value of the target, w (r - q), min(w, clip) r, and w (r - q) with the weight
switched off above tau, and shrunk to lambda w / (w^2 + lambda). Without a reward model v and the d columns are 0."""

ROWS, W, R, WR, V, WD, CLIPPED, SWITCHED, SHRUNK = range(len(COLUMNS))
CHUNK_ROWS = 1 << 14
"""Rows handled at once: 9 columns of this many float64 (1.2 MB) stay inside a processor's second-level cache."""


class Thresholds(NamedTuple):
    """Weights beyond which each shrinking estimator trades variance for bias. Fixed before the first chunk."""

    clip: float
    """Clipped IPS uses min(w, clip)."""
    switch_tau: float
    """Switch-DR drops the correction of rows with w > switch_tau."""
    shrinkage_lambda: float
    """DR with optimistic shrinkage uses lambda w / (w^2 + lambda); infinite gives DR."""


def default_thresholds(n: int) -> Thresholds:
    """Weights beyond sqrt(n) are distrusted: clip and tau sqrt(n) (Ionides 2008), lambda n (half weight at sqrt(n))."""
    return Thresholds(sqrt(n), sqrt(n), float(n))


class Moments(NamedTuple):
    """Mean vector and centred second moments of n observations of k columns."""

    n: int
    """Number of observations: rows, or units once rows were summed within units."""
    mean: FloatArray
    """Shape (k,)."""
    second: FloatArray
    """Shape (k, k): sum over observations of (x - mean)(x - mean)'."""

    def covariance(self) -> FloatArray:
        """Sample covariance (ddof 1), shape (k, k); zeros for a single observation."""
        return self.second / max(self.n - 1, 1)


class PolicySums(NamedTuple):
    """All sums that a report of a target policy needs, whatever the number of rows."""

    moments: Moments
    """Over rows, columns as in `COLUMNS`."""
    max_weight: float
    """Largest importance weight seen."""
    min_reward: float
    """Smallest reward seen."""
    max_reward: float
    """Largest reward seen."""
    min_prediction: float
    """Smallest of all q and v seen; 0 without a reward model."""
    max_prediction: float
    """Largest of all q and v seen; 0 without a reward model."""
    thresholds: Thresholds
    """The settings that the clipped, switched and shrunk columns were made with."""


class LinearEstimate(NamedTuple):
    """A value and its standard error, as functions of sums alone."""

    value: float
    """In the unit of the reward."""
    std_error: float
    """Delta-method standard error, same unit; of unit sums when the sums were clustered."""


def moments(columns: FloatArray) -> Moments:
    """Moments of an array of shape (k columns, n observations)."""
    n = columns.shape[1]
    mean = columns.mean(axis=1)
    centred = columns - mean[:, None]
    return Moments(n, mean, centred @ centred.T)


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Moments of the union of two disjoint sets of observations (Chan, Golub and LeVeque 1979)."""
    if a.n == 0 or b.n == 0:
        return a if b.n == 0 else b
    n = a.n + b.n
    delta = b.mean - a.mean
    return Moments(
        n, a.mean + delta * (b.n / n), a.second + b.second + np.multiply.outer(delta, delta) * (a.n * b.n / n)
    )


def row_columns(
    w: FloatArray,
    r: FloatArray,
    model: tuple[FloatArray | None, FloatArray | None],
    thresholds: Thresholds,
    count: FloatArray | None = None,
) -> FloatArray:
    """The columns of `COLUMNS` for rows, shape (9, n); `model` is (q, v) or (None, None).

    A row that stands for `count` decisions has `count` times its columns, that of the rows included.
    """
    q, v = model
    out = np.zeros((len(COLUMNS), len(w)))
    out[ROWS], out[W], out[R] = 1.0, w, r
    np.multiply(w, r, out=out[WR])
    np.multiply(np.minimum(w, thresholds.clip), r, out=out[CLIPPED])
    if q is not None and v is not None:
        residual = r - q
        out[V] = v
        np.multiply(w, residual, out=out[WD])
        np.multiply(out[WD], w <= thresholds.switch_tau, out=out[SWITCHED])
        np.multiply(shrunk_weights(w, thresholds.shrinkage_lambda), residual, out=out[SHRUNK])
    return out if count is None else out * count


def shrunk_weights(w: FloatArray, shrinkage_lambda: float) -> FloatArray:
    """lambda w / (w^2 + lambda), written so that neither 0 nor infinity divides (Su et al. 2020)."""
    if shrinkage_lambda == 0:
        return np.zeros_like(w)
    return w / (1.0 + w * w / shrinkage_lambda)


def policy_sums(
    w: FloatArray,
    r: FloatArray,
    q: FloatArray | None,
    v: FloatArray | None,
    thresholds: Thresholds,
    count: FloatArray | None = None,
) -> PolicySums:
    """Sums of a chunk of rows (checked arrays of equal length), in slices that stay in cache.

    :param count: how many decisions each row stands for; None: one.
    """
    total: Moments | None = None
    for start in range(0, len(w), CHUNK_ROWS):
        cut = slice(start, start + CHUNK_ROWS)
        model = _slice(q, v, cut)
        part = moments(row_columns(w[cut], r[cut], model, thresholds, None if count is None else count[cut]))
        total = part if total is None else merge_moments(total, part)
    if total is None:
        raise DataError("the log has no rows", fix="pass at least one row")
    low, high = 0.0, 0.0
    if q is not None and v is not None:
        low, high = float(min(q.min(), v.min())), float(max(q.max(), v.max()))
    return PolicySums(total, float(w.max()), float(r.min()), float(r.max()), low, high, thresholds)


def _slice(q: FloatArray | None, v: FloatArray | None, cut: slice) -> tuple[FloatArray | None, FloatArray | None]:
    return (None, None) if q is None or v is None else (q[cut], v[cut])


def merge(a: PolicySums, b: PolicySums) -> PolicySums:
    """Sums of the union of two disjoint sets of rows of the same log and target policy."""
    if a.thresholds != b.thresholds:
        raise DataError(
            "two parts of a log were summed with different thresholds",
            fix="use the same clip, tau and lambda for all parts",
        )
    return PolicySums(
        merge_moments(a.moments, b.moments),
        max(a.max_weight, b.max_weight),
        min(a.min_reward, b.min_reward),
        max(a.max_reward, b.max_reward),
        min(a.min_prediction, b.min_prediction),
        max(a.max_prediction, b.max_prediction),
        a.thresholds,
    )


def unit_moments(
    w: FloatArray,
    r: FloatArray,
    model: tuple[FloatArray | None, FloatArray | None],
    thresholds: Thresholds,
    unit: IntArray,
    count: FloatArray | None = None,
) -> Moments:
    """Moments over units of their column sums; `model` is (q, v) or (None, None), `unit` holds codes 0..units-1.

    A row stands for `count` decisions; None: for one.

    Mergeable with other parts as long as no unit is split between parts: slice the log by unit, not by time.
    """
    units = int(unit.max()) + 1
    totals = np.zeros((len(COLUMNS), units))
    for start in range(0, len(w), CHUNK_ROWS * 16):
        cut = slice(start, start + CHUNK_ROWS * 16)
        part = row_columns(w[cut], r[cut], _slice(*model, cut), thresholds, None if count is None else count[cut])
        for column in range(len(COLUMNS)):
            totals[column] += np.bincount(unit[cut], weights=part[column], minlength=units)
    return moments(totals)


def linear_estimate(m: Moments, value: float, coefficients: dict[int, float]) -> LinearEstimate:
    """Standard error of a value whose influence function is sum_c coefficient_c * column_c (mean zero).

    `m` holds rows or unit sums: SE = sqrt(observations * var(influence)) / rows (Liang and Zeger 1986 without the
    small-sample factor beyond ddof 1).
    """
    a = np.zeros(len(m.mean))
    for column, coefficient in coefficients.items():
        a[column] = coefficient
    variance = max(float(a @ m.covariance() @ a), 0.0)
    return LinearEstimate(value, sqrt(m.n * variance) / (m.n * float(m.mean[ROWS])))


def finish(m: Moments, *, with_model: bool) -> dict[str, LinearEstimate]:
    """Every estimator that the sums support, by name, from moments over rows or over unit sums.

    Self-normalised estimators need a positive mean weight, and are left out when it is 0. Formulas and sources:
    `experiments.off_policy.estimators`, which computes the same from arrays.
    """
    mean = m.mean / m.mean[ROWS]
    out = {
        "logged": _ratio(m, mean, {R: 1.0}),
        "ips": _ratio(m, mean, {WR: 1.0}),
        "clipped_ips": _ratio(m, mean, {CLIPPED: 1.0}),
        "lift": _ratio(m, mean, {WR: 1.0, R: -1.0}),
        "mean_weight": _ratio(m, mean, {W: 1.0}),
    }
    if mean[W] > 0:
        s = float(mean[WR] / mean[W])
        out["snips"] = linear_estimate(m, s, {WR: 1 / mean[W], W: -s / mean[W]})
    if with_model:
        out |= _model_estimates(m, mean)
    return out


def _model_estimates(m: Moments, mean: FloatArray) -> dict[str, LinearEstimate]:
    out = {
        "dm": _ratio(m, mean, {V: 1.0}),
        "dr": _ratio(m, mean, {V: 1.0, WD: 1.0}),
        "switch_dr": _ratio(m, mean, {V: 1.0, SWITCHED: 1.0}),
        "dr_os": _ratio(m, mean, {V: 1.0, SHRUNK: 1.0}),
        "dr_lift": _ratio(m, mean, {V: 1.0, WD: 1.0, R: -1.0}),
    }
    if mean[W] > 0:
        wbar, s, c = float(mean[W]), float(mean[WR] / mean[W]), float(mean[WD] / mean[W])
        # The constant v-mean travels in the rows column, so that unit sums with unequal row counts stay centred.
        sndr = {V: 1.0, WD: 1 / wbar, W: -c / wbar, ROWS: -float(mean[V])}
        out["sndr"] = linear_estimate(m, float(mean[V]) + c, sndr)
        difference = float(mean[V] + mean[WD]) - s
        gap = {V: 1.0, WD: 1.0, WR: -1 / wbar, W: s / wbar, ROWS: -float(mean[V] + mean[WD])}
        out["dr_minus_snips"] = linear_estimate(m, difference, gap)
    return out


def _ratio(m: Moments, mean: FloatArray, coefficients: dict[int, float]) -> LinearEstimate:
    """A plain mean per row: its influence is the combination minus its mean times the rows column."""
    value = float(sum(c * mean[column] for column, c in coefficients.items()))
    return linear_estimate(m, value, {**coefficients, ROWS: -value})
