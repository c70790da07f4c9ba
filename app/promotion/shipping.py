"""Ship an arm: it decides for everybody from now on, and the way back is one step.

Shipping is a version of the configuration with other shares. So every decision still logs the distribution that it was drawn
from, a learning arm goes on learning, a holdout goes on measuring, and no call is refused on the way. The results at that
moment are kept as they are.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.experiments import concluded, move
from app.design.promotion_config import MAX_HOLDOUT, Shipped
from app.foundation.errors import Conflict, FieldError, NotFound
from app.foundation.fields import JsonObject, Key, Model, Time, invalid
from app.foundation.isolation import each
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.promotion.store import promoted
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store.experiments import StoredExperiment
from app.reporting import frozen
from app.reporting.documents.results import StoredResults

KIND = "promotion"
WORKER = "worker"


class ShipRequest(Model):
    """Which arm decides for everybody, and why."""

    arm: Key
    holdout: float = Field(
        default=0.0, ge=0, le=MAX_HOLDOUT, description="Share of the units that the control keeps, to go on measuring."
    )
    reason: str = Field(min_length=1, max_length=10_000, description="It is kept in the history.")


class Step(NamedTuple):
    """What the history says of a step."""

    actor: str
    kind: str
    after: JsonObject
    reason: str


class Ending(Model):
    """How an experiment ends, and what callers get from then on."""

    conclusion: str | None = Field(default=None, max_length=10_000, description="What was decided, and why.")
    callers: Literal["error", "control"] = Field(
        default="error", description="control: the control decides for everybody, for good. error: calls are refused."
    )
    error_from: Time | None = Field(
        default=None, description="With error: until then the control decides for everybody. Left out: refused at once."
    )

    @property
    def control_decides(self) -> bool:
        """True: callers get the control from now on, for good or until a time."""
        return self.callers == "control" or self.error_from is not None


def ship(engine: Engine, key: str, request: ShipRequest, actor: str) -> StoredExperiment:
    """Let one arm decide for everybody.

    :raises NotFound: no such experiment, or it has no such arm.
    :raises Conflict: it is a draft, or concluded.
    :raises Unprocessable: the control is to keep a holdout of itself.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        before = stored_experiment(connection, key, lock=True)
        return ship_in(connection, before, request, actor, revision)


def ship_in(
    connection: Connection,
    before: StoredExperiment,
    request: ShipRequest,
    actor: str,
    revision: int,
    *,
    until: datetime | None = None,
) -> StoredExperiment:
    """Like ``ship``, within the transaction of a larger use case.

    :param before: the experiment, locked.
    :param until: when the experiment is concluded by itself.
    """
    config = steerable(before)
    find_arm(config, request.arm)
    if request.holdout and request.arm == config.control.key:
        raise invalid((FieldError("/holdout", "holdout_of_control"),))
    newest = frozen.freeze(connection, before)
    check_holdout(request.holdout, newest)
    shipped = Shipped(
        arm=request.arm,
        holdout=request.holdout,
        at=iso(datetime.now(UTC)),
        by=actor,
        reason=request.reason,
        verdict=None if newest is None or newest.decision is None else newest.decision.verdict,
        until=None if until is None else iso(until),
        before=shares_before(config),
    )
    config.shipped, config.ramp = shipped, None
    give(config, {config.control.key: request.holdout, request.arm: 1 - request.holdout})
    said = {"arm": request.arm, "holdout": request.holdout} | ({"until": shipped.until} if until else {})
    return store_next(connection, before, config, revision, Step(actor, "shipped", said, request.reason))


def check_holdout(holdout: float, newest: StoredResults | None) -> None:
    """Refuse a holdout that would keep nobody of the units seen so far.

    :raises Unprocessable: it is so small.
    """
    units = newest.window.units if newest else 0
    if holdout and 0 < units * holdout < 1:
        raise invalid((FieldError("/holdout", "holdout_of_no_unit", {"units": units}),))


def roll_back(engine: Engine, key: str, reason: str, actor: str) -> StoredExperiment:
    """Give the arms back the shares that they had before an arm was shipped, or began to be.

    :raises Conflict: nothing is shipped or on its way there.
    """
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        return roll_back_in(connection, stored_experiment(connection, key, lock=True), reason, actor, revision)


