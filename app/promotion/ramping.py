"""Ramps: an arm gets a larger share step by step, behind a gate that the newest results open or shut.

The gate never reads a p-value of one look: what it asks for and what shuts it holds at every look together, so looking at
it as often as the worker does costs nothing. Each step is a version of the configuration with true propensities, and
results compare arms within stretches of constant shares; so a ramp by itself moves no figure.
"""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.promotion_config import MAX_HOLDOUT, STEPS, Ramp
from app.foundation.errors import Conflict, FieldError
from app.foundation.fields import Document, Key, Model, invalid
from app.foundation.isolation import each
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.promotion.shipping import (
    KIND,
    WORKER,
    ShipRequest,
    Step,
    check_holdout,
    find_arm,
    give,
    nothing_promoted,
    roll_back_in,
    shares_before,
    ship_in,
    steerable,
    store_next,
)
from app.promotion.store import promoted
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from app.reporting import results
from app.reporting.comparison.decision_rule import speaks_against
from app.reporting.documents.results import StoredResults


class RampRequest(Model):
    """Which arm gets a larger share step by step, and why."""

    arm: Key
    steps: list[float] = Field(default=STEPS, min_length=1, max_length=20, description="Its shares; 1 is shipped.")
    automatic: bool = Field(default=True, description="False: a person takes each step.")
    min_hours: float = Field(default=24.0, ge=0, le=24 * 90, description="Least length of a step, in hours.")
    holdout: float = Field(
        default=0.0, ge=0, le=MAX_HOLDOUT, description="Share that the control keeps after the last step."
    )
    reason: str = Field(min_length=1, max_length=10_000, description="It is kept in the history.")


class Gate(Document):
    """What the newest results say about the next step of a ramp."""

    arm: str
    share: float = Field(description="In force.")
    next_share: float = Field(description="1: the arm is shipped.")
    says: Literal["advance", "wait", "back"]
    reasons: list[str]


def begin(engine: Engine, key: str, request: RampRequest, actor: str) -> StoredExperiment:
    """Give an arm the share of the first step; the other arms share the rest in proportion.

    :raises NotFound: no such experiment, or it has no such arm.
    :raises Conflict: a draft, concluded, or an arm is shipped or on its way already.
    :raises Unprocessable: steps that do not grow, or an experiment without another arm.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        return begin_in(connection, stored_experiment(connection, key, lock=True), request, actor, revision)


def begin_in(
    connection: Connection, before: StoredExperiment, request: RampRequest, actor: str, revision: int
) -> StoredExperiment:
    """Like ``begin``, within the transaction of a larger use case.

    :param before: the experiment, locked.
    """
    config = possible(before, request)
    last = results.last(connection, before.id, None)
    check_holdout(request.holdout, last.results if last else None)
    steps = request.steps
    config.ramp = Ramp(
        **request.model_dump(exclude={"steps"}),
        steps=steps if steps[-1] == 1 else [*steps, 1.0],
        step=0,
        at=iso(datetime.now(UTC)),
        by=actor,
        before=shares_before(config),
    )
    return _step(connection, before, config, revision, actor, request.reason)


def possible(before: StoredExperiment, request: RampRequest) -> ExperimentConfig:
    """The configuration that a ramp begins from, where one can begin. See ``begin`` for the errors."""
    steps = request.steps
    if not all(0 < share <= 1 for share in steps) or any(high <= low for low, high in pairwise(steps)):
        raise invalid((FieldError("/steps", "ramp_steps"),))
    config = steerable(before)
    find_arm(config, request.arm)
    if config.shipped or config.ramp:
        raise Conflict("already_promoted", "An arm is ramping or shipped already. Roll back first.")
    if request.arm == config.control.key:
        raise invalid((FieldError("/arm", "ramp_of_control"),))
    return config


def advance(engine: Engine, key: str, reason: str, actor: str) -> StoredExperiment:
    """Take the next step, whatever the gate says; after the last one the arm is shipped.

    :raises Conflict: no arm is on its way.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        return advance_in(connection, stored_experiment(connection, key, lock=True), reason, actor, revision)


