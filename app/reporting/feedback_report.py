"""What people say, compared with what they do: counts, answer rates, agreement and response bias, by arm and segment.

The worker computes the report and stores the newest (``latest``); pages and the API serve it with its age. Every figure
describes the newest settled decisions of units that may be analysed. ``experiments.logs.feedback_agreement`` defines each figure.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, NamedTuple

import numpy as np
from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.store import feedback_schemas
from app.foundation.formats.intervals import IntervalDocument
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.examples import Configs
from app.registry.lookup import stored_experiment
from app.registry.newest import age_of, or_computed
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.feedback import (
    AgreementDocument,
    AnswerRateDocument,
    FeedbackGroup,
    FeedbackKind,
    FeedbackReport,
    FeedbackWindow,
    ResponseBiasDocument,
    SchemaInForce,
    StoredFeedback,
)
from app.reporting.store import feedback_report as store
from app.reporting.store.feedback_report import Comment, Count, Said, Settled
from bandits.feedback import Answer, explicit_worth
from bandits.rewards import RewardEvent, join
from experiments.logs.feedback_agreement import MIN_UNITS, answer_rate, rank_agreement, response_bias
from experiments.results import Interval, missing

KIND = "feedback"
FACTOR = 50.0  # computing takes at most 1 / FACTOR of a worker's time
NEWEST = 50_000  # decisions that the report reads
MOST_SEGMENTS = 12  # values of one field, the most frequent first
COMMENTS = 20
SCANNED = 2_000  # newest answers that are searched for comments
SEED = 20_260_101  # of the bootstrap: the same log gives the same figures
ASSUMPTIONS = (
    f"Agreement, rates and bias are those of the newest {NEWEST:,} decisions, as far as they are settled: the reward window "
    "is over. Counts are of all answers.",
    "The implicit reward of a decision is what its reported rewards in time come to, without any answer; the default when "
    "none was reported. The explicit worth is the mean worth of its answers in time under the feedback schema in force, "
    "before the schema's confidence.",
    "Agreement is Spearman's rank correlation over decisions that have both; its interval draws whole units 500 times.",
    "Response bias is the mean implicit reward of answered decisions minus that of the others. Answering was not assigned "
    "at random: the difference describes who answers, or what answering goes with, and not what an answer causes.",
    "All intervals are for one look, at 95%, with units as the independent observations; a cell with fewer than "
    f"{MIN_UNITS} units has none. With many segments some intervals miss their value by chance.",
    "Units that do not agree to being analysed are in none of this.",
)


class _Row(NamedTuple):
    """One settled decision with its implicit and explicit reward."""

    arm: str
    unit: int
    segments: list[str]
    answered: bool
    implicit: float
    explicit: float | None  # null: no answer in time has a worth


def get(engine: Engine, key: str) -> FeedbackReport:
    """The newest report with its age. Without a report, computes one now if the log is small.

    :returns: a report without figures (``computed_at`` null) while the worker has not computed a long log yet.
    :raises NotFound: no such experiment.
    """
    return or_computed(engine, key, lambda: stored(engine, key), lambda: compute(engine, key), store.is_small)


def stored(engine: Engine, key: str) -> FeedbackReport:
    """The newest stored report and the feedback schema in force now. Computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        newest = latest.get(connection, experiment.id, KIND)
        in_force = _in_force(connection, experiment)
    report = _NOTHING if newest is None else StoredFeedback.model_validate(newest.body)
    return FeedbackReport(**report.given(), experiment=key, in_force=in_force, **age_of(newest))


def comments(engine: Engine, key: str) -> list[Comment]:
    """The newest comments.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        return store.comments(connection, experiment.id, most=COMMENTS, scanned=SCANNED)


def compute_due(engine: Engine, every_s: float) -> list[str]:
    """Compute the reports that are due, for experiments that have answers; returns their keys."""
    return each_due(engine, KIND, lambda key: compute(engine, key), every_s=every_s, factor=FACTOR)


def compute(engine: Engine, key: str) -> bool:
    """Compute and store the report of one experiment; returns False, and stores nothing, when nobody answered."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        if not store.any_answers(connection, experiment.id):
            return False
        report = _report(connection, experiment)
        summary = {"answers": report.answers}
        latest.put(connection, experiment.id, KIND, summary, report.as_json(), time.monotonic() - began)
    return True


def _in_force(connection: Connection, experiment: StoredExperiment) -> SchemaInForce:
    applied = feedback_schemas.newest_schema(connection, experiment.id, applied=True)
    newest = feedback_schemas.newest_schema(connection, experiment.id)
    waits = newest is not None and newest.applied_at is None
    return SchemaInForce(
        version=applied.version if applied else None,
        worth=applied.schema if applied else None,
        applied_at=iso(applied.applied_at) if applied and applied.applied_at else None,
        being_computed=newest.version if newest and waits else None,
        problem=newest.problem if newest and waits else None,
        retry_at=iso(newest.retry_at) if newest and waits and newest.retry_at else None,
    )


