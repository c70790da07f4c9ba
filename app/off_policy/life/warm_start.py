"""Warm start: an arm that has learned nothing yet begins with what another log teaches, learned by its own policy.

The log is that of an experiment, an imported one or this one included, or what a stored version of an arm had learned. Actions
and context fields have to agree, and what does not is shown. The worker learns the model; its decisions stand in a ledger of
their own, so that an audit replays it, an erasure reaches it, and no decision counts as learned by this arm.
"""

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pydantic import Field
from sqlalchemy import Connection, Engine

from app.design import experiments as experiments_service
from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict, FieldError
from app.foundation.fields import Document, JsonObject, Key, Model, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning import warm
from app.learning.store import warm as store
from app.off_policy.life.agreement import Agreement, agreement
from app.registry.lookup import stored_experiment
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import VersionInfo
from bandits.policy import BanditPolicy, parse_policy


class Source(Model):
    """What the model learns from: the log of an experiment, or what a version of one of its arms had learned."""

    experiment: Key = Field(description="An imported log is an experiment, too.")
    arm: Key | None = Field(default=None, description="Null: the decisions of all arms.")
    version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Of the arm; null: the one that serves.")


class WarmStartRequest(Model):
    arm: Key = Field(description="A learning arm that has learned nothing yet.")
    source: Source
    dry_run: bool = Field(default=False, description="True: only say what agrees.")


class WarmStart(Document):
    """What an arm began with, or is about to."""

    experiment: str
    arm: str
    source: Source
    status: Literal["possible", "waiting", "failed", "done"] = Field(
        description="possible: the answer to a dry run; waiting: the worker learns it."
    )
    agreement: Agreement
    decisions: int | None = Field(description="That the model learned; null: it is not learned yet.")
    version: int | None = Field(description="The model version that it became.")
    problem: str | None


class WarmStarts(Document):
    warm_starts: list[WarmStart]


class Target(NamedTuple):
    experiment: StoredExperiment
    arm: str
    policy: BanditPolicy
    serving: VersionInfo


def ask(engine: Engine, key: str, request: WarmStartRequest, actor: str) -> WarmStart:
    """Let the worker learn the first model of an arm from another log. With ``dry_run`` only say what agrees.

    :raises NotFound: no such experiment.
    :raises Unprocessable: the arm does not learn, the source has nothing to learn from, or nothing in it agrees.
    :raises Conflict: the arm has learned already, or the experiment is concluded.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=not request.dry_run)
        target = target_of(connection, experiment, request.arm)
        source = stored_experiment(connection, request.source.experiment)
        _check_version(connection, source, request.source)
        found = agreement(connection, experiment, source)
        if found.decisions == 0:
            raise invalid((FieldError("/source/experiment", "nothing_to_learn", {"key": source.key}),))
        if problem := found.refusal():
            raise invalid((FieldError("/source/experiment", *problem),))
        if request.dry_run:
            return _answer(target, request.source, "possible", found)
        asked: JsonObject = {
            "source": request.source.model_dump(mode="json"),
            "agreement": found.as_json(),
            "actor": actor,
            "asked_at": iso(datetime.now(UTC)),
        }
        store.ask(connection, experiment.id, request.arm, asked)
        platform.record_change(
            connection,
            actor=actor,
            kind="model_warm_start",
            experiment_id=experiment.id,
            before=None,
            after={"arm": request.arm, "source": asked["source"]},
        )
        return _answer(target, request.source, "waiting", found)


def of_experiment(engine: Engine, key: str) -> list[WarmStart]:
    """The warm starts of an experiment's arms, done or not.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        arms = [arm.key for arm in ExperimentConfig.model_validate(experiment.config).arms]
        return [found for arm in arms if (found := _known(connection, experiment, arm)) is not None]


