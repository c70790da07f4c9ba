"""The full off-policy report of a target policy on a log: estimators, their intervals by name, and a verdict.

It takes one pass over sums, and another over the rows' weights and rewards for methods that need rows (empirical
likelihood, betting). This module must never show an interval for a method whose assumptions the input contradicts: it
gives the reason instead.
"""

from __future__ import annotations

from math import inf, isfinite
from typing import NamedTuple

from experiments import intervals, likelihood, sequences, sums, verdict
from experiments.report_lines import (
    ESTIMATORS,
    ROWS_OF_A_UNIT,
    EstimatorReport,
    LogSums,
    Settings,
    detectable_lift,
    estimator,
    observations,
    with_asymptotic,
)
from experiments.results import Interval, missing
from experiments.sums import LinearEstimate, PolicySums, Thresholds, default_thresholds
from experiments.validation import (
    ArrayLike,
    DataError,
    FloatArray,
    IntArray,
    probabilities,
    propensities,
    refuse_first,
    rewards,
    same_length,
    value_range,
    vector,
)

BETTING_ROWS = 1_000_000


class ModelColumns(NamedTuple):
    """Predictions of a reward model, per row. The model must not have learned the row that it predicts."""

    q: ArrayLike
    """Predicted reward of the logged action."""
    v: ArrayLike
    """Average prediction over the target policy's distribution."""


class Assumptions(NamedTuple):
    """What the caller declares before looking at rewards."""

    alpha: float = 0.05
    """1 - confidence level of every interval."""
    max_weight: float | None = None
    """Largest possible weight; None when it is unknown."""
    reward_range: tuple[float, float] | None = None
    """Range of rewards; None takes [0, 1], widened to the rewards seen."""
    clip: float | None = None
    """Clip of clipped IPS; None takes the default of `sums.default_thresholds`, as do the next two."""
    switch_tau: float | None = None
    """Threshold of Switch-DR."""
    shrinkage_lambda: float | None = None
    """Lambda of DR with optimistic shrinkage."""


NO_ASSUMPTIONS = Assumptions()


class OffPolicyReport(NamedTuple):
    """What a log says about a target policy."""

    rows: int
    """Decisions."""
    units: int | None
    """Independent units, when a unit column was given."""
    mean_weight: float
    """1, within noise, when the log is sound."""
    effective_sample_size: float
    """Kish, in rows."""
    max_weight: float
    """Largest weight seen."""
    weight_z: float | None
    """(mean weight - 1) / its standard error."""
    logged_value: float
    """Mean reward of the policies that ran."""
    lift: EstimatorReport
    """Target minus the policies that ran, paired on the same rows: DR when a model was given, else IPS."""
    detectable_lift: float | None
    """The smallest true lift that a log of this size would show in 80% of repetitions; None without a standard error."""
    estimators: dict[str, EstimatorReport]
    """By name, one for each of `ESTIMATORS`."""
    verdict: verdict.Verdict
    """Whether the log can answer at all."""
    settings: Settings
    """What was assumed."""


def evaluate_rows(
    propensity: ArrayLike,
    target_probability: ArrayLike,
    reward: ArrayLike,
    *,
    model: ModelColumns | None = None,
    unit: IntArray | None = None,
    assumptions: Assumptions = NO_ASSUMPTIONS,
    unsupported_mass: float | None = None,
) -> OffPolicyReport:
    """Report from columns of one value per row, in time order (the confidence sequences depend on the order).

    `unit` holds codes 0..units-1 and clusters the standard errors. Raises `DataError` for propensities outside (0, 1],
    target probabilities outside [0, 1], rewards outside the declared range, NaN anywhere, a weight above the declared
    largest one.
    """
    p = propensities("propensity", propensity)
    e = probabilities("target probability", target_probability)
    r = vector("reward", reward)
    same_length(propensity=p, target_probability=e, reward=r, unit=unit)
    q, v = _checked_model(model, len(p))
    settings = _settings(r, assumptions)
    w = e / p
    _refuse_heavier(w, settings.max_weight)
    total = sums.policy_sums(w, r, q, v, settings.thresholds)
    units = None if unit is None else sums.unit_moments(w, r, (q, v), settings.thresholds, unit)
    log_sums = LogSums(total, units, settings, model is not None, unsupported_mass)
    return _assemble(log_sums, row_intervals(w, r, settings, clustered=unit is not None, total=total))


