"""Sample ratio mismatch for bandits: are actions chosen as often as the logged propensities say?

Propensities change with every context and policy version, so counts cannot be compared with fixed shares. Each decision
is compared with its own distribution instead. Lost exposures of an arm, a wrong propensity, or a log that was filtered
afterwards break every off-policy number, and show here first. Ramps and reweighting raise no alarm, because each row
has its own probabilities. All results are sums over rows, mergeable over time slices, policy versions and segments.
This module must never look at rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from experiments.logs.health import ANYTIME_ALERT_BELOW
from experiments.multiplicity import adjust
from experiments.sequences import e_to_p
from experiments.validation import ArrayLike, DataError, FloatArray, codes, distributions, fraction

TILTS = (-1.0, -0.3, -0.1, -0.03, 0.03, 0.1, 0.3, 1.0)
"""Log odds by which an arm may be chosen too rarely or too often; -0.03 is 3% of its exposures lost."""
NEVER_RANDOM = 1e-9
"""Below this variance an arm's choice was never random: what is left is rounding."""
ALPHA = ANYTIME_ALERT_BELOW
"""Default level of the anytime check."""


class ChoiceSums(NamedTuple):
    """Mergeable sums over decisions; field by field addition."""

    n: int
    """Decisions."""
    chosen: FloatArray
    """Shape (K,): how often each arm was chosen."""
    expected: FloatArray
    """Shape (K,): sum of logged probabilities."""
    covariance: FloatArray
    """Shape (K, K): sum of diag(p) - p p'."""
    log_bets: FloatArray
    """Shape (K, tilts): log wealth of betting that one arm is tilted by one of `TILTS`."""


class ArmBalance(NamedTuple):
    """How often an arm was chosen, and how often its propensities say."""

    chosen: int
    """Times chosen."""
    expected: float
    """Sum of its logged probabilities."""
    ratio: float | None
    """chosen / expected; 0.97 when 3% are lost. None when nothing was expected."""
    z: float | None
    """(chosen - expected) / standard deviation; None when the arm's choice was never random."""


class ChoiceBalance(NamedTuple):
    """Logged choices against logged propensities."""

    n: int
    """Decisions."""
    chi2: float
    """d' S^- d, d = chosen - expected, S its covariance under the logged propensities."""
    df: int
    """Rank of S, usually K - 1."""
    p_value: float | None
    """Valid for a single look; None when no choice was random."""
    log_evidence: float
    """Log of the e-process: evidence against the propensities, however often one looks."""
    anytime_p_value: float
    """min(1, 1 / evidence) at this look; take running minima over looks."""
    arms: tuple[ArmBalance, ...]
    """Per arm."""
    alert: bool
    """True when the anytime p-value is below alpha."""


def choice_sums(chosen: ArrayLike, probabilities: ArrayLike) -> ChoiceSums:
    """Sums of a chunk: chosen (n,) arm codes, probabilities (n, K) logged distributions (0 for ineligible arms).

    Raises `DataError` for a row that does not sum to 1 or whose chosen arm had probability 0.
    """
    p = distributions("the logged distribution", probabilities)
    a = codes("chosen arm", chosen, p.shape[1])
    if len(a) != len(p):
        raise DataError("choices and distributions have different lengths", fix="pass one of each per decision")
    # float32 libraries leave sums off by 4e-6; over millions of rows that drift would look like lost exposures.
    p = p / p.sum(axis=1, keepdims=True)
    own = p[np.arange(len(a)), a]
    if (own <= 0).any():
        raise DataError(
            "the chosen arm had probability 0", fix="find out why the log holds it", row=int(np.argmax(own <= 0))
        )
    counts = np.bincount(a, minlength=p.shape[1]).astype(np.float64)
    covariance = np.diag(p.sum(axis=0)) - p.T @ p
    growth = np.expm1(np.array(TILTS))
    bets = np.multiply.outer(counts, np.array(TILTS))
    for tilt in range(len(TILTS)):
        bets[:, tilt] -= np.log1p(p * growth[tilt]).sum(axis=0)
    return ChoiceSums(len(a), counts, p.sum(axis=0), covariance, bets)


def merge_choices(a: ChoiceSums, b: ChoiceSums) -> ChoiceSums:
    """Sums of the union of two disjoint sets of decisions over the same arms."""
    if len(a.chosen) != len(b.chosen):
        raise DataError("two parts were summed over different arms", fix="give every part the same arm codes")
    return ChoiceSums(
        a.n + b.n,
        a.chosen + b.chosen,
        a.expected + b.expected,
        a.covariance + b.covariance,
        a.log_bets + b.log_bets,
    )


def choice_balance(sums: ChoiceSums, *, alpha: float = ALPHA) -> ChoiceBalance:
    """The check at this look: fixed-look (chi-square) and anytime (e-process), from the same sums.

    The e-process is the average over arms and tilts theta of prod q_t(a_t) / p_t(a_t), q_t(b) proportional to
    p_t(b) exp(theta 1{b = arm}): each factor has mean 1 under the logged propensities, whatever the policy learned from
    the past, so that Ville's inequality bounds the chance of ever exceeding 1/alpha by alpha.
    """
    d = sums.chosen - sums.expected
    values, vectors = np.linalg.eigh(sums.covariance)
    keep = values > NEVER_RANDOM * max(float(values[-1]), 1.0)
    along = vectors[:, keep].T @ d
    chi2, df = float(np.sum(along**2 / values[keep])), int(keep.sum())
    p = float(stats.chi2.sf(chi2, df)) if df else None
    evidence = float(special.logsumexp(sums.log_bets) - log(sums.log_bets.size))
    anytime = e_to_p(evidence)
    alert = anytime < fraction("alpha", alpha)
    arms = tuple(
        _arm(int(k), float(e), float(v))
        for k, e, v in zip(sums.chosen, sums.expected, np.diag(sums.covariance), strict=True)
    )
    return ChoiceBalance(sums.n, chi2, df, p, evidence, anytime, arms, alert)


def _arm(chosen: int, expected: float, variance: float) -> ArmBalance:
    z = (chosen - expected) / variance**0.5 if variance > NEVER_RANDOM else None
    return ArmBalance(chosen, expected, chosen / expected if expected > 0 else None, z)


def balance_by_group(groups: Sequence[ChoiceSums], *, alpha: float = ALPHA) -> list[ChoiceBalance]:
    """The check of several groups (arms, model versions, segments), corrected for their number.

    Anytime p-values are adjusted with Bonferroni's method and alone raise the alarm; fixed-look p-values, for a single
    look, with Holm's.
    """
    balances = [choice_balance(sums, alpha=alpha) for sums in groups]
    corrected = []
    for balance, p in zip(balances, adjust([balance.p_value for balance in balances]), strict=True):
        anytime = min(1.0, balance.anytime_p_value * len(balances))
        corrected.append(balance._replace(p_value=p, anytime_p_value=anytime, alert=anytime < alpha))
    return corrected
