"""Results of an experiment: each arm against the control on each metric, valid at any look, and what the rule says.

Computed by the worker from sums, kept, and served with their age. The estimand of every comparison is the difference of
two *ways of deciding* (a learning arm with all that it learned on the way, not its last model), per decision or per unit
of the units that were assigned to them. It must never compare actions within an arm: those were not assigned at random
to units, and means over them are biased.
"""

import time
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from app.errors import FieldError, NotFound
from app.services import sample_ratio
from app.services.decision_rule import judge
from app.services.experiment_config import ExperimentConfig, invalid
from app.services.metric_config import MetricSpec, RatioSource, RetentionSource, SessionsSource
from app.store import experiments, reports, results
from app.store.engine import transaction
from app.store.experiments import StoredExperiment
from app.store.reports import StoredReport
from app.store.results import ArmSums, Overview
from experiments import bayes
from experiments.comparison import ArmEstimate, Comparison, arm_estimate, compare
from experiments.cuped import post_stratified
from experiments.equivalence import non_inferiority
from experiments.multiplicity import adjust
from experiments.results import Interval, missing
from experiments.sequences import mixture_tau, mixture_test
from experiments.sums import Moments
from experiments.validation import DataError

KIND = "results"
METHODS = ("sequential", "fixed", "bayes")
MIN_UNITS_SEQUENTIAL = 100
MAX_SEGMENTS = 20
SMALL = 200_000  # decisions that can be summed while somebody waits
ASSUMPTIONS = (
    "Units were assigned to arms at random by a keyed hash; units, not decisions, are the independent observations.",
    "A unit's outcome does not depend on the arms of other units. A learning arm breaks this in a small way: its units "
    "share a model. The comparison is of the whole way of deciding, learning included.",
    "Only decisions whose reward window closed count; a decision without a reward in time has the declared default.",
    "The always-valid interval and p-value hold at every look together (asymptotically, from "
    f"{MIN_UNITS_SEQUENTIAL} units per arm); the fixed interval and p-value hold for one look chosen beforehand.",
)


def get(
    engine: Engine,
    key: str,
    *,
    method: str = "sequential",
    segment: str | None = None,
    max_age_s: float | None = None,
) -> dict[str, Any]:
    """The newest results, with their age; computed now when there are none yet.

    :param max_age_s: compute them now when they are older (on logs of up to ``SMALL`` decisions; others come as the
        worker computes them).
    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    if method not in METHODS:
        raise invalid((FieldError("/method", f"give one of {', '.join(METHODS)}"),))
    with transaction(engine) as connection:
        experiment = _experiment(connection, key)
        check_segment(experiment, segment)
        stored = reports.newest(connection, experiment.id, KIND, segment)
    if not stored or _too_old(stored[0], max_age_s):
        compute(engine, key, segment)
        with transaction(engine) as connection:
            stored = reports.newest(connection, experiment.id, KIND, segment)
    report = stored[0]
    body = report.body | {
        "method": method,
        "computed_at": report.computed_at.isoformat().replace("+00:00", "Z"),
        "age_s": round(time.time() - report.computed_at.timestamp(), 1),
        "seconds": report.seconds,
    }
    for metric in body["metrics"]:
        for line in metric["comparisons"]:
            line["headline"] = _headline(line, method)
    return body


def _too_old(report: StoredReport, max_age_s: float | None) -> bool:
    age_s = time.time() - report.computed_at.timestamp()
    return max_age_s is not None and age_s > max_age_s and report.body["window"]["decisions"] <= SMALL


def compute(engine: Engine, key: str, segment: str | None = None) -> None:
    """Compute and keep the results of an experiment (split by a declared context field)."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = _experiment(connection, key)
        check_segment(experiment, segment)
        before = reports.newest(connection, experiment.id, KIND, segment)
        body = _body(connection, experiment, segment, before[0].body if before else None)
        reports.thin(connection, experiment.id, KIND, segment)
        reports.add(connection, experiment.id, KIND, segment, body, time.monotonic() - began)


