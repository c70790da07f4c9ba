"""The full off-policy report of one target policy on one log: estimators, their intervals by name, and a verdict.

Works in one pass over sums plus, where a method cannot be had from sums (empirical likelihood, betting), one over the
rows' weights and rewards. This module must never show an interval for a method whose assumptions the input contradicts:
it puts a reason in its place.
"""

from __future__ import annotations

from math import inf, isfinite, sqrt
from typing import NamedTuple

from experiments import intervals, likelihood, sequences, sums, verdict
from experiments.report_lines import (
    ESTIMATORS,
    ROWS_OF_A_UNIT,
    EstimatorReport,
    Found,
    Settings,
    estimator,
    observations,
    with_asymptotic,
)
from experiments.results import Interval, missing
from experiments.sums import LinearEstimate, PolicySums, Thresholds
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


class OffPolicyReport(NamedTuple):
    """Everything that is known of one target policy from one log."""

    rows: int
    """Decisions."""
    units: int | None
    """Independent units, when a unit column was given."""
    mean_weight: float
    """1 within noise when the log is sound."""
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
    estimators: dict[str, EstimatorReport]
    """By name, one for each of `ESTIMATORS`."""
    verdict: verdict.Verdict
    """Whether any of this may be believed."""
    settings: Settings
    """What was assumed."""


def default_thresholds(n: int) -> Thresholds:
    """Weights beyond sqrt(n) are distrusted: clip and tau sqrt(n) (Ionides 2008), lambda n (half weight at sqrt(n))."""
    return Thresholds(sqrt(n), sqrt(n), float(n))


def evaluate_rows(
    propensity: ArrayLike,
    target_probability: ArrayLike,
    reward: ArrayLike,
    *,
    q: ArrayLike | None = None,
    v: ArrayLike | None = None,
    unit: IntArray | None = None,
    max_weight: float | None = None,
    reward_range: tuple[float, float] | None = None,
    switch_tau: float | None = None,
    shrinkage_lambda: float | None = None,
    clip: float | None = None,
    alpha: float = 0.05,
    unsupported_mass: float | None = None,
) -> OffPolicyReport:
    """Report from columns of one value per row, in time order (the confidence sequences depend on the order).

    `unit` holds codes 0..units-1 and clusters the standard errors. Raises `DataError` for propensities outside (0, 1],
    target probabilities outside [0, 1], rewards outside the declared range, NaN anywhere, a weight above `max_weight`.
    """
    p = propensities("propensity", propensity)
    e = probabilities("target probability", target_probability)
    r = vector("reward", reward)
    same_length(propensity=p, target_probability=e, reward=r, unit=unit)
    model = _checked_model(q, v, len(p))
    settings = _settings(r, alpha, max_weight, reward_range, (clip, switch_tau, shrinkage_lambda))
    w = e / p
    _refuse_heavier(w, max_weight)
    total = sums.policy_sums(w, r, *model, settings.thresholds)
    units = None if unit is None else sums.unit_moments(w, r, *model, settings.thresholds, unit)
    found = Found(total, units, settings, model[0] is not None, unsupported_mass)
    return _assemble(found, row_intervals(w, r, settings, clustered=unit is not None, total=total))


