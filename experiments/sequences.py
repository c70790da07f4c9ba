"""Confidence sequences: intervals that stay valid after any number of looks.

The gamma-exponential sequence needs rows in time order and holds for logs of adaptive policies, because it uses only
E[w r | past]; it covers the running average of V over the rounds so far, also when V drifts. It is kept for comparison
with vw-estimators: `experiments.off_policy.value_sequence` is narrower. The asymptotic sequence takes any influence-function
estimate and must wait for the effective-sample-size gate. This module must never use a row to predict itself.
"""

from __future__ import annotations

from functools import lru_cache
from math import e, exp, inf, log, sqrt
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from experiments.results import Interval, missing
from experiments.validation import FloatArray, fraction, positive, value_range

RHO = 1.0
"""Scale of the gamma mixture, fixed before seeing data, as in the paper's experiments."""


class SequenceState(NamedTuple):
    """State of the gamma-exponential sequence: a fold in time order, fixed size. Chunks must follow each other."""

    t: int
    """Rows so far."""
    low_sum: float
    """Sum of w (r - r_low) / (r_high - r_low)."""
    low_spread: float
    """Sum of squared prediction errors of those."""
    high_sum: float
    """Sum of w (r_high - r) / (r_high - r_low)."""
    high_spread: float
    """Sum of squared prediction errors of those."""


START = SequenceState(0, 0.0, 0.0, 0.0, 0.0)


def advance(
    state: SequenceState, w: FloatArray, r: FloatArray, reward_range: tuple[float, float], *, cap: bool = True
) -> SequenceState:
    """The state after the next rows (in time order). `cap=False` reproduces vw-estimators, whose proof it breaks."""
    low, high = value_range(*reward_range)
    scaled = w * ((r - low) / (high - low))
    mirrored = w * ((high - r) / (high - low))
    low_sum, low_spread = _spread(state.t, state.low_sum, scaled, cap)
    high_sum, high_spread = _spread(state.t, state.high_sum, mirrored, cap)
    return SequenceState(
        state.t + len(w), low_sum, state.low_spread + low_spread, high_sum, state.high_spread + high_spread
    )


def _spread(t: int, total: float, x: FloatArray, cap: bool) -> tuple[float, float]:
    """Sum after the rows and the squared errors of predicting each row by the shrunk mean of those before it."""
    if len(x) == 0:
        return total, 0.0
    sums = total + np.cumsum(x)
    before = np.concatenate(([total], sums[:-1]))
    prediction = (before + 0.5) / np.arange(t + 1, t + len(x) + 1)
    if cap:
        # The supermartingale needs predictions of at most 1, the largest possible mean of the scaled rows.
        prediction = np.minimum(prediction, 1.0)
    error = x - prediction
    return float(sums[-1]), float(error @ error)


def gamma_exponential(
    state: SequenceState, reward_range: tuple[float, float], alpha: float = 0.05, *, note: str = ""
) -> Interval:
    """Gamma-exponential mixture sequence for V (Karampatziakis, Mineiro and Ramdas 2021), alpha/2 on each side.

    Needs no bound on weights. Valid at every time together, for adaptive logs too, with rewards in the declared range.
    """
    low, high = value_range(*reward_range)
    if state.t == 0:
        return missing("no rows yet")
    threshold = log(2 / fraction("alpha", alpha))
    below = _lower_mean(state.t, state.low_sum, state.low_spread, threshold)
    above = 1 - _lower_mean(state.t, state.high_sum, state.high_spread, threshold)
    if below > above:
        return missing(
            "the two sides contradict each other: rewards outside their range, or propensities that are wrong"
        )
    return Interval(low + below * (high - low), low + above * (high - low), note=note)


def log_wealth(surplus: FloatArray | float, spread: FloatArray | float) -> FloatArray:
    """Log wealth of the gamma-exponential bet against a mean, from sum(x) - t m and the squared prediction errors.

    Vectorised. The result may be -inf where the surplus is negative: no bet exists there.
    """
    s, v = np.asarray(surplus, dtype=np.float64), np.asarray(spread, dtype=np.float64)
    shape, rate = v + RHO, np.maximum(s + v + RHO, 1e-300)
    with np.errstate(divide="ignore", invalid="ignore"):
        upper = np.log(special.gammainc(shape, rate)) + special.gammaln(shape)
        base = np.log(special.gammainc(RHO, RHO)) + special.gammaln(RHO)
        out = s + v + RHO * log(RHO) - shape * np.log(rate) + upper - base
    return np.asarray(np.where(s + v + RHO > 0, out, -np.inf))


