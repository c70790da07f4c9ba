"""The full off-policy report of a target policy on a log: estimators, their intervals by name, and a verdict.

It takes one pass over sums, and another over the rows for methods that need them (`experiments.policy_reports.row_intervals`).
This module must never show an interval for a method whose assumptions the input contradicts: it gives the reason instead.
"""

from __future__ import annotations

from math import isfinite
from typing import NamedTuple

import numpy as np

from experiments import sequences, sums
from experiments.off_policy import intervals, unit_sums, value_sequence, verdict
from experiments.off_policy.estimators import LARGEST_WEIGHT, importance_weights
from experiments.policy_reports import row_intervals
from experiments.policy_reports.headline import Headline, headline, refused_difference
from experiments.policy_reports.report_lines import (
    ESTIMATORS,
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
    codes,
    counts,
    refuse_first,
    rewards,
    same_length,
    value_range,
    vector,
)


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
    possible_weight: ArrayLike | None = None
    """Shape (rows,): the largest weight that any action of the row could have had, infinite where it is unknown. None
    takes `max_weight` for all rows."""
    stands_for: ArrayLike | None = None
    """Shape (rows,): how many decisions a row stands for because the others were not logged, 1 / (1 - pdrop) of a thinned
    log. Values are then those of all decisions (Horvitz and Thompson 1952, with known chances). None: one."""


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
    effective_units: float | None
    """Kish, in units, when a unit column was given."""
    max_weight: float
    """Largest weight seen."""
    weight_z: float | None
    """(mean weight - 1) / its standard error."""
    logged_value: float
    """Mean reward of the policies that ran."""
    headline: Headline
    """The value to lead with, its always-valid interval, and the one-look interval beside it."""
    lift: EstimatorReport
    """Target minus the policies that ran, paired on the same rows: DR when a model was given, else IPS. It has one
    interval: normal, or of unit sums when units were given; none where the verdict refuses the value."""
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

    `unit` holds codes 0..units-1 and clusters the standard errors. With `Assumptions.stands_for`, intervals are those of sums of
    units. Raises `DataError` for propensities outside (0, 1]
    or so small that a weight exceeds 1e75, target probabilities outside [0, 1], rewards outside the declared range or
    beyond 1e75, NaN anywhere, a weight above its largest one.
    """
    w, r = importance_weights(propensity, target_probability), vector("reward", reward)
    refuse_first(
        np.abs(r) > LARGEST_WEIGHT, r, "reward is {value}", f"rewards beyond {LARGEST_WEIGHT:g} cannot be squared"
    )
    unit = None if unit is None else codes("unit", unit, len(np.atleast_1d(unit)))
    n_of = None if assumptions.stands_for is None else counts(assumptions.stands_for, len(w))
    if n_of is not None and unit is None:
        unit = np.arange(len(w))
    same_length(weight=w, reward=r, unit=unit)
    q, v = _checked_model(model, len(w))
    settings = _settings(r, assumptions)
    _refuse_heavier(w, settings.max_weight)
    total = sums.policy_sums(w, r, q, v, settings.thresholds, n_of)
    units = None if unit is None else sums.unit_moments(w, r, (q, v), settings.thresholds, unit, n_of)
    possible, weight = _possible(assumptions.possible_weight, len(w), settings), 1.0 if n_of is None else n_of
    rows = row_intervals.Rows(w, r, q, v, possible, unit, weight)
    log_sums = LogSums(total, units, settings, model is not None, unsupported_mass)
    return _assemble(log_sums, row_intervals.by_estimator(rows, settings, total), _effective_units(w * weight, unit))


def report_from_sums(
    total: PolicySums,
    settings: Settings,
    *,
    with_model: bool,
    units: sums.Moments | None = None,
    sequence: sequences.SequenceState | None = None,
    values: value_sequence.ValueState | None = None,
    unsupported_mass: float | None = None,
) -> OffPolicyReport:
    """The same report from mergeable sums alone; methods that need rows (likelihood, sums of units) say so.

    `sequence` and `values` are the states of `experiments.sequences` and `experiments.off_policy.value_sequence` after the same
    rows in time order. Without the rows the number of effective units is unknown, and the verdict does not check it.
    """
    given = row_intervals.from_sums(total, settings, clustered=units is not None, sequence=sequence, values=values)
    return _assemble(LogSums(total, units, settings, with_model, unsupported_mass), given, None)


def _possible(given: ArrayLike | None, n: int, settings: Settings) -> FloatArray:
    if given is None:
        return np.broadcast_to(np.inf if settings.max_weight is None else settings.max_weight, (n,))
    possible = np.asarray(given, dtype=np.float64)
    if possible.shape != (n,) or np.isnan(possible).any():
        raise DataError("the largest possible weights do not fit the rows", fix="pass one number per row")
    return possible


def _effective_units(w: FloatArray, unit: IntArray | None) -> float | None:
    return None if unit is None else unit_sums.kish(unit_sums.unit_sums(w, w, unit).weight)


def _checked_model(model: ModelColumns | None, n: int) -> tuple[FloatArray | None, FloatArray | None]:
    if model is None:
        return None, None
    predicted, averaged = vector("q", model.q), vector("v", model.v)
    if len(predicted) != n or len(averaged) != n:
        raise DataError("q or v has another length than the rewards", fix="pass one value of each column per row")
    return predicted, averaged


def _settings(r: FloatArray, assumptions: Assumptions) -> Settings:
    declared, max_weight = assumptions.reward_range, _largest_weight(assumptions)
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


def _largest_weight(assumptions: Assumptions) -> float | None:
    """The declared largest weight, or the largest of those that were declared row by row; None when either is unknown."""
    if assumptions.max_weight is not None or assumptions.possible_weight is None:
        return assumptions.max_weight
    largest = float(np.max(np.asarray(assumptions.possible_weight, dtype=np.float64), initial=1.0))
    return largest if isfinite(largest) else None


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


def _assemble(log_sums: LogSums, of_rows: row_intervals.ByEstimator, effective_units: float | None) -> OffPolicyReport:
    row_moments, alpha, clustered = log_sums.total.moments, log_sums.settings.alpha, log_sums.units is not None
    estimates = sums.finish(row_moments if log_sums.units is None else log_sums.units, with_model=log_sums.with_model)
    diagnostics = _diagnostics(log_sums, estimates, effective_units)
    judged = verdict.judge(diagnostics)
    by_name = {name: estimator(name, estimates, log_sums, of_rows.get(name, {})) for name in ESTIMATORS}
    by_name = {name: with_asymptotic(by_name[name], diagnostics, alpha) for name in ESTIMATORS}
    lift = _lift(estimates, log_sums, judged, of_rows.get("lift", {}))
    return OffPolicyReport(
        rows=row_moments.n,
        units=diagnostics.units,
        mean_weight=diagnostics.mean_weight,
        effective_sample_size=diagnostics.effective_sample_size,
        effective_units=effective_units,
        max_weight=log_sums.total.max_weight,
        weight_z=verdict.weight_z(diagnostics),
        logged_value=estimates["logged"].value,
        headline=headline(by_name, judged, clustered=clustered),
        lift=lift,
        detectable_lift=detectable_lift(lift, alpha),
        estimators=by_name,
        verdict=judged,
        settings=log_sums.settings,
    )


def _diagnostics(
    log_sums: LogSums, estimates: dict[str, LinearEstimate], effective_units: float | None
) -> verdict.Diagnostics:
    weights, mean_weight = intervals.weight_sums_of(log_sums.total.moments), estimates["mean_weight"]
    return verdict.Diagnostics(
        rows=weights.n,
        mean_weight=mean_weight.value,
        mean_weight_error=mean_weight.std_error,
        effective_sample_size=weights.w**2 / weights.ww if weights.ww > 0 else 0.0,
        max_weight=log_sums.total.max_weight,
        unsupported_mass=log_sums.unsupported,
        disagreement=_disagreement(estimates),
        effective_rewards=intervals.effective_rewards(weights, log_sums.settings.reward_range),
        possible_weight=log_sums.settings.max_weight,
        units=None if log_sums.units is None else log_sums.units.n,
        effective_units=effective_units,
    )


def _disagreement(estimates: dict[str, LinearEstimate]) -> float | None:
    gap = estimates.get("dr_minus_snips")
    if gap is None or gap.std_error <= 0:
        return None
    return abs(gap.value) / gap.std_error


def _lift(
    estimates: dict[str, LinearEstimate],
    log_sums: LogSums,
    judged: verdict.Verdict,
    of_units: dict[str, Interval],
) -> EstimatorReport:
    estimate = estimates["dr_lift" if log_sums.with_model else "lift"]
    note = "target minus the policies that ran, paired on the same rows"
    if observations(log_sums) < intervals.MIN_UNITS:
        interval = missing("there is only one independent unit")
        return EstimatorReport(estimate.value, None, {"normal": interval}, note)
    refused = refused_difference(judged, clustered=log_sums.units is not None)
    if log_sums.units is None:
        given = {"normal": intervals.normal(estimate.value, estimate.std_error, log_sums.settings.alpha)}
    else:
        given = of_units or {"unit_sums": missing("needs the rows, and this report was made from sums")}
    if refused is not None:
        given = dict.fromkeys(given, refused)
    return EstimatorReport(estimate.value, estimate.std_error, given, note)