def free_arms(engine: Engine, key: str) -> list[str]:
    """The learning arms of an experiment that have learned nothing, and for which nobody asked for a warm start.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        policies = {arm.key: parse_policy(arm.policy) for arm in config.arms}
        learning = {arm for arm, policy in policies.items() if isinstance(policy, BanditPolicy) and policy.learns}
        rows = models.serving(connection, experiment_id=experiment.id)
        free = [row.arm for row in rows if row.arm in learning and not row.examples]
        return [arm for arm in sorted(free) if _known(connection, experiment, arm) is None]


def target_of(connection: Connection, experiment: StoredExperiment, arm: str) -> Target:
    """The arm, which has to be one that learns and has learned nothing."""
    if experiment.status == "concluded":
        raise experiments_service.concluded()
    config = ExperimentConfig.model_validate(experiment.config)
    policies = {spec.key: parse_policy(spec.policy) for spec in config.arms}
    policy = policies.get(arm)
    if not isinstance(policy, BanditPolicy) or not policy.learns:
        known = [name for name, one in policies.items() if isinstance(one, BanditPolicy) and one.learns]
        raise invalid((FieldError("/arm", "arm_does_not_learn", {"arm": arm, "known": known}),))
    (row,) = (row for row in models.serving(connection, experiment_id=experiment.id) if row.arm == arm)
    serving = models.by_id(connection, row.version_id)
    if serving.examples or store.exists(connection, experiment.id, arm):
        raise Conflict("arm_has_learned", f"Arm {arm!r} has learned already; a warm start is for a new arm.")
    return Target(experiment, arm, policy, serving)


def _check_version(connection: Connection, source: StoredExperiment, wanted: Source) -> None:
    if wanted.arm is None:
        if wanted.version is not None:
            raise invalid((FieldError("/source/arm", "missing"),))
        return
    if version_of(connection, source, wanted) is None:
        known = [row.arm for row in models.serving(connection, experiment_id=source.id)]
        if wanted.arm in known:
            params: JsonObject = {"arm": wanted.arm, "version": wanted.version}
            raise invalid((FieldError("/source/version", "unknown_version", params),))
        raise invalid((FieldError("/source/arm", "arm_does_not_learn", {"arm": wanted.arm, "known": known}),))


def version_of(connection: Connection, source: StoredExperiment, wanted: Source) -> VersionInfo | None:
    arm = str(wanted.arm)
    if wanted.version is not None:
        return models.find(connection, source.id, arm, wanted.version)
    serving = next((row for row in models.serving(connection, experiment_id=source.id) if row.arm == arm), None)
    return None if serving is None else models.by_id(connection, serving.version_id)


def _known(connection: Connection, experiment: StoredExperiment, arm: str) -> WarmStart | None:
    asked = store.asked(connection, experiment.id, arm)
    if asked is not None:
        status: Literal["failed", "waiting"] = "failed" if asked.get("problem") else "waiting"
        return WarmStart(
            experiment=experiment.key, arm=arm, source=Source.model_validate(asked["source"]), status=status,
            agreement=Agreement.model_validate(asked["agreement"]), decisions=None, version=None,
            problem=asked.get("problem"),
        )  # fmt: skip
    if not store.exists(connection, experiment.id, arm):
        return None
    first = models.find_kind(connection, experiment.id, arm, warm.KIND)
    assert first is not None, "its ledger is written with it"
    return WarmStart(
        experiment=experiment.key, arm=arm, source=Source.model_validate(first.manifest["source"]), status="done",
        agreement=Agreement.model_validate(first.manifest["agreement"]), decisions=first.examples,
        version=first.number, problem=None,
    )  # fmt: skip


def _answer(target: Target, source: Source, status: Literal["possible", "waiting"], found: Agreement) -> WarmStart:
    whole = Source.model_validate(source.model_dump())  # with what was not given, as it is stored
    return WarmStart(
        experiment=target.experiment.key, arm=target.arm, source=whole, status=status, agreement=found, decisions=None,
        version=None, problem=None,
    )  # fmt: skip
