"""Computes results: each arm compared with the control on each metric, valid at any look, and what the rule says.

The worker computes them from sums and stores them; they are served with their age. Every comparison estimates the
difference of two *ways of deciding* (a learning arm with all that it learned on the way, not its last model), per decision
or per unit of the units that were assigned to them. Never compare actions within an arm: they were not assigned to units
at random, and means over them are biased.
"""

import time
from datetime import datetime
from typing import NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.store import feedback_schemas
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.isolation import each
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian import guardrails
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.comparison import assumptions, decision_rule, rule_changes, sample_ratio
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.computation import Computation
from app.reporting.comparison.daily import daily_effects
from app.reporting.comparison.metric_results import metric_results
from app.reporting.documents.results import (
    ComparisonLine,
    HeldOut,
    Results,
    ResultsWindow,
    StoredResults,
)
from app.reporting.store import excluded_units, reports, results, unit_sums

KIND = "results"
KINDS: dict[HeldOut, str] = {"with": KIND, "without": f"{KIND}/without"}  # each has looks of its own
METHODS = ("sequential", "fixed", "bayes")
SMALL = 200_000  # decisions that can be summed while somebody waits
LONG = 20_000  # decisions from which on sums are kept from report to report
DAILY_EVERY_S = 3600.0
MOST_LOOKS = 200  # in a chart over time
_LINES = TypeAdapter(list[ComparisonLine])


class Look(NamedTuple):
    """The comparisons of the first primary metric in one report."""

    computed_at: datetime
    metric: str  # key
    name: str
    comparisons: list[ComparisonLine]


class Report(NamedTuple):
    """Stored results, with their age."""

    results: StoredResults
    computed_at: datetime
    seconds: float  # that the computation took

    @property
    def age_s(self) -> float:
        return time.time() - self.computed_at.timestamp()


def get(
    engine: Engine,
    key: str,
    *,
    method: str = "sequential",
    segment: str | None = None,
    max_age_s: float | None = None,
    held_out: HeldOut = "with",
) -> Results:
    """The newest results, with their age; computed now when there are none yet.

    :param max_age_s: compute results now when the stored ones are older. Only on logs of up to ``SMALL`` decisions;
        the worker alone computes longer logs.
    :param held_out: whether decisions count that are held out of rounds for suspects.
    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    report = _newest(engine, key, method, segment, held_out)
    if report is None or _too_old(report, max_age_s):
        compute(engine, key, segment, held_out)
        report = _newest(engine, key, method, segment, held_out)
        assert report is not None
    return served(report, method)


def newest(engine: Engine, key: str, *, method: str = "sequential", segment: str | None = None) -> Results | None:
    """The newest results that the worker computed, with their age; null when it computed none yet. Computes nothing.

    :raises NotFound: no such experiment.
    :raises Unprocessable: unknown method, or a segment that was not declared.
    """
    report = _newest(engine, key, method, segment)
    return None if report is None else served(report, method)


def _newest(engine: Engine, key: str, method: str, segment: str | None, held_out: HeldOut = "with") -> Report | None:
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check(experiment, method, segment)
        return last(connection, experiment.id, segment, KINDS[held_out])


def last(connection: Connection, experiment_id: int, segment: str | None, kind: str = KIND) -> Report | None:
    """The newest stored results, or those of another kind with their shape."""
    newest = reports.newest(connection, experiment_id, kind, segment)
    if newest is None:
        return None
    return Report(StoredResults.model_validate(newest.body), newest.computed_at, newest.seconds)


def served(report: Report, method: str) -> Results:
    """Stored results as they are answered."""
    for metric in report.results.metrics:
        for line in metric.comparisons:
            line.headline = lines.headline(line, method)
    return Results(
        **report.results.given(),
        method=method,
        computed_at=iso(report.computed_at),
        age_s=round(report.age_s, 1),
        seconds=report.seconds,
    )


def small(connection: Connection, experiment_id: int) -> bool:
    """Whether the log is so short that somebody may wait for its results."""
    return results.settled(connection, experiment_id) <= SMALL


def _too_old(report: Report, max_age_s: float | None) -> bool:
    return max_age_s is not None and report.age_s > max_age_s and report.results.window.decisions <= SMALL


def compute(engine: Engine, key: str, segment: str | None = None, held_out: HeldOut = "with") -> None:
    """Compute and store the results of an experiment.

    :param segment: a declared context field to split by.
    :param held_out: whether decisions count that are held out of rounds for suspects.
    """
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        check_segment(experiment, segment)
        before = last(connection, experiment.id, segment, KINDS[held_out])
        apart = results.held_for_suspects(connection, experiment.id)
        if held_out == "without":
            results.leave_out_held(connection)
        long = before is not None and before.results.window.decisions >= LONG
        keep = long and segment is None and held_out == "with"
        computed = _compute(connection, experiment, segment, before.results if before else None, keep=keep)
        computed = computed.model_copy(update={"held_out": held_out, "held_out_decisions": apart})
        reports.thin(connection, experiment.id, KINDS[held_out], segment)
        seconds = time.monotonic() - began
        reports.add(connection, experiment.id, KINDS[held_out], segment, computed.as_json(), seconds)
        if computed.decision is not None and held_out == "with":
            summary = lines.summary(computed, computed.decision)
            latest.put(connection, experiment.id, KIND, summary.as_json(), None, seconds)
    if (
        computed.decision is not None and held_out == "with"
    ):  # in a transaction of its own: it takes the lock of all changes
        believable = not computed.sample_ratio.alert
        guardrails.settle(engine, key, decision_rule.crossings(computed), believable=believable)


def compute_stale(engine: Engine, every_s: float) -> list[str]:
    """Compute the results that are due, also split by every declared segment field; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = reports.stale_experiments(connection, every_s)
    return each(engine, KIND, keys, lambda key: _compute_all(engine, key))


