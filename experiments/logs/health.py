"""Whether an experiment ran as designed: sample ratio mismatch of units, missing rewards, concentrated exposure.

The bandit form (logged choices against logged propensities) is in `experiments.logs.choices`. After an alert, do not
believe any result of the experiment until the cause is known. This module must never correct for a problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats
from statsmodels.stats import proportion as sm_proportion

from experiments.results import Interval
from experiments.validation import ArrayLike, DataError, FloatArray, fraction, positive, refuse_first, vector

ALERT_BELOW = 0.001
"""Fixed-look alerts use p < 0.001: people look at them often, and a false alert stops an experiment."""
CONCENTRATIONS = (10.0, 100.0, 1_000.0, 10_000.0)
"""Dirichlet concentrations of the sequential test, averaged: the sharpest notices a share that is off by one percent, the
flattest an arm that gets nothing, after a few units."""
ANYTIME_ALERT_BELOW = 0.005
"""Alerts of checks that are watched use an anytime-valid p: this is the chance of a false alarm over a whole life."""


class RatioCheck(NamedTuple):
    """Chi-square test of observed unit counts against intended shares, at one look."""

    observed: tuple[int, ...]
    """Units per arm."""
    expected: tuple[float, ...]
    """Units per arm according to the shares."""
    chi2: float
    """Pearson's statistic, K - 1 degrees of freedom."""
    p_value: float
    """Survival function, so that tiny values do not become 0."""
    alert: bool
    """True when p < 0.001."""


class SequentialRatioCheck(NamedTuple):
    """Sequential sample-ratio test over looks, valid after any number of them."""

    log_bayes_factor: FloatArray
    """Shape (looks,), natural log, cumulative; through changes of shares the factors of the stretches multiply."""
    p_value: FloatArray
    """Shape (looks,): running minimum of 1 / Bayes factor, at most 1."""
    alert: bool
    """True when the last p-value is below alpha."""


class MissingRewards(NamedTuple):
    """Share of closed decisions without a reward event, per arm."""

    rate: tuple[float, ...]
    """Missing share per arm, 0 to 1."""
    interval: tuple[Interval, ...]
    """Wilson 95% interval of each."""
    p_value: float | None
    """Chi-square test that all arms miss alike; None when none or all are missing, or only one arm decided."""
    alert: bool
    """True when p < 0.001: a difference that the treatment's effect on rewards must explain."""


class Concentration(NamedTuple):
    """How unevenly exposures are spread over actions (or decisions over units)."""

    top_share: float
    """Share of the largest."""
    effective_number: float
    """1 / sum of squared shares: the number of equally frequent actions that gives the same value."""
    gini: float
    """0 when all counts are equal; near 1 when a single action has them all."""


def sample_ratio(counts: ArrayLike, intended: ArrayLike) -> RatioCheck:
    """Chi-square SRM check (Fabijan et al. 2019). counts (K,) units, intended (K,) shares in any scale.

    Raises `DataError` for an arm with share 0 that holds units (packages let it pass), and for fewer than two arms.
    """
    observed, expected_share = _counts(counts, intended)
    expected = expected_share * observed.sum()
    chi2 = float(np.sum((observed - expected) ** 2 / expected))
    p = float(stats.chi2.sf(chi2, len(observed) - 1))
    return RatioCheck(tuple(int(x) for x in observed), tuple(float(x) for x in expected), chi2, p, p < ALERT_BELOW)


def _counts(counts: ArrayLike, intended: ArrayLike) -> tuple[FloatArray, FloatArray]:
    observed, share = vector("unit counts", counts), vector("shares", intended)
    if len(observed) != len(share):
        raise DataError(f"{len(observed)} counts for {len(share)} shares", fix="pass one share per arm")
    refuse_first(observed < 0, observed, "a count is {value}", "counts are 0 or larger")
    refuse_first(share < 0, share, "a share is {value}", "shares are 0 or larger")
    stray = (share == 0) & (observed > 0)
    refuse_first(stray, observed, "an arm with share 0 holds {value} units", "find out who assigns units to it")
    used = share > 0
    if used.sum() < 2 or observed.sum() <= 0:
        raise DataError(
            "fewer than two arms have a share, or there are no units", fix="give two arms a share, or wait for units"
        )
    return observed[used], np.asarray(share[used] / share.sum())


