"""The life of every challenger in one table: candidate, staged, shadow, its shares on the way up, production. And the way back.

Every step has true propensities, so every step has a number: what an evaluation said of the candidate, what the log says of the
arm in shadow, and what the arm earned with each share, beside the control at the same time. The worker computes the numbers.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Literal

import numpy as np
from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict, NotFound
from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument, document_of
from app.foundation.isolation import each_due
from app.foundation.settings import Settings
from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.off_policy import candidate_policies
from app.off_policy.life import staging
from app.off_policy.life.shadow import ALPHA, shadow_of
from app.off_policy.store import candidates
from app.promotion.shipping import Step, roll_back_in, steerable, store_next
from app.promotion.store import life as store
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from experiments.off_policy import unit_sums

KIND = "challengers"
FACTOR = 20.0  # at most one part in so many of a worker's time goes into one experiment's table

State = Literal["candidate", "waiting", "failed", "shadow", "served", "production"]


class LifeStep(Document):
    """One step in the life of a challenger."""

    step: Literal["candidate", "shadow", "served", "production"]
    share: float | None = Field(description="Share of the units; null: it was no arm.")
    since: str
    until: str | None = Field(description="null: the step in force.")
    decisions: int = Field(description="That the value is computed from: scored ones, or its own.")
    value: float | None = Field(description="Predicted while it decides nothing, then what it earned per decision.")
    interval: IntervalDocument | None = Field(description="It holds at every look.")
    compared: float | None = Field(description="What ran earned meanwhile; of a served arm, the control.")
    difference: IntervalDocument | None = Field(description="Of the value and what it is compared with, for one look.")
    ips: float | None = Field(description="The value by weighting alone, while it decides nothing.")
    agreement: float | None = Field(description="In shadow: mean probability that it gives to what was shown.")
    same: float | None = Field(description="In shadow: share of decisions at which it likes best what was shown.")


class Challenger(Document):
    """A candidate, or an arm that began as one."""

    name: str
    state: State
    problem: str | None = Field(description="Why it could not be staged.")
    back: Literal["candidate", "shadow", "before", "removed"] | None = Field(
        description="Where one step back leads: before is the shares of before it was shipped or ramped. null: nowhere."
    )
    steps: list[LifeStep] = Field(description="Oldest first, as the worker last computed them.")


class Challengers(Document):
    """Every challenger of an experiment."""

    challengers: list[Challenger]
    computed_at: str | None = Field(description="When the worker computed the numbers; null: not yet.")


def get(engine: Engine, key: str) -> Challengers:
    """Every challenger as it stands now, with the newest numbers of its steps.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        kept = latest.get(connection, experiment.id, KIND)
        known = Challengers.model_validate(kept.body) if kept else None
        steps = {one.name: one.steps for one in known.challengers} if known else {}
        return Challengers(
            challengers=[
                _now(connection, experiment, name, steps.get(name, [])) for name in _names(connection, experiment)
            ],
            computed_at=iso(kept.computed_at) if kept else None,
        )


def compute_due(engine: Engine, settings: Settings, every_s: float) -> list[str]:
    """Compute and store the tables that are due; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: compute(engine, settings, key), every_s=every_s, factor=FACTOR)


def compute(engine: Engine, settings: Settings, key: str) -> None:
    """Compute and store the table of an experiment."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        table = Challengers(
            challengers=[
                _now(connection, experiment, name, list(_steps(connection, settings, experiment, name)))
                for name in _names(connection, experiment)
            ],
            computed_at=None,
        )
        summary = {"challengers": len(table.challengers)}
        latest.put(connection, experiment.id, KIND, summary, table.as_json(), time.monotonic() - began)


