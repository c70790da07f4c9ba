"""Results of an experiment: each arm against the control on each metric, valid at any look, and what the rule says.

Computed by the worker from sums, kept, and served with their age. The estimand of every comparison is the difference of
two *ways of deciding* (a learning arm with all that it learned on the way, not its last model), per decision or per unit
of the units that were assigned to them. It must never compare actions within an arm: those were not assigned at random
to units, and means over them are biased.
"""

import time
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec, RewardSource
from app.design.store import feedback_schemas
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import result_lines as lines
from app.reporting import sample_ratio
from app.reporting.decision_rule import judge
from app.reporting.store import reports, results
from app.reporting.store.reports import Look, StoredReport
from app.reporting.store.results import Overview

KIND = "results"
METHODS = ("sequential", "fixed", "bayes")
SMALL = 200_000  # decisions that can be summed while somebody waits
MOST_LOOKS = 200  # in a chart over time
ASSUMPTIONS = (
    "Units were assigned to arms at random by a keyed hash; units, not decisions, are the independent observations.",
    "A unit's outcome does not depend on the arms of other units. A learning arm breaks this in a small way: its units "
    "share a model. The comparison is of the whole way of deciding, learning included.",
    "Only decisions whose reward window closed count; a decision without a reward in time has the declared default.",
    "The always-valid interval and p-value hold at every look together (asymptotically, from "
    f"{lines.MIN_UNITS_SEQUENTIAL} units per arm); the fixed interval and p-value hold for one look chosen beforehand.",
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
    report = _newest(engine, key, method, segment)
    if report is None or _too_old(report, max_age_s):
        compute(engine, key, segment)
        report = _newest(engine, key, method, segment)
        assert report is not None
    return _served(report, method)


def newest(
    engine: Engine, key: str, *, method: str = "sequential", segment: str | None = None
) -> dict[str, Any] | None:
    """The newest results that the worker computed, with their age; null when it computed none yet. Computes nothing.

    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    report = _newest(engine, key, method, segment)
    return None if report is None else _served(report, method)


def _newest(engine: Engine, key: str, method: str, segment: str | None) -> StoredReport | None:
    if method not in METHODS:
        raise invalid((FieldError("/method", "not_a_choice", {"expected": [*METHODS]}),))
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check_segment(experiment, segment)
        found = reports.newest(connection, experiment.id, KIND, segment)
    return found[0] if found else None


def _served(report: StoredReport, method: str) -> dict[str, Any]:
    body = report.body | {
        "method": method,
        "computed_at": iso(report.computed_at),
        "age_s": round(time.time() - report.computed_at.timestamp(), 1),
        "seconds": report.seconds,
    }
    for metric in body["metrics"]:
        for line in metric["comparisons"]:
            line["headline"] = lines.headline(line, method)
    return body


def _too_old(report: StoredReport, max_age_s: float | None) -> bool:
    age_s = time.time() - report.computed_at.timestamp()
    return max_age_s is not None and age_s > max_age_s and report.body["window"]["decisions"] <= SMALL


def compute(engine: Engine, key: str, segment: str | None = None) -> None:
    """Compute and keep the results of an experiment (split by a declared context field)."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check_segment(experiment, segment)
        before = reports.newest(connection, experiment.id, KIND, segment)
        body = _body(connection, experiment, segment, before[0].body if before else None)
        reports.thin(connection, experiment.id, KIND, segment)
        seconds = time.monotonic() - began
        reports.add(connection, experiment.id, KIND, segment, body, seconds)
        if segment is None:
            latest.put(connection, experiment.id, KIND, _summary(body), None, seconds)


def compute_stale(engine: Engine, every_s: float) -> list[str]:
    """Compute what is due, with every declared segment; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = reports.stale_experiments(connection, every_s)
    for key in keys:
        with transaction(engine) as connection:
            config = ExperimentConfig.model_validate(stored_experiment(connection, key).config)
        for segment in (None, *config.segments):
            compute(engine, key, segment)
    return keys


def history(engine: Engine, key: str, most: int = MOST_LOOKS) -> list[Look]:
    """Earlier looks at the first primary metric, oldest first; of many, so many spread over all of the time."""
    with transaction(engine) as connection:
        return reports.looks(connection, stored_experiment(connection, key).id, KIND, most)


def check_segment(experiment: StoredExperiment, segment: str | None) -> None:
    declared = experiment.config.get("segments", [])
    if segment is not None and segment not in declared:
        params = {"segment": segment, "known": declared}
        raise invalid((FieldError("/segment", "unknown_segment", params),))


def _summary(body: dict[str, Any]) -> dict[str, Any]:
    """What the list of experiments shows: the primary metric's best arm against control, and what is wrong."""
    primary = next(metric for metric in body["metrics"] if metric["role"] == "primary")
    upwards = 1 if primary["direction"] == "increase" else -1
    known = [line for line in primary["comparisons"] if line["difference"] is not None]
    best = max(known, key=lambda line: upwards * line["difference"], default=None)
    return {
        "metric": primary["name"],
        "direction": primary["direction"],
        "arm": best and best["arm"],
        "lift": best and best["relative_lift"],
        "lift_interval": best and best["always_valid"]["relative_interval"],
        "verdict": body["decision"]["verdict"],
        "ship": body["decision"]["arm"],
        "crossed": body["decision"]["crossed"],
        "sample_ratio": body["sample_ratio"]["text"] if body["sample_ratio"]["alert"] else None,
        "units": sum(body["units"].values()),
    }


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
    schema = feedback_schemas.applied_version(connection, experiment.id)
    metrics = [
        _metric(connection, experiment, config, metric, segment, until, seen, schema, before)
        for metric in config.all_metrics()
    ]
    lines.adjust_all(metrics, config)
    times = {
        name: None if moment is None else moment.isoformat()
        for name, moment in (("first", data.first), ("last", data.last), ("complete_until", until))
    }
    body = {
        "experiment": experiment.key,
        "segment": segment,
        "control": lines.control_of(config),
        "window": {"decisions": data.decisions, "settled": settled, "units": data.units, **times},
        "units": seen.units,
        "feedback_version": schema,
        "sample_ratio": ratio,
        "metrics": metrics,
        "assumptions": list(ASSUMPTIONS),
    }
    if segment is None:
        body["decision"] = judge(config, body, experiment.started_at)
    return body


def _metric(
    connection: Connection,
    experiment: StoredExperiment,
    config: ExperimentConfig,
    metric: MetricSpec,
    segment: str | None,
    until: datetime | None,
    seen: Overview,
    schema: int,
    before: dict[str, Any] | None,
) -> dict[str, Any]:
    units, values = lines.units_of(metric)
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
        "feedback_version": schema if isinstance(metric.source, RewardSource) else feedback_schemas.NO_SCHEMA,
    }
    groups = lines.groups(sums)
    compared: list[dict[str, Any]] = []
    for name, arms in groups.items():
        compared += lines.comparisons(config, metric, arms, None if segment is None else name)
    if segment is not None:
        compared += lines.stratified(config, metric, groups)
    for line in compared:
        line["running_p"], line["running_sign"] = lines.running(line, described, before)
    described["arms"] = [
        {"arm": row.arm, "segment": row.segment, "units": row.units, "decisions": row.decisions, **lines.estimate(row)}
        for row in sums
        if row.segment in groups
    ]
    return described | {"comparisons": compared}