def report_from_sums(
    total: PolicySums,
    settings: Settings,
    *,
    with_model: bool,
    units: sums.Moments | None = None,
    sequence: sequences.SequenceState | None = None,
    unsupported_mass: float | None = None,
) -> OffPolicyReport:
    """The same report from mergeable sums alone; methods that need rows (likelihood, betting) say so.

    `sequence` is the state of `experiments.sequences.advance` after the same rows in time order.
    """
    given = _from_sums(total, settings, clustered=units is not None)
    needs_rows = missing("needs the rows, and this report was made from sums")
    given |= {"empirical_likelihood": needs_rows, "betting": needs_rows}
    given["confidence_sequence"] = (
        missing("needs the rows in time order")
        if sequence is None
        else sequences.gamma_exponential(sequence, settings.reward_range, settings.alpha)
    )
    return _assemble(LogSums(total, units, settings, with_model, unsupported_mass), given)


def row_intervals(
    w: FloatArray, r: FloatArray, settings: Settings, *, clustered: bool, total: PolicySums
) -> dict[str, Interval]:
    """The intervals that work on weighted rewards, by name."""
    out = _from_sums(total, settings, clustered=clustered)
    bounds, alpha = settings.reward_range, settings.alpha
    wmax = inf if settings.max_weight is None else settings.max_weight
    if clustered:
        out |= {name: missing(ROWS_OF_A_UNIT) for name in ("empirical_likelihood", "betting", "confidence_sequence")}
        return out
    state = sequences.START
    for start in range(0, len(w), 1 << 16):
        state = sequences.advance(state, w[start : start + (1 << 16)], r[start : start + (1 << 16)], bounds)
    out["confidence_sequence"] = sequences.gamma_exponential(state, bounds, alpha)
    out["betting"] = (
        missing(
            "not computed beyond a million rows, where it takes minutes: confidence_sequence makes the same assumptions"
        )
        if len(w) > BETTING_ROWS
        else sequences.betting(w, r, bounds, alpha)
    )
    out["empirical_likelihood"] = (
        missing("no weight lies above 1, so that E[w] = 1 cannot be imposed")
        if wmax <= 1 or total.max_weight <= 0
        else likelihood.empirical_likelihood(w, r, bounds, wmax, alpha)
    )
    return out


def _from_sums(total: PolicySums, settings: Settings, *, clustered: bool) -> dict[str, Interval]:
    wmax = inf if settings.max_weight is None else settings.max_weight
    if clustered:
        return {"cressie_read": missing(ROWS_OF_A_UNIT)}
    if wmax <= 1:
        return {"cressie_read": missing("the largest possible weight is 1: target and logging policy are the same")}
    weight_sums = intervals.weight_sums_of(total.moments)
    return {"cressie_read": intervals.cressie_read(weight_sums, settings.reward_range, wmax, settings.alpha)}


def _checked_model(model: ModelColumns | None, n: int) -> tuple[FloatArray | None, FloatArray | None]:
    if model is None:
        return None, None
    predicted, averaged = vector("q", model.q), vector("v", model.v)
    if len(predicted) != n or len(averaged) != n:
        raise DataError("q or v has another length than the rewards", fix="pass one value of each column per row")
    return predicted, averaged


