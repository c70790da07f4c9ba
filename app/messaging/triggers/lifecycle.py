"""Triggers: define, read, change, start, pause, delete. A new trigger is paused."""

from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import Conflict, FieldError, NotFound, Unprocessable, check_version
from app.foundation.fields import JsonObject, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.foundation.words import as_sentence
from app.messaging.store import triggers as store
from app.messaging.store import webhooks
from app.messaging.store.triggers import StoredFiring, StoredTrigger
from app.messaging.triggers import references
from app.messaging.triggers.definition import DAY_S, Cadence, ToWebhook, TriggerConfig, parse_trigger, plain
from app.messaging.triggers.firing import wait_of
from app.registry.store import experiments

MOVES = {"start": "running", "pause": "paused"}
MOST_FIRED = 1000  # firings of one trigger that a listing counts


class Listed(NamedTuple):
    """A trigger in a list."""

    trigger: StoredTrigger
    config: TriggerConfig | None  # null: this program cannot read its definition
    fired: int  # firings of the last 24 hours; counted up to MOST_FIRED


def create(engine: Engine, document: object, actor: str) -> StoredTrigger:
    """Store a new trigger, paused.

    :raises Unprocessable: naming every wrong field.
    :raises Conflict: the key is taken.
    """
    config = parse_trigger(document)
    with transaction(engine) as connection:
        platform.next_revision(connection)  # its row lock serialises two requests with the same key
        if store.find(connection, config.key) is not None:
            taken = FieldError("/key", "trigger_exists", {"key": config.key})
            raise Conflict("trigger_exists", as_sentence(taken.message), (taken,))
        _check_references(connection, config)
        store.add(connection, key=config.key, definition=plain(config), created_by=actor)
        platform.record_change(connection, actor=actor, kind="trigger_created", after=plain(config))
        return _stored(connection, config.key)


def get(engine: Engine, key: str) -> StoredTrigger:
    """Return a trigger.

    :raises NotFound: no trigger has that key.
    """
    with transaction(engine) as connection:
        return _stored(connection, key)


def newest(engine: Engine, *, after_id: int | None = None, limit: int = 100) -> list[StoredTrigger]:
    """List triggers, newest first; ``after_id`` continues a listing."""
    with transaction(engine) as connection:
        return store.newest(connection, after_id=after_id, limit=limit)


def listed(engine: Engine, *, after_id: int | None = None, limit: int = 100) -> list[Listed]:
    """List triggers with their firings of the last 24 hours, newest first; ``after_id`` continues a listing."""
    with transaction(engine) as connection:
        rows = store.newest(connection, after_id=after_id, limit=limit)
        fired = store.fired(connection, [trigger.id for trigger in rows], DAY_S, MOST_FIRED)
    return [Listed(trigger, _readable(trigger), fired[trigger.id]) for trigger in rows]


def change(
    engine: Engine, key: str, patch: JsonObject, actor: str, expected_version: int | None = None
) -> StoredTrigger:
    """Replace the given top-level fields. Firings that wait keep the request that they were created with.

    :param expected_version: the version that the change began from.
    :raises Unprocessable: naming every wrong field.
    :raises Conflict: the definition has a newer version.
    """
    if "key" in patch and patch["key"] != key:
        raise invalid((FieldError("/key", "trigger_key_kept"),))
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        check_version("trigger_changed", before.version, expected_version)
        config = parse_trigger(before.definition | patch)
        after = plain(config)
        if after == before.definition:
            return before
        _check_references(connection, config)
        anew = after["pattern"] != before.definition["pattern"]
        store.define(connection, before.id, after, before.version + 1, anew=anew)
        platform.record_change(connection, actor=actor, kind="trigger_changed", before=before.definition, after=after)
        return _stored(connection, key)


def move(engine: Engine, key: str, verb: str, actor: str) -> StoredTrigger:
    """Start or pause a trigger. Repeating a move changes nothing."""
    status = MOVES[verb]
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        if before.status == status:
            return before
        store.set_status(connection, before.id, status)
        was, becomes = {"key": key, "status": before.status}, {"key": key, "status": status}
        platform.record_change(connection, actor=actor, kind=f"trigger_{verb}", before=was, after=becomes)
        return _stored(connection, key)


def delete(engine: Engine, key: str, actor: str) -> None:
    """Delete a trigger. Its firings stay in the log; waiting firings are skipped.

    :raises NotFound: no trigger has that key.
    """
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        store.remove(connection, before.id)
        platform.record_change(connection, actor=actor, kind="trigger_deleted", before=before.definition)


def firings(engine: Engine, key: str, *, after_id: int | None = None, limit: int = 100) -> list[StoredFiring]:
    """List the firings of a trigger, newest first; ``after_id`` continues a listing."""
    with transaction(engine) as connection:
        return store.firings(connection, _stored(connection, key).id, after_id=after_id, limit=limit)


def as_json(trigger: StoredTrigger) -> JsonObject:
    """The trigger as the API shows it."""
    return trigger.definition | {
        "status": trigger.status,
        "version": trigger.version,
        "created_by": trigger.created_by,
        "created_at": iso(trigger.created_at),
        "changed_at": iso(trigger.changed_at),
    }


def firing_as_json(firing: StoredFiring) -> JsonObject:
    """The firing as the API shows it."""
    times = {name: getattr(firing, name) for name in ("caused_at", "due_at", "finished_at")}
    return firing._asdict() | {name: None if moment is None else iso(moment) for name, moment in times.items()}


def _readable(trigger: StoredTrigger) -> TriggerConfig | None:
    try:
        return parse_trigger(trigger.definition)
    except Unprocessable:
        return None


def _stored(connection: Connection, key: str, *, lock: bool = False) -> StoredTrigger:
    trigger = store.find(connection, key, lock=lock)
    if trigger is None:
        raise NotFound("unknown_trigger", f"There is no trigger {key!r}.")
    return trigger


def _check_references(connection: Connection, config: TriggerConfig) -> None:
    """Check that the experiments and the webhook that a trigger names exist."""
    problems = []
    experiment = experiments.find(connection, config.experiment)
    if experiment is None:
        problems.append(FieldError("/experiment", "no_such_experiment"))
    elif not ExperimentConfig.model_validate(experiment.config).channels():
        problems.append(FieldError("/experiment", "experiment_without_message"))
    else:
        problems += references.variable_problems(config, ExperimentConfig.model_validate(experiment.config))
    if isinstance(config.delay_s, Cadence):
        problems += _cadence_problems(connection, config.delay_s.experiment)
    if isinstance(config.delivery, ToWebhook) and webhooks.find(connection, config.delivery.webhook) is None:
        problems.append(FieldError("/delivery/webhook", "no_such_webhook"))
    if problems:
        raise invalid(tuple(problems))


def _cadence_problems(connection: Connection, key: str) -> list[FieldError]:
    path = "/delay_s/experiment"
    experiment = experiments.find(connection, key)
    if experiment is None:
        return [FieldError(path, "no_such_experiment")]
    actions = ExperimentConfig.model_validate(experiment.config).actions
    without = [action.id for action in actions if wait_of(action.payload) is None]
    if without:
        return [FieldError(path, "cadence_action_without_wait", {"action": without[0]})]
    return [] if actions else [FieldError(path, "cadence_without_wait")]