def _lower_mean(t: int, total: float, spread: float, threshold: float) -> float:
    if float(log_wealth(total, spread)) <= threshold:
        return 0.0
    top = min(1.0, total / t)
    if float(log_wealth(total - t * top, spread)) >= threshold:
        return top

    def excess(mean: float) -> float:
        return float(log_wealth(total - t * mean, spread)) - threshold

    return float(optimize.brentq(excess, 0.0, top, xtol=1e-16, rtol=1e-14))


@lru_cache(maxsize=256)
def tuned_rho(tuned_at: float, alpha: float = 0.05) -> float:
    """rho that makes the asymptotic sequence narrowest at `tuned_at` observations, exact by Lambert's W.

    rho^2 = (-W_{-1}(-alpha^2 / e) - 1) / t* (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024).
    """
    a = fraction("alpha", alpha)
    branch = float(np.real(special.lambertw(-a * a / e, -1)))
    return sqrt((-branch - 1) / positive("tuned_at", tuned_at))


def asymptotic_half_width(std_error: float, t: float, rho: float, alpha: float = 0.05) -> float:
    """Half width of the asymptotic sequence at t observations for an estimate with this standard error.

    se sqrt(t) sqrt(2 (t rho^2 + 1) / (t^2 rho^2) ln(sqrt(t rho^2 + 1) / alpha)), same source as `tuned_rho`.
    """
    scale = t * positive("rho", rho) ** 2
    return std_error * sqrt(2 * (scale + 1) / scale * log(sqrt(scale + 1) / fraction("alpha", alpha)))


def asymptotic(
    value: float,
    std_error: float,
    t: int,
    *,
    effective: float,
    gate: float,
    tuned_at: float = 5000.0,
    alpha: float = 0.05,
) -> Interval:
    """Asymptotic confidence sequence for any influence-function estimate, closed until `effective` >= `gate`.

    Before the gate, early misses are common with heavy weights, so there is a reason instead of an interval.
    """
    if effective < gate:
        return missing(f"needs an effective sample size of {gate:.0f}, and has {effective:.1f}")
    half = asymptotic_half_width(std_error, t, tuned_rho(tuned_at, alpha), alpha)
    return Interval(value - half, value + half)


class MixtureTest(NamedTuple):
    """A look of a normal-mixture (mSPRT) test of a difference against 0."""

    log_evidence: float
    """Natural log of the likelihood ratio; at least ln(1/alpha) rejects."""
    p_value: float
    """min(1, 1 / likelihood ratio) at this look; take running minima over looks."""
    interval: Interval
    """Always-valid interval of the difference."""


def mixture_test(difference: float, std_error: float, tau: float, alpha: float = 0.05) -> MixtureTest:
    """mSPRT for a difference with variance V = std_error^2 and mixing N(0, tau^2) (Johari et al. 2017; Robbins 1970).

    Evidence sqrt(V/(V+tau^2)) exp(tau^2 d^2 / (2 V (V+tau^2))), half width sqrt(2 V (V+tau^2)/tau^2
    ln(sqrt((V+tau^2)/V)/alpha)). Asymptotic: V must be well estimated. A variance of 0 gives no interval, with a
    reason.
    """
    level, spread = fraction("alpha", alpha), positive("tau", tau) ** 2
    variance = std_error**2
    if variance <= 0:
        return MixtureTest(0.0, 1.0, missing("the difference has no variance"))
    total = variance + spread
    evidence = 0.5 * log(variance / total) + spread * difference**2 / (2 * variance * total)
    half = sqrt(2 * variance * total / spread * (0.5 * log(total / variance) - log(level)))
    return MixtureTest(evidence, min(1.0, exp(-evidence)), Interval(difference - half, difference + half))


def mixture_tau(std_error: float, n: float, tuned_at: float = 5000.0, alpha: float = 0.05) -> float:
    """tau = rho sqrt(n V): makes `mixture_test` the asymptotic sequence at n observations, tuned for `tuned_at`."""
    return tuned_rho(tuned_at, alpha) * sqrt(n) * std_error


def e_to_p(log_e_value: float) -> float:
    """p = min(1, 1/e) from the log of an e-value."""
    return 1.0 if log_e_value <= 0 else exp(-log_e_value) if log_e_value < inf else 0.0
