"""Who gets notices: over a webhook or by e-mail, about which topics and experiments, and when not."""

import re
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints
from sqlalchemy import Connection, Engine

from app.accounts.store import users
from app.foundation.errors import Conflict, FieldError, NotFound
from app.foundation.fields import JsonObject, Key, Model, invalid, shaped
from app.foundation.setting_kinds import MAIL_ADDRESS
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.foundation.words import as_sentence
from app.messaging.store import webhooks
from app.notices.store import receivers as store
from app.notices.store.receivers import StoredReceiver
from app.notices.topics import Topic
from app.registry.store import experiments

TimeOfDay = Annotated[str, shaped(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", "not_a_time_of_day")]
MailAddress = Annotated[str, StringConstraints(max_length=254), shaped(MAIL_ADDRESS, "not_an_email")]
Webhook = Annotated[str, StringConstraints(max_length=100)]


class ReceiverPatch(Model):
    """A change of a receiver. Fields that are left out stay as they are."""

    webhook: Webhook | None = Field(default=None, description="The key of a webhook; or give an e-mail address.")
    email: MailAddress | None = None
    form: Literal["loopwise", "slack"] = Field(
        default="loopwise", description="Of a webhook's body; Slack's is taken by Mattermost and others, too."
    )
    topics: list[Topic] = Field(
        default_factory=lambda: [*get_args(Topic)], min_length=1, max_length=len(get_args(Topic))
    )
    experiments: list[str] = Field(
        default_factory=list, max_length=100, description="Keys; empty: every experiment, and the platform."
    )
    person: str | None = Field(default=None, description="A user's name. People who are locked out receive nothing.")
    quiet_from: TimeOfDay | None = Field(default=None, description="Messages wait from then until `quiet_until`.")
    quiet_until: TimeOfDay | None = None
    time_zone: str = Field(default="UTC", max_length=100, description="Of the quiet hours, as Europe/Berlin.")
    status: Literal["running", "paused"] = Field(default="running", description="paused: it gets no new notices.")


class ReceiverSpec(ReceiverPatch):
    """Somebody who gets notices."""

    key: Key


def create(engine: Engine, settings: Settings, spec: ReceiverSpec, actor: str) -> StoredReceiver:
    """Store a receiver.

    :raises Unprocessable: it names every wrong field.
    :raises Conflict: the key is taken, or there is no mail server for an e-mail.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)  # its row lock serialises two requests with the same key
        if store.find(connection, spec.key) is not None:
            taken = FieldError("/key", "receiver_exists", {"key": spec.key})
            raise Conflict("receiver_exists", as_sentence(taken.message), (taken,))
        values = spec.model_dump()
        _check(connection, settings, values)
        store.add(connection, **values, created_by=actor)
        stored = _stored(connection, spec.key)
        platform.record_change(connection, actor=actor, kind="receiver_created", after=_shown(stored))
        return stored


def change(engine: Engine, settings: Settings, key: str, patch: ReceiverPatch, actor: str) -> StoredReceiver:
    """Change a receiver: the fields that were given, and no other.

    :raises NotFound: no such receiver.
    :raises Unprocessable: it names every wrong field.
    """
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        values = {name: getattr(patch, name) for name in patch.model_fields_set}
        _check(connection, settings, _shown(before) | values)
        store.change(connection, before.id, **values) if values else None
        after = _stored(connection, key)
        if after != before:
            kind = "receiver_changed"
            platform.record_change(connection, actor=actor, kind=kind, before=_shown(before), after=_shown(after))
        return after


def delete(engine: Engine, key: str, actor: str) -> None:
    """Delete a receiver; what waits for it has failed.

    :raises NotFound: no such receiver.
    """
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        store.remove(connection, before.id)
        platform.record_change(connection, actor=actor, kind="receiver_deleted", before=_shown(before))


def test(engine: Engine, key: str, actor: str) -> int:
    """Send a test, also in quiet hours and to a paused receiver; returns the notice's id. The log shows what became of it.

    :raises NotFound: no such receiver.
    """
    with transaction(engine) as connection:
        receiver = _stored(connection, key)
        webhook = webhooks.find(connection, receiver.webhook, lock=True) if receiver.webhook else None
        if webhook is not None:
            webhooks.hurry(connection, webhook.id)
        return store.test(
            connection, receiver.id, f"A test of the receiver {key}, requested by {actor}. Nothing is wrong."
        )


def get(engine: Engine, key: str) -> StoredReceiver:
    """One receiver.

    :raises NotFound: no receiver has that key.
    """
    with transaction(engine) as connection:
        return _stored(connection, key)


def every(engine: Engine) -> list[StoredReceiver]:
    """All receivers by key."""
    with transaction(engine) as connection:
        return store.every(connection)


def time_zones(engine: Engine) -> list[str]:
    """The time zones that quiet hours may have."""
    with transaction(engine) as connection:
        return store.time_zones(connection)


def as_json(receiver: StoredReceiver) -> JsonObject:
    """The receiver as the API shows it."""
    return _shown(receiver) | {"created_by": receiver.created_by, "created_at": iso(receiver.created_at)}


def _shown(receiver: StoredReceiver) -> JsonObject:
    document = receiver._asdict()
    for name in ("id", "created_by", "created_at"):
        del document[name]
    return document


def _stored(connection: Connection, key: str, *, lock: bool = False) -> StoredReceiver:
    receiver = store.find(connection, key, lock=lock)
    if receiver is None:
        raise NotFound("unknown_receiver", f"There is no receiver of notices {key!r}.")
    return receiver


def _check(connection: Connection, settings: Settings, values: JsonObject) -> None:
    """What the fields say of each other, and of what else is stored."""
    wrong = []
    if (values["webhook"] is None) == (values["email"] is None):
        wrong.append(FieldError("/webhook", "webhook_or_email"))
    elif values["webhook"] is not None and webhooks.find(connection, values["webhook"]) is None:
        wrong.append(FieldError("/webhook", "no_such_webhook"))
    known = set(experiments.all_keys(connection))
    for index, experiment in enumerate(values["experiments"]):
        if experiment not in known:
            wrong.append(FieldError(f"/experiments/{index}", "no_such_experiment"))
    if values["person"] is not None and users.find(connection, values["person"]) is None:
        wrong.append(FieldError("/person", "no_such_user"))
    if (values["quiet_from"] is None) != (values["quiet_until"] is None):
        wrong.append(FieldError("/quiet_until", "quiet_from_and_until"))
    if re.search(r"[^\w/+-]", values["time_zone"]) or not store.knows_time_zone(connection, values["time_zone"]):
        wrong.append(FieldError("/time_zone", "unknown_time_zone"))
    if wrong:
        raise invalid(tuple(wrong))
    if values["email"] is not None and not settings.smtp_url:
        raise Conflict("no_mail_server", "LOOPWISE_SMTP_URL is empty, so no e-mail can be sent.")