def _compute_all(engine: Engine, key: str) -> None:
    with transaction(engine) as connection:
        config = ExperimentConfig.model_validate(stored_experiment(connection, key).config)
    for segment in (None, *config.segments):
        compute(engine, key, segment)


def history(engine: Engine, key: str, most: int = MOST_LOOKS) -> list[Look]:
    """Earlier looks at the first primary metric, oldest first: at most ``most``, spread over the whole time."""
    with transaction(engine) as connection:
        looks = reports.looks(connection, stored_experiment(connection, key).id, KIND, most)
    return [Look(look.computed_at, look.metric, look.name, _LINES.validate_python(look.comparisons)) for look in looks]


def check(experiment: StoredExperiment, method: str, segment: str | None) -> None:
    """Refuse a method that does not exist, or a segment that was not declared."""
    if method not in METHODS:
        raise invalid((FieldError("/method", "not_a_choice", {"expected": [*METHODS]}),))
    check_segment(experiment, segment)


def check_segment(experiment: StoredExperiment, segment: str | None) -> None:
    declared = ExperimentConfig.model_validate(experiment.config).segments
    if segment is not None and segment not in declared:
        if not declared:
            raise invalid((FieldError("/segment", "no_segments", {"segment": segment}),))
        raise invalid((FieldError("/segment", "unknown_segment", {"segment": segment, "known": declared}),))


def _compute(
    connection: Connection,
    experiment: StoredExperiment,
    segment: str | None,
    before: StoredResults | None,
    *,
    keep: bool,
) -> StoredResults:
    config = ExperimentConfig.model_validate(experiment.config)
    results.give_memory(connection)
    computation = prepared(connection, experiment, config, segment, keep=keep)
    seen, until, stretches = computation.seen, computation.until, computation.stretches
    ratio = sample_ratio.check(connection, experiment, config, seen, until)
    metrics = [metric_results(computation, metric) for metric in config.all_metrics()]
    for metric in metrics:
        lines.remember(metric, before)
    lines.adjust_all(metrics)
    computed = StoredResults(
        experiment=experiment.key,
        segment=segment,
        control=config.control.key,
        window=ResultsWindow(
            decisions=seen.window.decisions,
            settled=seen.window.decisions + (results.settled(connection, experiment.id, until) if until else 0),
            units=sum(ratio.observed.values()),  # a unit that changed arms counts once
            first=_plain(seen.window.first),
            last=_plain(seen.window.last),
            complete_until=_plain(until),
        ),
        units=seen.units,
        feedback_version=computation.feedback_version,
        sample_ratio=ratio,
        metrics=metrics,
        assumptions=assumptions.of(config),
        stretches=shares.described(connection, experiment.id, stretches),
        moved_units=shares.moved(connection) if len(stretches) > 1 else None,
        excluded_units=excluded_units.count(connection, experiment.id),
    )
    if segment is not None:
        return computed
    days = (computation.as_of - (experiment.started_at or computation.as_of)).total_seconds() / 86_400
    decided = {
        "decision": decision_rule.judge(config, computed, days, rule_changes.find(connection, experiment, before))
    }
    return computed.model_copy(update=decided | _daily(computation, computed, before))


def _daily(computation: Computation, computed: StoredResults, before: StoredResults | None) -> dict[str, object]:
    """The effect of each day; of a long log at most once an hour, because it takes as long as all the rest."""
    now = computation.as_of
    if before is not None and before.daily_at is not None and computed.window.decisions > SMALL:
        kept = datetime.fromisoformat(before.daily_at)
        if (now - kept).total_seconds() < DAILY_EVERY_S:
            return {"daily": before.daily, "daily_at": before.daily_at}
    metrics = computation.config.all_metrics()
    deciding = next(metric for metric in metrics if metric.key == computed.primary()[0].metric)
    return {"daily": daily_effects(computation, deciding), "daily_at": now.isoformat()}


def prepared(
    connection: Connection, experiment: StoredExperiment, config: ExperimentConfig, segment: str | None, *, keep: bool
) -> Computation:
    """What all metrics share: who counts, until when, and in which stretches of constant shares.

    :param keep: read only what is new of the rewards, and keep their sums for the next report.
    """
    most = config.decision_rule.max_decisions_per_day
    excluded_units.apply_rule(connection, experiment.id, most, f"more than {most} decisions on a day")
    until, as_of = results.horizon(connection, experiment.id), results.clock(connection)
    stretches = shares.of_experiment(connection, experiment)
    if len(stretches) > 1:
        shares.prepare(connection, experiment, stretches)
    counted = unit_sums.refresh(connection, experiment.id, until) if keep else None
    seen = results.overview(connection, experiment.id, until, counted)
    schema = feedback_schemas.applied_version(connection, experiment.id)
    return Computation(connection, experiment.id, config, segment, until, as_of, seen, stretches, schema, counted)


def _plain(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
