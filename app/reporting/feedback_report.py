"""What people say, held against what they do: counts, answer rates, agreement and response bias, by arm and segment.

The worker computes it and keeps the newest (``latest``); pages and the API serve that with its age. Every figure describes the
newest settled decisions of units that may be analysed; what each is, and what it is not, says ``experiments.feedback_agreement``.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.store import feedback_schemas
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.examples import Configs
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting.store import feedback_report as store
from app.reporting.store.feedback_report import Comment, Settled
from bandits.feedback import Answer, explicit_worth
from bandits.rewards import RewardEvent, join
from experiments.feedback_agreement import MIN_UNITS, answer_rate, rank_agreement, response_bias
from experiments.results import Interval

KIND = "feedback"
FACTOR = 50.0  # at most one part in so many of a worker's time
NEWEST = 50_000  # decisions that are looked at
SMALL = 5_000  # decisions that can be looked at while somebody waits
MOST_SEGMENTS = 12  # values of one field, the most frequent first
COMMENTS = 20
SCANNED = 2_000  # newest answers among which comments are looked for
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
    """One settled decision, ready to be counted."""

    arm: str
    unit: int
    segments: list[str]
    answered: bool
    implicit: float
    explicit: float | None  # null: nothing was said in time that has a worth


def get(engine: Engine, key: str) -> dict[str, Any]:
    """The newest report with its age; computed now when there is none and the log is small.

    :returns: without figures (``computed_at`` null) while the worker has not computed a long log yet.
    :raises NotFound: no such experiment.
    """
    found = stored(engine, key)
    if found["computed_at"] is None:
        with transaction(engine) as connection:
            small = store.is_small(connection, stored_experiment(connection, key).id, SMALL)
        if small:
            compute(engine, key)
            found = stored(engine, key)
    return found


def stored(engine: Engine, key: str) -> dict[str, Any]:
    """The newest report that was computed, beside the schema of this moment. Computes nothing.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        found = latest.get(connection, experiment.id, KIND)
        document = {"experiment": key, "in_force": _in_force(connection, experiment)}
    if found is None or found.body is None:
        return document | _nothing() | {"computed_at": None, "age_s": None, "seconds": None}
    return (
        document
        | found.body
        | {
            "computed_at": iso(found.computed_at),
            "age_s": round(time.time() - found.computed_at.timestamp(), 1),
            "seconds": found.seconds,
        }
    )


def comments(engine: Engine, key: str) -> list[Comment]:
    """The newest comments.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        return store.comments(connection, experiment.id, most=COMMENTS, scanned=SCANNED)


def compute_due(engine: Engine, every_s: float) -> list[str]:
    """Compute the reports that are due, of experiments about which somebody said something; returns their keys."""
    with transaction(engine) as connection:
        keys = latest.due(connection, KIND, every_s=every_s, factor=FACTOR, statuses=latest.ANY_STATUS)
    return [key for key in keys if compute(engine, key)]


def compute(engine: Engine, key: str) -> bool:
    """Compute and keep the report of one experiment; False when nobody answered, which takes no computing."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        if not store.any_answers(connection, experiment.id):
            return False
        body = _body(connection, experiment)
        summary = {"answers": body["answers"]}
        latest.put(connection, experiment.id, KIND, summary, body, time.monotonic() - began)
    return True


def _in_force(connection: Connection, experiment: StoredExperiment) -> dict[str, Any]:
    applied = feedback_schemas.newest_schema(connection, experiment.id, applied=True)
    newest = feedback_schemas.newest_schema(connection, experiment.id)
    waits = newest is not None and newest.applied_at is None
    return {
        "version": applied.version if applied else None,
        "worth": applied.schema if applied else None,
        "applied_at": iso(applied.applied_at) if applied and applied.applied_at else None,
        "being_computed": newest.version if newest and waits else None,
        "problem": newest.problem if newest and waits else None,
        "retry_at": iso(newest.retry_at) if newest and waits and newest.retry_at else None,
    }


def _nothing() -> dict[str, Any]:
    window = {"decisions": 0, "units": 0, "first": None, "last": None}
    return {"answers": 0, "late": 0, "kinds": [], "window": window, "groups": [], "assumptions": list(ASSUMPTIONS)}


