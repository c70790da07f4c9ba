"""Experiments: create, read, change, start, pause, conclude.

A change that would make the log unreadable is refused: once an experiment has run, the reward, the control and the
policies of arms are fixed. Shares, actions and texts may change, and each change makes a new configuration version.
The rewards of answers may change too: the worker joins all rewards, and learns all models, again (``app.learning.rebuild``).
"""

import secrets
from collections.abc import Mapping

from sqlalchemy import Connection, Engine

from app.content.composition_config import NOTHING
from app.design import message_variables
from app.design.arm_rules import changed_arms, changed_lineages
from app.design.definition_rules import parse_config
from app.design.experiment_config import ArmSpec, ExperimentConfig, worth_of
from app.design.store import feedback_schemas
from app.foundation.errors import Conflict, FieldError, check_version
from app.foundation.fields import JsonObject, invalid
from app.foundation.formats.same_json import same
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.foundation.words import as_sentence
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import NewVersion
from bandits.model import initial_model
from bandits.policy import BanditPolicy, learning_part, parse_policy, policy_to_json

MOVES = {"start": ({"draft", "paused"}, "running"), "pause": ({"running"}, "paused")}
MOVES["conclude"] = ({"draft", "running", "paused"}, "concluded")


def create(engine: Engine, settings: Settings, document: object, actor: str) -> StoredExperiment:
    """Store a new draft, with an untrained model for each learning arm.

    :raises Unprocessable: it names every wrong field.
    :raises Conflict: the key is taken.
    """
    with transaction(engine) as connection:
        return create_in(connection, settings, document, actor)


def create_in(connection: Connection, settings: Settings, document: object, actor: str) -> StoredExperiment:
    """Like ``create``, within the transaction of a larger use case."""
    if isinstance(document, Mapping):  # what app.promotion sets is not for callers to set
        document = {name: part for name, part in document.items() if name not in ("shipped", "ramp")}
    config = parse_config(document)
    for arm in config.arms:
        arm.fallen_back = False
    revision = platform.next_revision(connection)
    if store.find(connection, config.key) is not None:
        taken = FieldError("/key", "experiment_exists", {"key": config.key})
        raise Conflict("experiment_exists", as_sentence(taken.message), (taken,))
    plain = config.model_dump(mode="json")
    experiment_id = store.add(
        connection, key=config.key, salt=secrets.token_bytes(32), config=plain, revision=revision, owner=actor
    )
    _start_lineages(connection, settings, experiment_id, config, [], revision)
    _keep_schema(connection, experiment_id, config, applied=True)
    platform.record_change(connection, actor=actor, kind="experiment_created", experiment_id=experiment_id, after=plain)
    return stored_experiment(connection, config.key)


def get(engine: Engine, key: str) -> StoredExperiment:
    """One experiment.

    :raises NotFound: no experiment has that key.
    """
    with transaction(engine) as connection:
        return stored_experiment(connection, key)


def key_of(engine: Engine, experiment_id: int) -> str:
    """The key of an experiment; empty where it was deleted."""
    with transaction(engine) as connection:
        return store.keys_of(connection, {experiment_id}).get(experiment_id, "")


def newest(engine: Engine, *, after_id: int | None, limit: int) -> list[StoredExperiment]:
    """Experiments, newest first; ``after_id`` continues a listing."""
    with transaction(engine) as connection:
        return store.newest(connection, after_id=after_id, limit=limit)


def change(
    engine: Engine,
    settings: Settings,
    key: str,
    patch: JsonObject,
    actor: str,
    *,
    expected_version: int | None = None,
) -> StoredExperiment:
    """Replace the given top-level fields of the configuration.

    :param expected_version: the configuration that the change was made from.
    :raises Unprocessable: it names every wrong field.
    :raises Conflict: the experiment has run, so this change is not possible any more; the message says why.
    """
    with transaction(engine) as connection:
        return change_in(connection, settings, key, patch, actor, expected_version=expected_version)


def change_in(
    connection: Connection,
    settings: Settings,
    key: str,
    patch: JsonObject,
    actor: str,
    *,
    expected_version: int | None = None,
) -> StoredExperiment:
    """Like ``change``, within the transaction of a larger use case.

    :param expected_version: the configuration that the change was made from.
    :raises Conflict: also if that is not the newest configuration any more.
    """
    if "key" in patch and patch["key"] != key:
        raise invalid((FieldError("/key", "experiment_key_kept", {"key": key}),))
    revision = platform.next_revision(connection)
    before = stored_experiment(connection, key, lock=True)
    check_version("experiment_changed", before.config_version, expected_version)
    after = changed(before, patch)
    plain = after.model_dump(mode="json")
    if same(plain, before.config):
        return before
    if before.status == "concluded":
        raise concluded()
    problems = refusals(before, after)
    if problems:
        raise Conflict("already_ran", as_sentence(problems[0].message), tuple(problems))
    old = ExperimentConfig.model_validate(before.config)
    lacking = message_variables.trigger_problems(connection, old, after)
    if lacking:
        raise invalid(tuple(lacking))
    store.add_config(connection, before.id, before.config_version + 1, plain, revision)
    _start_lineages(connection, settings, before.id, after, old.arms, revision)
    _keep_schema(connection, before.id, after, applied=before.started_at is None)
    platform.record_change(
        connection,
        actor=actor,
        kind="experiment_changed",
        experiment_id=before.id,
        before=before.config,
        after=plain,
    )
    return stored_experiment(connection, key)


