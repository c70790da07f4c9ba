"""The lines of an off-policy report: an estimator's value, error, and intervals by name, each with a reason if missing.

`experiments.policy_reports.report` assembles the lines. This module must never decide whether to show a number: the
verdict does that.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import NamedTuple

from experiments import sequences, sums
from experiments.off_policy import intervals, verdict
from experiments.policy_reports.candidates import detectable_difference
from experiments.results import Interval, missing
from experiments.sums import LinearEstimate, PolicySums, Thresholds

ESTIMATORS = ("ips", "snips", "dm", "dr", "sndr", "switch_dr", "dr_os", "clipped_ips")
INTERVALS = (
    "normal",
    "bias_aware",
    "empirical_bernstein",
    "cressie_read",
    "empirical_likelihood",
    "unit_sums",
    "always_valid",
    "confidence_sequence",
    "asymptotic_sequence",
)
ASYMPTOTIC_REWARDS = 100.0
"""At early looks asymptotic sequences missed in 7 to 19% of simulated runs without this gate, in under 2% with it."""
NEEDS_MODEL = ("dm", "dr", "sndr", "switch_dr", "dr_os")
ROWS_OF_A_UNIT = "rows of one unit depend on each other: see unit_sums and always_valid"
NO_UNITS = "rows are independent: no units were given"
ONLY_WEIGHTED_REWARDS = "this method works on weighted rewards: see snips"


class Settings(NamedTuple):
    """The choices made before looking at rewards."""

    alpha: float
    """1 - confidence level of every interval."""
    max_weight: float | None
    """Largest POSSIBLE weight, declared; None when unknown."""
    reward_range: tuple[float, float]
    """Declared range of rewards, or the range assumed from the log (see `range_declared`)."""
    range_declared: bool
    """False when the range was taken from [0, 1] and the rewards seen: intervals that need a range then rest on it."""
    thresholds: Thresholds
    """Clip, tau and lambda."""


class EstimatorReport(NamedTuple):
    """The line of an estimator."""

    value: float | None
    """In the unit of the reward; None with a reason."""
    std_error: float | None
    """Delta method (clustered when units were given), same unit; None with a reason."""
    intervals: dict[str, Interval]
    """By name, one for each of `INTERVALS`."""
    estimand: str
    """Which number the intervals are about."""
    reason: str = ""
    """Why there is no value."""


class LogSums(NamedTuple):
    """The sums of a log for a target policy, and how to read them."""

    total: PolicySums
    units: sums.Moments | None
    settings: Settings
    with_model: bool
    unsupported: float | None


def observations(log_sums: LogSums) -> int:
    """Independent observations: units when clustered, else rows."""
    return log_sums.total.moments.n if log_sums.units is None else log_sums.units.n


def estimator(
    name: str, estimates: dict[str, LinearEstimate], log_sums: LogSums, of_rows: dict[str, Interval]
) -> EstimatorReport:
    """The line of an estimator; `of_rows` has its intervals of `experiments.policy_reports.row_intervals`."""
    if name in NEEDS_MODEL and not log_sums.with_model:
        return _absent("needs the reward model's columns q and v")
    if name not in estimates:
        return _absent("every weight is 0: the target policy never chooses a logged action")
    estimate, alpha = estimates[name], log_sums.settings.alpha
    if observations(log_sums) < intervals.MIN_UNITS:
        reason = "there is only one independent unit, so that there is no standard error"
        return EstimatorReport(estimate.value, None, {n: missing(reason) for n in INTERVALS}, ESTIMANDS[name], reason)
    if name == "dm":
        reason = "the direct method is a diagnostic: no interval around it includes the error of the model"
        return EstimatorReport(
            estimate.value, estimate.std_error, {n: missing(reason) for n in INTERVALS}, ESTIMANDS[name]
        )
    bias = _bias(name, log_sums.total)
    shrunk = "" if bias is None else "an interval for the shrunk number, not for the policy's value"
    given = {n: missing(ONLY_WEIGHTED_REWARDS) for n in INTERVALS}
    given["normal"] = intervals.normal(estimate.value, estimate.std_error, alpha, note=shrunk)
    given["bias_aware"] = (
        missing("the weights are not shrunk: see normal")
        if bias is None
        else intervals.normal(
            estimate.value, estimate.std_error, alpha, bias=bias, note="widened by the estimated bias"
        )
    )
    given["empirical_bernstein"] = _bernstein(name, estimate, log_sums)
    given |= of_rows
    return EstimatorReport(estimate.value, estimate.std_error, given, ESTIMANDS[name])


ESTIMANDS = {
    "ips": "the value of the target policy",
    "snips": "the value of the target policy",
    "dm": "the reward model's opinion of the target policy",
    "dr": "the value of the target policy",
    "sndr": "the value of the target policy",
    "switch_dr": "the value with the correction of heavy rows left to the model",
    "dr_os": "the value with shrunk corrections",
    "clipped_ips": "the value with clipped weights, biased towards 0",
}


def _absent(reason: str) -> EstimatorReport:
    return EstimatorReport(None, None, {name: missing(reason) for name in INTERVALS}, "", reason)


def _bias(name: str, total: PolicySums) -> float | None:
    """|mean((w - what)(r - q))| of a shrunk estimator, None for the others. A mean, hence known from sums."""
    mean = total.moments.mean
    pairs = {
        "clipped_ips": (sums.WR, sums.CLIPPED),
        "switch_dr": (sums.WD, sums.SWITCHED),
        "dr_os": (sums.WD, sums.SHRUNK),
    }
    if name not in pairs:
        return None
    full, kept = pairs[name]
    return float(abs(mean[full] - mean[kept]))


def _bernstein(name: str, estimate: LinearEstimate, log_sums: LogSums) -> Interval:
    if log_sums.units is not None:
        return missing(ROWS_OF_A_UNIT)
    if name in ("snips", "sndr"):
        return missing("a ratio is not a mean of bounded rows")
    width = _row_width(name, log_sums)
    if width is None:
        return missing("the reward model predicts outside the range of rewards, so that rows have no known bound")
    n = log_sums.total.moments.n
    interval = intervals.empirical_bernstein(
        estimate.value, estimate.std_error * sqrt(n), n, width, log_sums.settings.alpha
    )
    if name in ("switch_dr", "dr_os", "clipped_ips") and interval.exists:
        return interval._replace(note="an interval for the shrunk number, not for the policy's value")
    return interval


def _row_width(name: str, log_sums: LogSums) -> float | None:
    """Known length of the range of one row of an estimator; infinite when the largest weight is not declared."""
    low, high = log_sums.settings.reward_range
    wmax = inf if log_sums.settings.max_weight is None else log_sums.settings.max_weight
    t = log_sums.total.thresholds
    heaviest = {
        "clipped_ips": min(wmax, t.clip),
        "switch_dr": min(wmax, t.switch_tau),
        # lambda w / (w^2 + lambda) is largest, sqrt(lambda) / 2, at w = sqrt(lambda).
        "dr_os": min(wmax, sqrt(t.shrinkage_lambda) / 2),
    }.get(name, wmax)
    if name in ("ips", "clipped_ips"):
        return heaviest * (max(high, 0.0) - min(low, 0.0))
    if log_sums.total.min_prediction < low or log_sums.total.max_prediction > high:
        return None
    return (high - low) * (1 + 2 * heaviest)


def detectable_lift(lift: EstimatorReport, alpha: float) -> float | None:
    """The smallest true lift whose two-sided interval lies above 0 in 80% of logs like this one; None when unknown."""
    if not lift.std_error:
        return None
    return detectable_difference(lift.std_error, candidates=1, alpha=alpha)


def with_asymptotic(line: EstimatorReport, d: verdict.Diagnostics, alpha: float) -> EstimatorReport:
    """The line with its asymptotic sequence, which opens once weights and rewards both allow a normal limit."""
    if line.value is None or line.std_error is None or not line.intervals["normal"].exists:
        return line
    if d.units is not None:
        interval = missing(ROWS_OF_A_UNIT)
        return line._replace(intervals={**line.intervals, "asymptotic_sequence": interval})
    gate = max(verdict.MIN_EFFECTIVE, verdict.MIN_EFFECTIVE_SHARE * d.rows)
    rewards = d.effective_rewards or 0.0
    if rewards < ASYMPTOTIC_REWARDS:
        interval = missing(f"needs {ASYMPTOTIC_REWARDS:.0f} effective rewards, and has {rewards:.1f}")
    else:
        interval = sequences.asymptotic(
            line.value, line.std_error, d.rows, effective=d.effective_sample_size, gate=gate, alpha=alpha
        )
    note = line.intervals["normal"].note
    return line._replace(intervals={**line.intervals, "asymptotic_sequence": interval._replace(note=note)})