_NOTHING = StoredFeedback(
    answers=0,
    late=0,
    kinds=[],
    window=FeedbackWindow(decisions=0, units=0, first=None, last=None),
    groups=[],
    assumptions=list(ASSUMPTIONS),
)


def _report(connection: Connection, experiment: StoredExperiment) -> StoredFeedback:
    config = ExperimentConfig.model_validate(experiment.config)
    decisions = store.settled(connection, experiment.id, config.segments, NEWEST)
    counts = store.counts(connection, experiment.id)
    rows = _rows(connection, experiment.id, decisions)
    return StoredFeedback(
        answers=sum(count.answers for count in counts),
        late=sum(count.late for count in counts),
        kinds=[
            _kind(kind, [count for count in counts if count.kind == kind])
            for kind in dict.fromkeys(count.kind for count in counts)
        ],
        window=FeedbackWindow(
            decisions=len(rows),
            units=len({row.unit for row in rows}),
            first=decisions[0].decided_at.isoformat() if decisions else None,
            last=decisions[-1].decided_at.isoformat() if decisions else None,
        ),
        groups=_groups(rows, config),
        assumptions=list(ASSUMPTIONS),
    )


def _kind(kind: str, counts: list[Count]) -> FeedbackKind:
    return FeedbackKind(
        kind=kind,
        answers=sum(count.answers for count in counts),
        late=sum(count.late for count in counts),
        arms={count.arm: count.answers for count in counts},
    )


def _rows(connection: Connection, experiment_id: int, decisions: list[Settled]) -> list[_Row]:
    configs = Configs(connection, experiment_id)
    schema = configs.feedback(feedback_schemas.applied_version(connection, experiment_id))
    units: dict[str, int] = {}
    rows = []
    for decision in decisions:
        implicit, explicit = decision.reward, None
        if decision.said is not None:
            spec = configs.get(decision.config_version).reward
            events = [
                RewardEvent(r.value, datetime.fromisoformat(r.occurred_at), r.reward_id) for r in decision.rewards
            ]
            implicit = join(events, spec.aggregation, spec.default, spec.min, spec.max)
            explicit = _explicit(schema, decision.said)
        unit = units.setdefault(decision.unit_id, len(units))
        rows.append(_Row(decision.arm, unit, decision.segments, decision.said is not None, implicit, explicit))
    return rows


def _explicit(schema: Mapping[str, JsonValue], answers: list[Said]) -> float | None:
    timely = [
        Answer(a.kind, a.value, datetime.fromisoformat(a.occurred_at), a.feedback_id) for a in answers if not a.late
    ]
    return explicit_worth(schema, timely)


def _groups(rows: list[_Row], config: ExperimentConfig) -> list[FeedbackGroup]:
    """One group of all decisions, then one per arm, then one per frequent value of each declared segment field."""
    if not rows:
        return []
    groups = [_group("all", None, "", rows)]
    arms = [arm.key for arm in config.arms]
    for arm in sorted(
        {row.arm for row in rows}, key=lambda arm: (arm not in arms, arms.index(arm) if arm in arms else 0)
    ):
        groups.append(_group("arm", None, arm, [row for row in rows if row.arm == arm]))
    for index, name in enumerate(config.segments):
        values: dict[str, list[_Row]] = {}
        for row in rows:
            values.setdefault(row.segments[index], []).append(row)
        for value in sorted(values, key=lambda value: (-len(values[value]), value))[:MOST_SEGMENTS]:
            groups.append(_group("segment", name, value, values[value]))
    return groups


def _group(group: Literal["all", "arm", "segment"], field: str | None, name: str, rows: list[_Row]) -> FeedbackGroup:
    unit = np.array([row.unit for row in rows])
    answered = np.array([float(row.answered) for row in rows])
    rate = answer_rate(answered, unit)
    bias = response_bias(np.array([row.implicit for row in rows]), answered, unit)
    return FeedbackGroup(
        group=group,
        field=field,
        name=name,
        rate=AnswerRateDocument(
            decisions=rate.decisions,
            units=rate.units,
            answered=rate.answered,
            rate=rate.rate,
            interval=_interval(rate.interval),
        ),
        agreement=_agreement([row for row in rows if row.explicit is not None]),
        bias=ResponseBiasDocument(
            answered=bias.answered,
            silent=bias.silent,
            mean_answered=bias.mean_answered,
            mean_silent=bias.mean_silent,
            difference=bias.difference,
            interval=_interval(bias.interval),
        ),
    )


def _agreement(rows: list[_Row]) -> AgreementDocument:
    if not rows:
        no_interval = _interval(missing("no decision has both signals"))
        return AgreementDocument(decisions=0, units=0, correlation=None, interval=no_interval)
    agreement = rank_agreement(
        np.array([row.implicit for row in rows]),
        np.array([row.explicit for row in rows], dtype=np.float64),
        np.array([row.unit for row in rows]),
        seed=SEED,
    )
    return AgreementDocument(
        decisions=agreement.decisions,
        units=agreement.units,
        correlation=agreement.correlation,
        interval=_interval(agreement.interval),
    )


def _interval(interval: Interval) -> IntervalDocument:
    return IntervalDocument(low=interval.low, high=interval.high, reason=interval.reason)