def sequential_sample_ratio(
    counts: ArrayLike,
    intended: ArrayLike,
    *,
    concentrations: Sequence[float] = CONCENTRATIONS,
    alpha: float = ANYTIME_ALERT_BELOW,
) -> SequentialRatioCheck:
    """Sequential SRM test (Lindon and Malek 2022): Dirichlet(k theta)-multinomial against multinomial(theta).

    counts (looks, K): NEW units between looks; intended (K,) or (looks, K) shares in force. A ramp or reweighting
    starts a new stretch with a fresh prior, and stretches multiply, so that the product stays a fair bet. The average of
    the bets of several concentrations k is a fair bet too.
    """
    table = np.asarray(counts, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all() or (table < 0).any():
        raise DataError("counts are not a table of numbers >= 0", fix="pass one row per look and one column per arm")
    share = np.broadcast_to(np.asarray(intended, dtype=np.float64), table.shape)
    if not np.isfinite(share).all() or (share <= 0).any():
        raise DataError("a share is not above 0", fix="leave out arms that receive no units in any look")
    share = share / share.sum(axis=1, keepdims=True)
    bets = np.empty((len(table), len(concentrations)))
    settled, total = np.zeros(len(concentrations)), np.zeros(table.shape[1])
    for look in range(len(table)):
        if look and not np.allclose(share[look], share[look - 1], rtol=0, atol=1e-12):
            settled, total = bets[look - 1], np.zeros(table.shape[1])
        total = total + table[look]
        bets[look] = settled + share_bets(total, share[look], concentrations)
    evidence = average_bet(bets)
    p = np.minimum(np.exp(-np.maximum(np.maximum.accumulate(evidence), 0.0)), 1.0)
    return SequentialRatioCheck(evidence, p, bool(p[-1] < fraction("alpha", alpha)))


def share_bets(total: FloatArray, share: FloatArray, concentrations: Sequence[float] = CONCENTRATIONS) -> FloatArray:
    """Log Bayes factor of units (K,) against shares (K,) of one stretch, for each concentration. Stretches add up."""
    return np.array([_log_bayes_factor(total, share, k) for k in concentrations])


def average_bet(bets: FloatArray) -> FloatArray:
    """Log of the average over the last axis of bets that are given as logs."""
    return np.asarray(special.logsumexp(bets, axis=-1) - np.log(bets.shape[-1]))


def _log_bayes_factor(total: FloatArray, share: FloatArray, k: float) -> float:
    prior = positive("concentration", k) * share
    predictive = special.gammaln(k) - special.gammaln(k + total.sum())
    predictive += float(np.sum(special.gammaln(prior + total) - special.gammaln(prior)))
    return float(predictive - np.sum(total * np.log(share)))


def missing_rewards(decided: ArrayLike, rewarded: ArrayLike) -> MissingRewards:
    """Per-arm share of closed decisions without a reward. decided, rewarded: (K,) counts.

    Where "no event" means the default reward, this only describes the arms. Where every decision should get a reward, a
    difference between arms means that rewards are lost.
    """
    n, k = vector("decision counts", decided), vector("reward counts", rewarded)
    if len(n) != len(k):
        raise DataError("decision and reward counts have different lengths", fix="pass one of each per arm")
    refuse_first(
        (k < 0) | (k > n), k, "a reward count is {value}", "an arm cannot have more rewarded decisions than decisions"
    )
    lost = n - k
    rates, bounds = [], []
    for missed, total in zip(lost, n, strict=True):
        rates.append(float(missed / total) if total else 0.0)
        low, high = sm_proportion.proportion_confint(missed, total, method="wilson") if total else (0.0, 1.0)
        bounds.append(Interval(float(low), float(high), note="" if total else "no decisions yet"))
    used = n > 0
    p = None
    if used.sum() > 1 and 0 < lost.sum() < n.sum():
        p = float(stats.chi2_contingency(np.stack([lost[used], k[used]]), correction=False).pvalue)
    return MissingRewards(tuple(rates), tuple(bounds), p, p is not None and p < ALERT_BELOW)


def concentration(counts: ArrayLike) -> Concentration:
    """Concentration of exposure counts over actions (or of decisions over units), shape (K,)."""
    x = vector("counts", counts)
    refuse_first(x < 0, x, "a count is {value}", "counts are 0 or larger")
    total = float(x.sum())
    if total <= 0:
        raise DataError("all counts are 0", fix="wait for the first exposure")
    share = np.sort(x / total)
    ranks = np.arange(1, len(share) + 1)
    gini = float((2 * ranks - len(share) - 1) @ share / len(share))
    return Concentration(float(share[-1]), float(1 / np.sum(share**2)), gini)