def roll_back_in(
    connection: Connection, before: StoredExperiment, reason: str, actor: str, revision: int
) -> StoredExperiment:
    """Like ``roll_back``, within the transaction of a larger use case.

    :param before: the experiment, locked.
    """
    config = steerable(before)
    was = config.shipped or config.ramp
    if was is None:
        raise nothing_promoted()
    config.shipped = config.ramp = None
    give(config, was.before)
    now: JsonObject = {"shares": was.before}
    return store_next(connection, before, config, revision, Step(actor, "rolled_back", now, reason))


def conclude(engine: Engine, key: str, ending: Ending, actor: str) -> StoredExperiment:
    """End an experiment, and say what callers get: the control for good, or an error, at once or from a time on.

    :raises Conflict: the control is to decide, and the experiment is a draft or concluded.
    :raises Unprocessable: the time does not lie ahead.
    """
    if not ending.control_decides:
        return move(engine, key, "conclude", actor, ending.conclusion)
    if ending.error_from is not None and (ending.callers == "control" or ending.error_from <= datetime.now(UTC)):
        raise invalid((FieldError("/error_from", "time_not_ahead" if ending.callers == "error" else "not_null"),))
    with transaction(engine) as connection:
        revision = platform.next_revision(connection)
        return conclude_in(connection, stored_experiment(connection, key, lock=True), ending, actor, revision)


def conclude_in(
    connection: Connection, before: StoredExperiment, ending: Ending, actor: str, revision: int
) -> StoredExperiment:
    """Let the control decide from now on, for good or until a time, within the transaction of a larger use case.

    :param before: the experiment, locked.
    """
    control = steerable(before).control.key
    request = ShipRequest(arm=control, reason=ending.conclusion or "concluded without an arm to ship")
    return ship_in(connection, before, request, actor, revision, until=ending.error_from)


def conclude_due(engine: Engine) -> list[str]:
    """Conclude the experiments whose time has come; returns their keys."""
    with transaction(engine) as connection:
        due = promoted.due(connection)
    return each(engine, KIND, [key for key, _ in due], lambda key: _conclude(engine, key, dict(due)[key]))


def _conclude(engine: Engine, key: str, reason: str) -> None:
    move(engine, key, "conclude", WORKER, reason)


def steerable(before: StoredExperiment) -> ExperimentConfig:
    """The configuration of an experiment whose shares may be set.

    :raises Conflict: it is a draft, or concluded.
    """
    if before.status == "concluded":
        raise concluded()
    if before.started_at is None:
        raise Conflict("wrong_status", "A draft has decided nothing yet: start it first.")
    return ExperimentConfig.model_validate(before.config)


def find_arm(config: ExperimentConfig, key: str) -> ArmSpec:
    """An arm of a configuration.

    :raises NotFound: it has no such arm.
    """
    arm = next((arm for arm in config.arms if arm.key == key), None)
    if arm is None:
        raise NotFound("unknown_arm", f"Experiment {config.key!r} has no arm {key!r}.")
    return arm


def nothing_promoted() -> Conflict:
    """The error where nothing is shipped or on its way there."""
    return Conflict("nothing_promoted", "No arm is shipped or on its way there.")


def shares_before(config: ExperimentConfig) -> dict[str, float]:
    """The shares to go back to: those before the first promotion that was not rolled back."""
    earlier = config.shipped or config.ramp
    return {arm.key: arm.share for arm in config.arms} if earlier is None else earlier.before


def give(config: ExperimentConfig, shares: Mapping[str, float]) -> None:
    """Set the shares of the arms; an arm that is not named gets none."""
    for arm in config.arms:
        arm.share = shares.get(arm.key, 0.0)


def store_next(
    connection: Connection, before: StoredExperiment, config: ExperimentConfig, revision: int, step: Step
) -> StoredExperiment:
    """Make ``config`` the next version, let the experiment run if it is paused, and write down who did it and why."""
    store.add_config(connection, before.id, before.config_version + 1, config.model_dump(mode="json"), revision)
    if before.status != "running":
        store.set_status(connection, before.id, "running", revision, None)
    was = {"shares": {arm.key: arm.share for arm in ExperimentConfig.model_validate(before.config).arms}}
    platform.record_change(connection, experiment_id=before.id, before=was, **step._asdict())
    return stored_experiment(connection, before.key)