def report_from_sums(
    total: PolicySums,
    settings: Settings,
    *,
    with_model: bool,
    units: sums.Moments | None = None,
    sequence: sequences.SequenceState | None = None,
    unsupported_mass: float | None = None,
) -> OffPolicyReport:
    """The same report from mergeable sums alone; what needs rows (likelihood, betting) says so.

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
    return _assemble(Found(total, units, settings, with_model, unsupported_mass), given)


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
            "left out beyond a million rows, where it takes minutes: confidence_sequence holds under the same terms"
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


def _checked_model(q: ArrayLike | None, v: ArrayLike | None, n: int) -> tuple[FloatArray | None, FloatArray | None]:
    if q is None and v is None:
        return None, None
    if q is None or v is None:
        raise DataError("only one of q and v is given", fix="give both columns of the reward model, or neither")
    predicted, averaged = vector("q", q), vector("v", v)
    if len(predicted) != n or len(averaged) != n:
        raise DataError("q or v has another length than the rewards", fix="pass one value of each column per row")
    return predicted, averaged


def _settings(
    r: FloatArray,
    alpha: float,
    max_weight: float | None,
    reward_range: tuple[float, float] | None,
    chosen: tuple[float | None, float | None, float | None],
) -> Settings:
    if reward_range is None:
        bounds = (min(0.0, float(r.min())), max(1.0, float(r.max())))
    else:
        bounds = value_range(*reward_range)
        rewards("reward", r, *bounds)
    if max_weight is not None and not (isfinite(max_weight) and max_weight >= 1):
        raise DataError(
            f"the declared largest weight is {max_weight:g}", fix="true weights average 1; declare 1 or more"
        )
    defaults = default_thresholds(len(r))
    picked = [given if given is not None else default for given, default in zip(chosen, defaults, strict=True)]
    for name, value in zip(("clip", "switch tau", "shrinkage lambda"), picked, strict=True):
        if not value >= 0:
            raise DataError(f"{name} is {value}", fix="give a number that is 0 or larger")
    return Settings(alpha, max_weight, bounds, reward_range is not None, Thresholds(*picked))


def _refuse_heavier(w: FloatArray, max_weight: float | None) -> None:
    if max_weight is not None:
        # A bound computed elsewhere may differ from the row that attains it in the last digits.
        fix = f"the declared largest possible weight is {max_weight:g}; declare the largest that any row could have"
        refuse_first(w > max_weight * (1 + 1e-9), w, "the importance weight is {value}", fix)


def _assemble(found: Found, weighted: dict[str, Interval]) -> OffPolicyReport:
    row_moments = found.total.moments
    basis = row_moments if found.units is None else found.units
    estimates = sums.finish(basis, with_model=found.with_model)
    by_name = {name: estimator(name, estimates, found, weighted) for name in ESTIMATORS}
    n = row_moments.n
    weights = intervals.weight_sums_of(row_moments)
    effective = weights.w**2 / weights.ww if weights.ww > 0 else 0.0
    mean_weight = estimates["mean_weight"]
    diagnostics = verdict.Diagnostics(
        n,
        mean_weight.value,
        mean_weight.std_error,
        effective,
        found.total.max_weight,
        found.unsupported,
        _disagreement(estimates),
        intervals.effective_rewards(weights, found.settings.reward_range),
        found.settings.max_weight,
    )
    judged = verdict.judge(diagnostics)
    by_name = {name: with_asymptotic(by_name[name], diagnostics, found.settings.alpha) for name in ESTIMATORS}
    return OffPolicyReport(
        n,
        None if found.units is None else found.units.n,
        mean_weight.value,
        effective,
        found.total.max_weight,
        verdict.weight_z(diagnostics),
        estimates["logged"].value,
        _lift(estimates, found),
        by_name,
        judged,
        found.settings,
    )


def _disagreement(estimates: dict[str, LinearEstimate]) -> float | None:
    gap = estimates.get("dr_minus_snips")
    if gap is None or gap.std_error <= 0:
        return None
    return abs(gap.value) / gap.std_error


def _lift(estimates: dict[str, LinearEstimate], found: Found) -> EstimatorReport:
    estimate = estimates["dr_lift" if found.with_model else "lift"]
    note = "target minus the policies that ran, paired on the same rows"
    one_unit = observations(found) < intervals.MIN_UNITS
    interval = (
        missing("there is only one independent unit")
        if one_unit
        else intervals.normal(estimate.value, estimate.std_error, found.settings.alpha)
    )
    return EstimatorReport(estimate.value, None if one_unit else estimate.std_error, {"normal": interval}, note)