def back(engine: Engine, key: str, name: str, actor: str, reason: str) -> Challenger | None:
    """Take a challenger one step back: from its share to the share before or to shadow, from shadow to a candidate.

    A candidate is removed; then there is nothing left to return.

    :raises NotFound: no such experiment or challenger.
    :raises Conflict: there is no step back from where it stands.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        experiment = stored_experiment(connection, key, lock=True)
        if name not in _names(connection, experiment):
            raise NotFound("unknown_candidate", f"Experiment {key!r} has no candidate or staged arm {name!r}.")
        now = _now(connection, experiment, name, [])
        if now.back is None:
            message = f"{name!r} has decided, so it stays an arm; without a share it decides nothing more."
            raise Conflict("no_step_back", message)
        if now.back == "before":
            roll_back_in(connection, experiment, reason, actor, revision)
        elif now.back == "shadow":
            _to_shadow(
                connection, experiment, name, Step(actor, "rolled_back", {"arm": name, "share": 0.0}, reason), revision
            )
        elif now.state == "shadow":
            config = steerable(experiment)
            config.arms = [arm for arm in config.arms if arm.key != name]
            store_next(connection, experiment, config, revision, Step(actor, "rolled_back", {"removed": name}, reason))
        elif now.back == "candidate":
            candidates.set_staging(connection, experiment.id, name, None)
    if now.back == "removed":
        candidate_policies.remove(engine, key, name, actor)
        return None
    return next(one for one in get(engine, key).challengers if one.name == name)


def _to_shadow(connection: Connection, experiment: StoredExperiment, name: str, step: Step, revision: int) -> None:
    """Give the share of an arm back to the others, in proportion."""
    config = steerable(experiment)
    rest = sum(arm.share for arm in config.arms if arm.key != name)
    for arm in config.arms:
        if arm.key == name:
            arm.share = 0.0
        elif rest:
            arm.share = arm.share / rest
    if not rest:
        config.control.share = 1.0
    store_next(connection, experiment, config, revision, step)


def _names(connection: Connection, experiment: StoredExperiment) -> list[str]:
    """Candidates, and the arms that began as one."""
    stored = [str(spec["key"]) for spec in candidates.of_experiment(connection, experiment.id)]
    arms = [arm.key for arm in ExperimentConfig.model_validate(experiment.config).arms]
    return list(dict.fromkeys([*stored, *(arm for arm in arms if models.begun_with(connection, experiment.id, arm))]))


def _now(connection: Connection, experiment: StoredExperiment, name: str, steps: Sequence[LifeStep]) -> Challenger:
    config = ExperimentConfig.model_validate(experiment.config)
    staged = staging.answer_of(connection, experiment.key, name)
    arm = next((arm for arm in config.arms if arm.key == name), None)
    state: State = "candidate"
    back: Literal["candidate", "shadow", "before", "removed"] | None = "removed"
    if arm is not None:
        promoted = config.shipped or config.ramp
        on_its_way = promoted is not None and promoted.arm == name
        state = "production" if config.shipped and on_its_way else "served" if arm.share > 0 else "shadow"
        back = "before" if on_its_way else "shadow" if arm.share > 0 else "candidate"
        if back == "candidate" and store.has_decided(connection, experiment.id, name):
            back = None
        if back != "before" and (promoted is not None or arm.key == config.control.key):
            back = None
    elif staged.status in ("waiting", "failed"):
        state, back = staged.status, "candidate"
    if experiment.status == "concluded" and arm is not None:
        back = None
    return Challenger(name=name, state=state, problem=staged.problem, back=back, steps=list(steps))


def _steps(connection: Connection, settings: Settings, experiment: StoredExperiment, name: str) -> Iterator[LifeStep]:
    yield from _valued(connection, experiment, name)
    config = ExperimentConfig.model_validate(experiment.config)
    if all(arm.key != name for arm in config.arms):
        return
    versions = store.versions(connection, experiment.id, name)
    stretches = [list(part) for _, part in groupby(versions, key=lambda version: (version.share, version.shipped))]
    ends = [part[0].created_at for part in stretches[1:]]
    for index, part in enumerate(stretches):
        share, until = part[0].share, ends[index] if index < len(ends) else None
        if share is None or share == 0:
            if share == 0:
                yield _in_shadow(connection, settings, experiment, name, (part[0].created_at, until))
            continue
        last = part[-1].version if until is not None else 2**31 - 1
        yield _served(connection, config, experiment.id, name, part[0], (last, until))


def _valued(connection: Connection, experiment: StoredExperiment, name: str) -> Iterator[LifeStep]:
    """What the newest evaluation said of the candidate."""
    found = candidates.newest_line(connection, experiment.id, name)
    if found is None:
        return
    line = found.line
    gap = line.against_running
    yield LifeStep(
        step="candidate",
        share=None,
        since=iso(found.finished_at),
        until=None,
        decisions=line.scored_on or 0,
        value=line.value,
        interval=line.interval,
        compared=None if gap is None or line.value is None else line.value - gap.difference,
        difference=None if gap is None else gap.interval,
        ips=line.estimators["ips"].value if line.value is not None and "ips" in line.estimators else None,
        agreement=None,
        same=None,
    )


def _in_shadow(
    connection: Connection,
    settings: Settings,
    experiment: StoredExperiment,
    name: str,
    between: tuple[datetime, datetime | None],
) -> LifeStep:
    found = shadow_of(connection, settings, experiment, name, *between)
    line = found.line
    ips = line.estimators.get("ips") if line is not None and line.value is not None else None
    return LifeStep(
        step="shadow",
        share=0.0,
        since=iso(between[0]),
        until=iso(between[1]) if between[1] else None,
        decisions=found.decisions,
        value=line.value if line else None,
        interval=line.interval if line else None,
        compared=found.earned,
        difference=None,
        ips=ips.value if ips else None,
        agreement=found.agreement,
        same=found.same,
    )


def _served(
    connection: Connection,
    config: ExperimentConfig,
    experiment_id: int,
    name: str,
    first: store.Version,
    end: tuple[int, datetime | None],
) -> LifeStep:
    """What an arm earned per decision with one share, beside the control meanwhile."""
    control, bounds = config.control.key, (config.reward.min, config.reward.max)
    rows = store.earned(connection, experiment_id, [name, control], first.version, end[0])
    own, other = (_sums([row for row in rows if row.arm == arm]) for arm in (name, control))
    apart = None
    if name != control and own.value is not None and other.value is not None:
        apart = document_of(unit_sums.independent_difference(own, other, ALPHA))
    return LifeStep(
        step="production" if first.shipped else "served",
        share=first.share,
        since=iso(first.created_at),
        until=iso(end[1]) if end[1] else None,
        decisions=int(own.weight.sum()),
        value=own.value,
        interval=document_of(unit_sums.always_valid(own, bounds, ALPHA)) if own.value is not None else None,
        compared=other.value,
        difference=apart,
        ips=None,
        agreement=None,
        same=None,
    )


def _sums(rows: list[store.Earned]) -> unit_sums.UnitSums:
    total = np.array([row.total for row in rows], dtype=np.float64)
    return unit_sums.UnitSums(total, np.array([row.decisions for row in rows], dtype=np.float64))