def _body(connection: Connection, experiment: StoredExperiment) -> dict[str, Any]:
    config = ExperimentConfig.model_validate(experiment.config)
    found = store.settled(connection, experiment.id, config.segments, NEWEST)
    counts = store.counts(connection, experiment.id)
    rows = _rows(connection, experiment.id, found)
    kinds: dict[str, dict[str, Any]] = {}
    for one in counts:
        line = kinds.setdefault(one.kind, {"kind": one.kind, "answers": 0, "late": 0, "arms": {}})
        line["answers"] += one.answers
        line["late"] += one.late
        line["arms"][one.arm] = one.answers
    ends = [found[0].decided_at.isoformat(), found[-1].decided_at.isoformat()] if found else [None, None]
    return _nothing() | {
        "answers": sum(one.answers for one in counts),
        "late": sum(one.late for one in counts),
        "kinds": list(kinds.values()),
        "window": {
            "decisions": len(rows),
            "units": len({row.unit for row in rows}),
            "first": ends[0],
            "last": ends[1],
        },
        "groups": _groups(rows, config),
    }


def _rows(connection: Connection, experiment_id: int, found: list[Settled]) -> list[_Row]:
    configs = Configs(connection, experiment_id)
    schema = configs.feedback(feedback_schemas.applied_version(connection, experiment_id))
    units: dict[str, int] = {}
    rows = []
    for one in found:
        implicit, explicit = one.reward, None
        if one.said is not None:
            spec = configs.get(one.config_version).reward
            events = [RewardEvent(value, datetime.fromisoformat(at), name) for value, at, name in one.rewards]
            implicit = join(events, spec.aggregation, spec.default, spec.min, spec.max)
            explicit = _explicit(schema, one.said)
        unit = units.setdefault(one.unit_id, len(units))
        rows.append(_Row(one.arm, unit, one.segments, one.said is not None, implicit, explicit))
    return rows


def _explicit(schema: Mapping[str, Any], said: list[list[Any]]) -> float | None:
    timely = [Answer(kind, value, datetime.fromisoformat(at), name) for kind, value, at, name, late in said if not late]
    return explicit_worth(schema, timely)


def _groups(rows: list[_Row], config: ExperimentConfig) -> list[dict[str, Any]]:
    """Everybody, then each arm, then the most frequent values of each declared segment."""
    if not rows:
        return []
    groups = [_group("all", None, "", rows)]
    arms = [arm.key for arm in config.arms]
    for arm in sorted(
        {row.arm for row in rows}, key=lambda arm: (arm not in arms, arms.index(arm) if arm in arms else 0)
    ):
        groups.append(_group("arm", None, arm, [row for row in rows if row.arm == arm]))
    for place, name in enumerate(config.segments):
        values: dict[str, list[_Row]] = {}
        for row in rows:
            values.setdefault(row.segments[place], []).append(row)
        for value in sorted(values, key=lambda value: (-len(values[value]), value))[:MOST_SEGMENTS]:
            groups.append(_group("segment", name, value, values[value]))
    return groups


def _group(group: str, field: str | None, name: str, rows: list[_Row]) -> dict[str, Any]:
    unit = np.array([row.unit for row in rows])
    answered = np.array([float(row.answered) for row in rows])
    rate = answer_rate(answered, unit)
    bias = response_bias(np.array([row.implicit for row in rows]), answered, unit)
    return {
        "group": group,
        "field": field,
        "name": name,
        "rate": rate._asdict() | {"interval": _interval(rate.interval)},
        "agreement": _agreement([row for row in rows if row.explicit is not None]),
        "bias": bias._asdict() | {"interval": _interval(bias.interval)},
    }


def _agreement(rows: list[_Row]) -> dict[str, Any]:
    if not rows:
        none = {"low": None, "high": None, "reason": "no decision has both signals"}
        return {"decisions": 0, "units": 0, "correlation": None, "interval": none}
    found = rank_agreement(
        np.array([row.implicit for row in rows]),
        np.array([row.explicit for row in rows], dtype=np.float64),
        np.array([row.unit for row in rows]),
        seed=SEED,
    )
    return found._asdict() | {"interval": _interval(found.interval)}


def _interval(found: Interval) -> dict[str, Any]:
    return {"low": found.low, "high": found.high, "reason": found.reason}