def changed(before: StoredExperiment, patch: JsonObject) -> ExperimentConfig:
    """The configuration after a change. A policy that means the same as before stays as it was written.

    :raises Unprocessable: it names every wrong field.
    """
    after, old_config = parse_config(before.config | patch), ExperimentConfig.model_validate(before.config)
    after.shipped, after.ramp = old_config.shipped, old_config.ramp  # app.promotion's to change
    arms = {arm.key: arm for arm in old_config.arms}
    for arm in after.arms:
        old = arms.get(arm.key)
        arm.fallen_back = old is not None and old.fallen_back  # the platform's to change; see app.guardian
        if old is not None and "apprentice" not in arm.model_fields_set:
            arm.apprentice = old.apprentice  # who changes something else does not switch it on
        if old is not None and policy_to_json(parse_policy(old.policy)) == policy_to_json(parse_policy(arm.policy)):
            arm.policy = old.policy
    return after


def concluded() -> Conflict:
    """The error for a change of a concluded experiment."""
    return Conflict("concluded", "A concluded experiment does not change; create another one.")


def move(engine: Engine, key: str, verb: str, actor: str, reason: str | None = None) -> StoredExperiment:
    """Start, pause or conclude; repeating a move changes nothing.

    :raises Conflict: an experiment in this status cannot make the move.
    """
    with transaction(engine) as connection:
        return move_in(connection, key, verb, actor, reason)


def move_in(connection: Connection, key: str, verb: str, actor: str, reason: str | None = None) -> StoredExperiment:
    """Like ``move``, within the transaction of a larger use case."""
    sources, target = MOVES[verb]
    revision = platform.next_revision(connection)
    before = stored_experiment(connection, key, lock=True)
    if before.status == target:
        return before
    if before.status not in sources:
        raise Conflict("wrong_status", f"A {before.status} experiment cannot {verb}.")
    store.set_status(connection, before.id, target, revision, reason)
    platform.record_change(
        connection,
        actor=actor,
        kind=f"experiment_{verb}",
        experiment_id=before.id,
        before={"status": before.status},
        after={"status": target},
        reason=reason,
    )
    return stored_experiment(connection, key)


def as_json(experiment: StoredExperiment) -> JsonObject:
    """The experiment as the API shows it."""
    names = ("created_at", "started_at", "concluded_at", "archived_at", "starts_at", "ends_at")
    times = {name: getattr(experiment, name) for name in names}
    return experiment.config | {
        "status": experiment.status,
        "config_version": experiment.config_version,
        "conclusion": experiment.conclusion,
        "owner": experiment.owner,
        "tags": experiment.tags,
        **{name: None if moment is None else iso(moment) for name, moment in times.items()},
    }


def refusals(before: StoredExperiment, new: ExperimentConfig) -> list[FieldError]:
    """The errors of a change that is not possible any more because the experiment has run."""
    if before.started_at is None:
        return []
    old = ExperimentConfig.model_validate(before.config)
    problems = []
    if old.reward != new.reward:
        problems.append(FieldError("/reward", "reward_fixed"))
    if old.control_arm != new.control_arm:
        problems.append(FieldError("/control_arm", "control_fixed"))
    return [*problems, *changed_arms(old, new), *changed_lineages(old.arms, new.arms)]


def bound_to_kind(before: StoredExperiment) -> list[str]:
    """Keys of the arms that prevent a change between a list of actions and a composed message.

    Their policies are fixed once they have run, and fit only one of the two: a learning arm either learns slots or does not,
    and a fixed arm names an action that the other definition lacks.
    """
    if before.started_at is None:
        return []
    free = ({"type": "uniform"}, {"type": "first_action"}, {"type": "fixed", "action": NOTHING})
    return [arm.key for arm in ExperimentConfig.model_validate(before.config).arms if arm.policy not in free]


def _keep_schema(connection: Connection, experiment_id: int, config: ExperimentConfig, *, applied: bool) -> None:
    """Store the rewards of answers, if they changed, as the next version of the feedback schema.

    :param applied: true if the worker has nothing to join or to learn again.
    """
    newest = feedback_schemas.newest_schema(connection, experiment_id)
    schema = worth_of(config)
    if schema != (newest.schema if newest else {}):
        version = newest.version + 1 if newest else 1
        feedback_schemas.add_schema(connection, experiment_id, version, schema, applied=applied)


def _start_lineages(
    connection: Connection,
    settings: Settings,
    experiment_id: int,
    config: ExperimentConfig,
    old_arms: list[ArmSpec],
    revision: int,
) -> None:
    """Store an untrained model, which decides uniformly, for each learning arm that is new or (in a draft) changed."""
    policies = {arm.key: learning_part(parse_policy(arm.policy)) for arm in old_arms}
    for arm in config.arms:
        policy = parse_policy(arm.policy)
        if policies.get(arm.key) == learning_part(policy) or not isinstance(policy, BanditPolicy):
            continue
        number = models.next_number(connection, experiment_id, arm.key)
        manifest = {"kind": "initial", "policy": arm.policy}
        version = NewVersion(experiment_id, arm.key, number, None, "initial", 0, manifest, {})
        version_id, _ = model_bytes.store(connection, initial_model(policy), settings.secret_key, version)
        models.serve(connection, experiment_id, arm.key, version_id, revision)