def _settings(r: FloatArray, assumptions: Assumptions) -> Settings:
    declared, max_weight = assumptions.reward_range, assumptions.max_weight
    if declared is None:
        bounds = (min(0.0, float(r.min())), max(1.0, float(r.max())))
    else:
        bounds = value_range(*declared)
        rewards("reward", r, *bounds)
    if max_weight is not None and not (isfinite(max_weight) and max_weight >= 1):
        raise DataError(
            f"the declared largest weight is {max_weight:g}", fix="true weights average 1; declare 1 or more"
        )
    thresholds = _thresholds(assumptions, len(r))
    return Settings(assumptions.alpha, max_weight, bounds, declared is not None, thresholds)


def _thresholds(assumptions: Assumptions, n: int) -> Thresholds:
    defaults = default_thresholds(n)
    chosen = Thresholds(
        defaults.clip if assumptions.clip is None else assumptions.clip,
        defaults.switch_tau if assumptions.switch_tau is None else assumptions.switch_tau,
        defaults.shrinkage_lambda if assumptions.shrinkage_lambda is None else assumptions.shrinkage_lambda,
    )
    for name, value in zip(("clip", "switch tau", "shrinkage lambda"), chosen, strict=True):
        if not value >= 0:
            raise DataError(f"{name} is {value}", fix="give a number that is 0 or larger")
    return chosen


def _refuse_heavier(w: FloatArray, max_weight: float | None) -> None:
    if max_weight is not None:
        # A bound computed elsewhere may differ from the row that attains it in the last digits.
        fix = f"the declared largest possible weight is {max_weight:g}; declare the largest that any row could have"
        refuse_first(w > max_weight * (1 + 1e-9), w, "the importance weight is {value}", fix)


def _assemble(log_sums: LogSums, weighted: dict[str, Interval]) -> OffPolicyReport:
    row_moments = log_sums.total.moments
    basis = row_moments if log_sums.units is None else log_sums.units
    estimates = sums.finish(basis, with_model=log_sums.with_model)
    by_name = {name: estimator(name, estimates, log_sums, weighted) for name in ESTIMATORS}
    n = row_moments.n
    weights = intervals.weight_sums_of(row_moments)
    effective = weights.w**2 / weights.ww if weights.ww > 0 else 0.0
    mean_weight = estimates["mean_weight"]
    diagnostics = verdict.Diagnostics(
        n,
        mean_weight.value,
        mean_weight.std_error,
        effective,
        log_sums.total.max_weight,
        log_sums.unsupported,
        _disagreement(estimates),
        intervals.effective_rewards(weights, log_sums.settings.reward_range),
        log_sums.settings.max_weight,
    )
    judged = verdict.judge(diagnostics)
    by_name = {name: with_asymptotic(by_name[name], diagnostics, log_sums.settings.alpha) for name in ESTIMATORS}
    lift = _lift(estimates, log_sums)
    return OffPolicyReport(
        n,
        None if log_sums.units is None else log_sums.units.n,
        mean_weight.value,
        effective,
        log_sums.total.max_weight,
        verdict.weight_z(diagnostics),
        estimates["logged"].value,
        lift,
        detectable_lift(lift, log_sums.settings.alpha),
        by_name,
        judged,
        log_sums.settings,
    )


def _disagreement(estimates: dict[str, LinearEstimate]) -> float | None:
    gap = estimates.get("dr_minus_snips")
    if gap is None or gap.std_error <= 0:
        return None
    return abs(gap.value) / gap.std_error


def _lift(estimates: dict[str, LinearEstimate], log_sums: LogSums) -> EstimatorReport:
    estimate = estimates["dr_lift" if log_sums.with_model else "lift"]
    note = "target minus the policies that ran, paired on the same rows"
    one_unit = observations(log_sums) < intervals.MIN_UNITS
    interval = (
        missing("there is only one independent unit")
        if one_unit
        else intervals.normal(estimate.value, estimate.std_error, log_sums.settings.alpha)
    )
    return EstimatorReport(estimate.value, None if one_unit else estimate.std_error, {"normal": interval}, note)
