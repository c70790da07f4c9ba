"""The lines of a results table: one arm against the control on one metric, from sums over units.

Estimates, tests and intervals are those of ``experiments``; here they are put together and turned into data.
"""

from typing import Any

import numpy as np
from scipy.stats import norm

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec, RatioSource, RetentionSource, SessionsSource
from app.foundation.intervals import as_json
from app.reporting.store.results import ArmSums
from experiments import bayes
from experiments.comparison import ArmEstimate, Comparison, arm_estimate, compare, relative_lift
from experiments.cuped import post_stratified
from experiments.multiplicity import adjust
from experiments.non_inferiority import non_inferiority
from experiments.results import missing
from experiments.sequences import mixture_tau, mixture_test
from experiments.sums import Moments
from experiments.validation import DataError

MIN_UNITS_SEQUENTIAL = 100
MAX_SEGMENTS = 20


def control_of(config: ExperimentConfig) -> str:
    """The arm that the others are compared with."""
    return config.control_arm or config.arms[0].key


def units_of(metric: MetricSpec) -> tuple[str, dict[str, Any]]:
    """Which sums a metric needs, and their parameters."""
    source = metric.source
    if isinstance(source, RetentionSource):
        return "retention", {"after_s": source.days * 86_400}
    if isinstance(source, SessionsSource):
        return "sessions", {"gap_s": source.gap_s}
    if isinstance(source, RatioSource):
        reported = {"numerator": source.numerator, "denominator": source.denominator}
        return "ratio", reported | {"window_s": metric.window_s}
    if source.type == "reward":
        return "reward", {}
    reported = {"numerator": source.metric, "denominator": source.metric, "window_s": metric.window_s}  # type: ignore[dict-item]
    return f"{source.type}/{source.per}", reported


def groups(sums: list[ArmSums]) -> dict[str | None, dict[str, ArmSums]]:
    """Sums by segment (the largest ones) and arm."""
    sizes: dict[str | None, int] = {}
    for row in sums:
        sizes[row.segment] = sizes.get(row.segment, 0) + row.units
    kept = sorted(sizes, key=lambda name: -sizes[name])[:MAX_SEGMENTS]
    return {name: {row.arm: row for row in sums if row.segment == name} for name in kept}


def moments(row: ArmSums) -> Moments:
    """The sums of one arm as ``experiments`` takes them: numerator and denominator per unit."""
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    return Moments(row.units, np.array([row.mean_num, row.mean_den]), second)


def estimate(row: ArmSums) -> dict[str, Any]:
    """An arm's value with its standard error."""
    if row.mean_den <= 0:
        return {"value": None, "std_error": None, "reason": "the denominator sums to 0"}
    found = arm_estimate(moments(row))
    return {"value": found.value, "std_error": float(np.sqrt(found.variance)) if row.units > 1 else None}


def comparisons(
    config: ExperimentConfig, metric: MetricSpec, arms: dict[str, ArmSums], segment: str | None
) -> list[dict[str, Any]]:
    """Every other arm against the control, in one segment or over all."""
    control = control_of(config)
    chances = _chances(arms, metric)
    lines = []
    for arm in config.arms:
        if arm.key == control:
            continue
        line: dict[str, Any] = {"arm": arm.key, "control": control, "segment": segment}
        reason = _why_not(arms, control, arm.key)
        if reason:
            lines.append(line | _empty(reason))
            continue
        found = compare(moments(arms[control]), moments(arms[arm.key]), alpha=config.decision_rule.alpha)
        units = (arms[control].units, arms[arm.key].units)
        lines.append(line | _line(found, metric, config, units) | {"chance_to_win": chances.get(arm.key)})
    return lines


def _why_not(arms: dict[str, ArmSums], control: str, arm: str) -> str:
    for name in (control, arm):
        if name not in arms or arms[name].units < 2:
            return f"arm {name!r} has fewer than two units with settled decisions; wait for more"
        if arms[name].mean_den <= 0:
            return f"the denominator sums to 0 in arm {name!r}"
    return ""


def _empty(reason: str) -> dict[str, Any]:
    names = ("difference", "std_error", "p_value", "relative_lift", "chance_to_win", "non_inferiority")
    gone = as_json(missing(reason))
    nothing = dict.fromkeys(names)
    return nothing | {"interval": gone, "relative_interval": gone, "always_valid": _no_sequence(gone)}


def _line(found: Comparison, metric: MetricSpec, config: ExperimentConfig, units: tuple[int, int]) -> dict[str, Any]:
    alpha = config.decision_rule.alpha
    return {
        "difference": found.difference,
        "std_error": found.std_error,
        "p_value": found.p_value,
        "interval": as_json(found.interval),
        "relative_lift": found.relative_lift,
        "relative_interval": as_json(found.relative_interval),
        "always_valid": _always_valid(found, units, alpha),
        "non_inferiority": _non_inferiority(found, metric, alpha),
        "test": found.method,
    }


def _no_sequence(why: dict[str, Any]) -> dict[str, Any]:
    return {"p_value": None, "interval": why, "relative_interval": why}