def compute_stale(engine: Engine, every_s: float) -> list[str]:
    """Compute what is due, with every declared segment; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = reports.stale_experiments(connection, every_s)
    for key in keys:
        with transaction(engine) as connection:
            config = ExperimentConfig.model_validate(_experiment(connection, key).config)
        for segment in (None, *config.segments):
            compute(engine, key, segment)
    return keys


def history(engine: Engine, key: str, most: int = 200) -> list[dict[str, Any]]:
    """Earlier results, oldest first: the primary comparisons over time."""
    with transaction(engine) as connection:
        stored = reports.newest(connection, _experiment(connection, key).id, KIND, None, most)
    return [
        {"computed_at": report.computed_at.isoformat(), "metrics": report.body["metrics"]}
        for report in reversed(stored)
    ]


def control_of(config: ExperimentConfig) -> str:
    """The arm that the others are compared with."""
    return config.control_arm or config.arms[0].key


def _experiment(connection: Connection, key: str) -> StoredExperiment:
    experiment = experiments.find(connection, key)
    if experiment is None:
        raise NotFound("unknown_experiment", f"There is no experiment {key!r}.")
    return experiment


def check_segment(experiment: StoredExperiment, segment: str | None) -> None:
    declared = experiment.config.get("segments", [])
    if segment is not None and segment not in declared:
        known = f"declared are {', '.join(declared)}" if declared else "the experiment declares none"
        raise invalid((FieldError("/segment", f"{segment!r} is not a segment of this experiment; {known}"),))


def _body(
    connection: Connection, experiment: StoredExperiment, segment: str | None, before: dict[str, Any] | None
) -> dict[str, Any]:
    config = ExperimentConfig.model_validate(experiment.config)
    results.give_memory(connection)
    until = results.horizon(connection, experiment.id)
    seen = results.overview(connection, experiment.id, until)
    ratio = sample_ratio.check(connection, experiment, config, seen, until)
    settled = seen.window.decisions if until is None else results.settled(connection, experiment.id)
    data = seen.window._replace(units=sum(ratio["observed"].values()))  # who changed arms counts once
    metrics = [
        _metric(connection, experiment, config, metric, segment, until, seen, before) for metric in config.all_metrics()
    ]
    _adjust(metrics, config)
    times = {
        name: None if moment is None else moment.isoformat()
        for name, moment in (("first", data.first), ("last", data.last), ("complete_until", until))
    }
    body = {
        "experiment": experiment.key,
        "segment": segment,
        "control": control_of(config),
        "window": {"decisions": data.decisions, "settled": settled, "units": data.units, **times},
        "units": seen.units,
        "sample_ratio": ratio,
        "metrics": metrics,
        "assumptions": list(ASSUMPTIONS),
    }
    if segment is None:
        body["decision"] = judge(config, body, experiment.started_at)
    return body


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


def _metric(
    connection: Connection,
    experiment: StoredExperiment,
    config: ExperimentConfig,
    metric: MetricSpec,
    segment: str | None,
    until: datetime | None,
    seen: Overview,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    units, values = units_of(metric)
    if units == "reward" and segment is None and metric.winsorize is None:
        sums = seen.reward
    else:
        sums = results.arm_sums(
            connection, experiment.id, units, values, segment=segment, winsorize=metric.winsorize, until=until
        )
    described: dict[str, Any] = {
        "metric": metric.key,
        "name": metric.name or metric.key,
        "role": metric.role,
        "direction": metric.direction,
        "min_effect": metric.min_effect,
        "window_s": metric.window_s,
        "winsorize": metric.winsorize,
        "source": metric.source.model_dump(mode="json"),
    }
    groups = _groups(sums)
    lines = []
    for name, arms in groups.items():
        lines += _comparisons(config, metric, arms, None if segment is None else name)
    if segment is not None:
        lines += _stratified(config, metric, groups)
    for line in lines:
        line["running_p"], line["running_sign"] = _running(line, described, before)
    described["arms"] = [
        {"arm": row.arm, "segment": row.segment, "units": row.units, "decisions": row.decisions, **_estimate(row)}
        for row in sums
        if row.segment in groups
    ]
    return described | {"comparisons": lines}


def _groups(sums: list[ArmSums]) -> dict[str | None, dict[str, ArmSums]]:
    """Sums by segment (the largest ones) and arm."""
    sizes: dict[str | None, int] = {}
    for row in sums:
        sizes[row.segment] = sizes.get(row.segment, 0) + row.units
    kept = sorted(sizes, key=lambda name: -sizes[name])[:MAX_SEGMENTS]
    return {name: {row.arm: row for row in sums if row.segment == name} for name in kept}


def _moments(row: ArmSums) -> Moments:
    second = np.array([[row.var_num, row.cov], [row.cov, row.var_den]]) * row.units
    return Moments(row.units, np.array([row.mean_num, row.mean_den]), second)


def _estimate(row: ArmSums) -> dict[str, Any]:
    if row.mean_den <= 0:
        return {"value": None, "std_error": None, "reason": "the denominator sums to 0"}
    found = arm_estimate(_moments(row))
    return {"value": found.value, "std_error": float(np.sqrt(found.variance)) if row.units > 1 else None}


def _comparisons(
    config: ExperimentConfig, metric: MetricSpec, arms: dict[str, ArmSums], segment: str | None
) -> list[dict[str, Any]]:
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
        found = compare(_moments(arms[control]), _moments(arms[arm.key]), alpha=config.decision_rule.alpha)
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
    return nothing | {"interval": gone, "relative_interval": gone, "always_valid": {"p_value": None, "interval": gone}}


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


def _always_valid(found: Comparison, units: tuple[int, int], alpha: float) -> dict[str, Any]:
    if found.std_error is None:
        return {"p_value": None, "interval": as_json(found.interval)}
    if min(units) < MIN_UNITS_SEQUENTIAL:
        reason = f"opens at {MIN_UNITS_SEQUENTIAL} units per arm, now {min(units)}"
        return {"p_value": None, "interval": as_json(missing(reason))}
    tau = mixture_tau(found.std_error, sum(units), alpha=alpha)
    tested = mixture_test(found.difference, found.std_error, tau, alpha)
    return {"p_value": tested.p_value, "interval": as_json(tested.interval)}


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
    found = arm_estimate(_moments(row))
    return found if found.variance > 0 else None


def _stratified(
    config: ExperimentConfig, metric: MetricSpec, groups: dict[str | None, dict[str, ArmSums]]
) -> list[dict[str, Any]]:
    """All segments together, with both arms weighted to the same shares of them."""
    control = control_of(config)
    lines = []
    for arm in (arm.key for arm in config.arms if arm.key != control):
        both = [rows for rows in groups.values() if not _why_not(rows, control, arm)]
        line: dict[str, Any] = {"arm": arm, "control": control, "segment": None}
        try:
            pairs = [_moments(rows[control]) for rows in both], [_moments(rows[arm]) for rows in both]
            found = post_stratified(*pairs, alpha=config.decision_rule.alpha)
        except DataError as error:
            lines.append(line | _empty(error.sentence(None)))
            continue
        units = (sum(rows[control].units for rows in both), sum(rows[arm].units for rows in both))
        lines.append(line | _line(found, metric, config, units) | {"chance_to_win": None})
    return lines


def _running(
    line: dict[str, Any], metric: dict[str, Any], before: dict[str, Any] | None
) -> tuple[float | None, int | None]:
    """The sequential p-value, the smallest of all looks so far, and the difference's sign at that look.

    So it cannot disagree with an earlier verdict. A metric that was defined anew begins anew.
    """
    sign = None if line["difference"] is None else int(np.sign(line["difference"]))
    found = [(line["always_valid"]["p_value"], sign)]
    for old in before["metrics"] if before else []:
        if all(old.get(name) == metric[name] for name in ("metric", "source", "window_s", "winsorize")):
            same = [one for one in old["comparisons"] if (one["arm"], one["segment"]) == (line["arm"], line["segment"])]
            found += [(one["running_p"], one.get("running_sign")) for one in same]
    known = [one for one in found if one[0] is not None]
    return min(known, key=lambda one: one[0], default=(None, None))


def _adjust(metrics: list[dict[str, Any]], config: ExperimentConfig) -> None:
    """Holm over the primary metrics' lines; Benjamini-Hochberg over the exploratory ones."""
    for roles, method in ((("primary",), "holm"), (("secondary", "guardrail"), "fdr_bh")):
        lines = [line for metric in metrics if metric["role"] in roles for line in metric["comparisons"]]
        for name in ("p_value", "running_p"):
            adjusted = adjust([line[name] for line in lines], "holm" if method == "holm" else "fdr_bh")
            for line, value in zip(lines, adjusted, strict=True):
                line[f"adjusted_{name}"] = value
        for line in lines:
            line["adjustment"] = method


def _headline(line: dict[str, Any], method: str) -> dict[str, Any]:
    if method == "sequential":
        return {"interval": line["always_valid"]["interval"], "p_value": line["adjusted_running_p"]}
    if method == "fixed":
        return {"interval": line["interval"], "p_value": line["adjusted_p_value"]}
    return {"chance_to_win": line["chance_to_win"]}


def as_json(interval: Interval) -> dict[str, Any]:
    """An interval as data; infinite ends become null with the reason."""
    ends = {
        name: end if end is not None and np.isfinite(end) else None
        for name, end in (("low", interval.low), ("high", interval.high))
    }
    reason = interval.reason or ("one-sided" if None in ends.values() else "")
    return ends | {"reason": reason, "note": interval.note}
