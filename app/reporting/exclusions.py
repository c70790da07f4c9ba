"""Leaves units out of an experiment's reports: bots, test accounts, whoever is not the public that it is about.

A list that somebody keeps, and a rule of the experiment (more than so many decisions on a day). The decisions stay in the
log and in what was learned. Leave a unit out for what it is, never for what it did after it got its arm: an arm that makes
people come more often would lose its best units to a rule about decisions.
"""

from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import MAX_BATCH, Document, Id, Model
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import results
from app.reporting.store import excluded_units as store

MOST_LISTED = 1000


class UnitsToExclude(Model):
    """Units excluded from reports, and why."""

    unit_ids: list[Id] = Field(min_length=1, max_length=MAX_BATCH)
    reason: str = Field(min_length=1, max_length=500)


class UnitsToInclude(Model):
    """Units that reports count again."""

    unit_ids: list[Id] = Field(min_length=1, max_length=MAX_BATCH)


class ExcludedUnit(Document):
    """One unit that is left out."""

    unit_id: str
    reason: str
    actor: str  # "rule": the experiment's own rule
    excluded_at: str


class ExcludedUnits(Document):
    """The units that an experiment's reports leave out, newest first."""

    count: int
    max_decisions_per_day: int | None
    units: list[ExcludedUnit]


def listed(engine: Engine, key: str) -> ExcludedUnits:
    """The units that are left out.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        return _listed(connection, stored_experiment(connection, key))


def exclude(engine: Engine, key: str, units: list[str], reason: str, actor: str) -> ExcludedUnits:
    """Leave units out of every report, from the next computation on, which happens now.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        added = store.add(connection, experiment.id, units, reason, actor)
        if added:
            _record(connection, experiment, actor, "units_excluded", len(added), reason)
    return _recomputed(engine, key)


def include(engine: Engine, key: str, units: list[str], actor: str) -> ExcludedUnits:
    """Take units back into the reports.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        removed = store.remove(connection, experiment.id, units)
        if removed:
            _record(connection, experiment, actor, "units_included", len(removed), None)
    return _recomputed(engine, key)


def _record(
    connection: Connection, experiment: StoredExperiment, actor: str, kind: str, units: int, reason: str | None
) -> None:
    """The history says who changed what and why, but names no unit: an erasure does not reach it."""
    platform.record_change(
        connection, actor=actor, kind=kind, experiment_id=experiment.id, after={"units": units}, reason=reason
    )


def _recomputed(engine: Engine, key: str) -> ExcludedUnits:
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        small = results.small(connection, experiment.id)
    if small:  # the worker computes long logs soon
        results.compute(engine, key)
    return listed(engine, key)


def _listed(connection: Connection, experiment: StoredExperiment) -> ExcludedUnits:
    rows = store.listed(connection, experiment.id, MOST_LISTED)
    rule = ExperimentConfig.model_validate(experiment.config).decision_rule
    return ExcludedUnits(
        count=store.count(connection, experiment.id),
        max_decisions_per_day=rule.max_decisions_per_day,
        units=[
            ExcludedUnit(unit_id=row.unit_id, reason=row.reason, actor=row.actor, excluded_at=iso(row.excluded_at))
            for row in rows
        ],
    )