def _always_valid(found: Comparison, units: tuple[int, int], alpha: float) -> dict[str, Any]:
    if found.std_error is None:
        return _no_sequence(as_json(found.interval))
    if min(units) < MIN_UNITS_SEQUENTIAL:
        reason = f"opens at {MIN_UNITS_SEQUENTIAL} units per arm, now {min(units)}"
        return _no_sequence(as_json(missing(reason)))
    tau = mixture_tau(found.std_error, sum(units), alpha=alpha)
    tested = mixture_test(found.difference, found.std_error, tau, alpha)
    # In standard errors the sequence is equally wide for every contrast at the same units, the relative lift's too: it
    # is the one-look interval at the level of that width.
    errors = (tested.interval.high - found.difference) / found.std_error  # type: ignore[operator]
    _, relative = relative_lift(found.control, found.treatment, alpha=2 * float(norm.sf(errors)))
    return {
        "p_value": tested.p_value,
        "interval": as_json(tested.interval),
        "relative_interval": as_json(relative),
    }


def _non_inferiority(found: Comparison, metric: MetricSpec, alpha: float) -> dict[str, Any] | None:
    margin = metric.min_effect * abs(found.control.value)
    if metric.role != "guardrail" or margin <= 0 or found.std_error is None:
        return None
    better = metric.direction == "increase"
    tested = non_inferiority(found.difference, found.std_error, margin, alpha=alpha, higher_is_better=better)
    return {"margin": margin, "p_value": tested.p_value, "bound": tested.bound, "shown": bool(tested.shown)}


def _chances(arms: dict[str, ArmSums], metric: MetricSpec) -> dict[str, dict[str, float]]:
    """Chance to be the best of all arms and expected loss, with a flat prior."""
    usable = {name: _usable(row) for name, row in arms.items()}
    known = {name: found for name, found in usable.items() if found is not None}
    if len(known) < 2:
        return {}
    values = [found.value for found in known.values()]
    errors = [float(np.sqrt(found.variance)) for found in known.values()]
    standing = bayes.chances(values, errors, higher_is_better=metric.direction == "increase")
    return {
        name: {"probability": one.chance_to_win, "expected_loss": one.expected_loss}
        for name, one in zip(known, standing, strict=True)
    }


def _usable(row: ArmSums) -> ArmEstimate | None:
    if row.units < 2 or row.mean_den <= 0:
        return None
    found = arm_estimate(moments(row))
    return found if found.variance > 0 else None


def stratified(
    config: ExperimentConfig, metric: MetricSpec, groups: dict[str | None, dict[str, ArmSums]]
) -> list[dict[str, Any]]:
    """All segments together, with both arms weighted to the same shares of them."""
    control = control_of(config)
    lines = []
    for arm in (arm.key for arm in config.arms if arm.key != control):
        both = [rows for rows in groups.values() if not _why_not(rows, control, arm)]
        line: dict[str, Any] = {"arm": arm, "control": control, "segment": None}
        try:
            pairs = [moments(rows[control]) for rows in both], [moments(rows[arm]) for rows in both]
            found = post_stratified(*pairs, alpha=config.decision_rule.alpha)
        except DataError as error:
            lines.append(line | _empty(error.sentence(None)))
            continue
        units = (sum(rows[control].units for rows in both), sum(rows[arm].units for rows in both))
        lines.append(line | _line(found, metric, config, units) | {"chance_to_win": None})
    return lines


def running(
    line: dict[str, Any], metric: dict[str, Any], before: dict[str, Any] | None
) -> tuple[float | None, int | None]:
    """The sequential p-value, the smallest of all looks so far, and the difference's sign at that look.

    So it cannot disagree with an earlier verdict. A metric that was defined anew, also by another feedback schema, begins anew.
    """
    sign = None if line["difference"] is None else int(np.sign(line["difference"]))
    found = [(line["always_valid"]["p_value"], sign)]
    for old in before["metrics"] if before else []:
        same_rewards = old.get("feedback_version", 0) == metric["feedback_version"]
        if same_rewards and all(
            old.get(name) == metric[name] for name in ("metric", "source", "window_s", "winsorize")
        ):
            same = [one for one in old["comparisons"] if (one["arm"], one["segment"]) == (line["arm"], line["segment"])]
            found += [(one["running_p"], one.get("running_sign")) for one in same]
    known = [one for one in found if one[0] is not None]
    return min(known, key=lambda one: one[0], default=(None, None))


def adjust_all(metrics: list[dict[str, Any]], config: ExperimentConfig) -> None:
    """Holm over the primary metrics' lines; Benjamini-Hochberg over the exploratory ones."""
    for roles, method in ((("primary",), "holm"), (("secondary", "guardrail"), "fdr_bh")):
        lines = [line for metric in metrics if metric["role"] in roles for line in metric["comparisons"]]
        for name in ("p_value", "running_p"):
            adjusted = adjust([line[name] for line in lines], "holm" if method == "holm" else "fdr_bh")
            for line, value in zip(lines, adjusted, strict=True):
                line[f"adjusted_{name}"] = value
        for line in lines:
            line["adjustment"] = method


def headline(line: dict[str, Any], method: str) -> dict[str, Any]:
    """What leads in a line, by the method that was asked for."""
    if method == "sequential":
        return {"interval": line["always_valid"]["interval"], "p_value": line["adjusted_running_p"]}
    if method == "fixed":
        return {"interval": line["interval"], "p_value": line["adjusted_p_value"]}
    return {"chance_to_win": line["chance_to_win"]}