def gate(engine: Engine, key: str) -> Gate | None:
    """What the newest results say about the next step; null: no arm is on its way.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        return _gate(connection, stored_experiment(connection, key))


def advance_due(engine: Engine) -> list[str]:
    """Look at the gate of every automatic ramp, and take the next step or all steps back; returns the keys looked at."""
    with transaction(engine) as connection:
        keys = promoted.ramping(connection)
    return each(engine, KIND, keys, lambda key: _follow(engine, key))


def _follow(engine: Engine, key: str) -> None:
    seen = gate(engine, key)
    if seen is None or seen.says == "wait":  # as almost always: nothing is locked and no revision is taken
        return
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        experiment = stored_experiment(connection, key, lock=True)
        seen = _gate(connection, experiment)
        if seen is None or seen.says == "wait":
            return
        act = advance_in if seen.says == "advance" else roll_back_in
        act(connection, experiment, " ".join(seen.reasons), WORKER, revision)


def advance_in(
    connection: Connection, before: StoredExperiment, reason: str, actor: str, revision: int
) -> StoredExperiment:
    """Like ``advance``, within the transaction of a larger use case.

    :param before: the experiment, locked.
    """
    config = steerable(before)
    if config.ramp is None:
        raise nothing_promoted()
    ramp = config.ramp.model_copy(update={"step": config.ramp.step + 1, "at": iso(datetime.now(UTC))})
    if ramp.steps[ramp.step] >= 1:
        request = ShipRequest(arm=ramp.arm, holdout=ramp.holdout, reason=f"{ramp.reason} ({reason})"[:10_000])
        return ship_in(connection, before, request, actor, revision)
    config.ramp = ramp
    return _step(connection, before, config, revision, actor, reason)


def _step(
    connection: Connection, before: StoredExperiment, config: ExperimentConfig, revision: int, actor: str, reason: str
) -> StoredExperiment:
    ramp = config.ramp
    assert ramp is not None
    share = ramp.steps[ramp.step]
    if share >= 1:  # a ramp of one step
        return ship_in(
            connection, before, ShipRequest(arm=ramp.arm, holdout=ramp.holdout, reason=reason), actor, revision
        )
    others = {arm: given for arm, given in ramp.before.items() if arm != ramp.arm}
    whole = sum(others.values())
    rest = (
        {arm: (1 - share) * given / whole for arm, given in others.items()}
        if whole
        else {config.control.key: 1 - share}
    )
    give(config, rest | {ramp.arm: share})
    said = {"arm": ramp.arm, "share": share, "step": ramp.step + 1, "of": len(ramp.steps)}
    return store_next(connection, before, config, revision, Step(actor, "ramped", said, reason))


def _gate(connection: Connection, experiment: StoredExperiment) -> Gate | None:
    config = ExperimentConfig.model_validate(experiment.config)
    ramp = config.ramp
    if ramp is None:
        return None
    kept = results.last(connection, experiment.id, None)
    newest = None if kept is None else kept.results
    against = [] if newest is None else [reason.text for reason in speaks_against(config, newest, ramp.arm)]
    waits = _waits(config, ramp, newest)
    says: Literal["advance", "wait", "back"] = "back" if against else "wait" if waits else "advance"
    return Gate(
        arm=ramp.arm,
        share=ramp.steps[ramp.step],
        next_share=ramp.steps[ramp.step + 1],
        says=says,
        reasons=against or waits or ["Nothing speaks against the next step."],
    )


def _waits(config: ExperimentConfig, ramp: Ramp, newest: StoredResults | None) -> list[str]:
    """Why the next step has to wait."""
    begun = datetime.fromisoformat(ramp.at)
    hours = (datetime.now(UTC) - begun).total_seconds() / 3600
    reasons = []
    if hours < ramp.min_hours:
        reasons.append(f"This step began {hours:.1f} hours ago and lasts at least {ramp.min_hours:g}.")
    if newest is None or newest.window.last is None or datetime.fromisoformat(newest.window.last) < begun:
        return [*reasons, "No decision of this step has settled yet."]
    if newest.sample_ratio.alert:
        reasons.append("The arms' units do not match their shares: find the cause first.")
    units, least = newest.units.get(ramp.arm, 0), config.decision_rule.min_units
    if units < least:
        reasons.append(f"{ramp.arm} has {units} units; the rule asks for {least}.")
    decision = newest.decision
    if ramp.steps[ramp.step + 1] >= 1 and (decision is None or (decision.verdict, decision.arm) != ("ship", ramp.arm)):
        words = "" if decision is None else f" It says: {' '.join(decision.reasons)}"
        reasons.append(f"The last step waits until the rule says that {ramp.arm} ships.{words}")
    return reasons
