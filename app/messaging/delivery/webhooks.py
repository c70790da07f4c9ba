"""Webhooks: the addresses that receive messages, and the signatures that prove the sender.

The secret of a webhook is derived from the installation's secret and not stored. It is shown when the webhook is created
and when its secret is replaced.
"""

import hashlib
import hmac
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import Connection, Engine

from app.foundation import outgoing
from app.foundation.errors import Conflict, FieldError, NotFound, check_version
from app.foundation.fields import JsonObject, Key, Model, invalid
from app.foundation.secrets import Purpose, derive
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.foundation.words import as_sentence
from app.messaging.store import triggers
from app.messaging.store import webhooks as store
from app.messaging.store.webhooks import StoredWebhook


class WebhookSpec(Model):
    """An address that messages are sent to."""

    key: Key
    url: Annotated[str, StringConstraints(min_length=1, max_length=outgoing.MAX_URL)]


class WebhookVersion(Model):
    """The version that a change begins from."""

    version: int | None = Field(
        default=None, ge=1, description="Refused with 409 when the address or the secret changed since that version."
    )


class WebhookPatch(WebhookVersion):
    """A change of a webhook. Fields that are left out stay as they are."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=outgoing.MAX_URL)] | None = None
    status: Literal["running", "paused"] | None = Field(
        default=None, description="paused: deliveries wait until it runs again."
    )


def create(engine: Engine, settings: Settings, spec: WebhookSpec, actor: str) -> tuple[StoredWebhook, str]:
    """Store a webhook; return it with its secret, which is not shown again.

    :raises Unprocessable: the address may not be called.
    :raises Conflict: the key is taken.
    """
    _check_url(settings, spec.url)
    with transaction(engine) as connection:
        platform.next_revision(connection)  # its row lock serialises two requests with the same key
        if store.find(connection, spec.key) is not None:
            taken = FieldError("/key", "webhook_exists", {"key": spec.key})
            raise Conflict("webhook_exists", as_sentence(taken.message), (taken,))
        store.add(connection, key=spec.key, url=spec.url, created_by=actor)
        webhook = _stored(connection, spec.key)
        platform.record_change(connection, actor=actor, kind="webhook_created", after=_shown(webhook))
    return webhook, secret(settings, webhook.id, webhook.secret_version)


def get(engine: Engine, key: str) -> StoredWebhook:
    """Return a webhook.

    :raises NotFound: no webhook has that key.
    """
    with transaction(engine) as connection:
        return _stored(connection, key)


def newest(engine: Engine, *, after_id: int | None = None, limit: int = 100) -> list[StoredWebhook]:
    """List webhooks, newest first; ``after_id`` continues a listing."""
    with transaction(engine) as connection:
        return store.newest(connection, after_id=after_id, limit=limit)


def change(engine: Engine, settings: Settings, key: str, patch: WebhookPatch, actor: str) -> StoredWebhook:
    """Change the address of a webhook, pause it, or let it run again.

    :raises Unprocessable: the address may not be called.
    :raises Conflict: the webhook changed since the version of the patch.
    """
    changes = patch.model_dump(exclude_none=True, exclude={"version"})
    if "url" in changes:
        _check_url(settings, changes["url"])
    with transaction(engine) as connection:
        before = _unchanged(connection, key, patch.version)
        if all(getattr(before, name) == value for name, value in changes.items()):
            return before
        if changes.get("url", before.url) != before.url:
            changes["version"] = before.version + 1
        store.change(connection, before.id, **changes, **store.HEARD)
        after = _stored(connection, key)
        _record(connection, actor, "webhook_changed", before, after)
        return after


def rotate(
    engine: Engine, settings: Settings, key: str, actor: str, version: int | None = None
) -> tuple[StoredWebhook, str]:
    """Replace the secret, which signs everything from now on and is not shown again.

    :raises Conflict: the webhook changed since that version. Replacing would invalidate a secret just given to somebody.
    """
    with transaction(engine) as connection:
        before = _unchanged(connection, key, version)
        store.change(connection, before.id, secret_version=before.secret_version + 1, version=before.version + 1)
        after = _stored(connection, key)
        _record(connection, actor, "webhook_rotated", before, after)
    return after, secret(settings, after.id, after.secret_version)


def delete(engine: Engine, key: str, actor: str) -> None:
    """Delete a webhook. Its waiting deliveries fail.

    :raises Conflict: a trigger delivers to it, or notices go to it.
    """
    with transaction(engine) as connection:
        before = _stored(connection, key, lock=True)
        using = triggers.using_webhook(connection, key)
        if using:
            message = f"The trigger {using[0]!r} delivers to this webhook; change or delete it first."
            raise Conflict("webhook_in_use", message)
        if receivers := store.receivers_of_notices(connection, key):
            message = f"Notices of the receiver {receivers[0]!r} go to this webhook; change or delete it first."
            raise Conflict("webhook_in_use", message)
        store.remove(connection, before.id)
        platform.record_change(connection, actor=actor, kind="webhook_deleted", before=_shown(before))


def secret(settings: Settings, webhook_id: int, version: int) -> str:
    """Return the secret that the receiver verifies signatures with."""
    return "whsec_" + derive(settings.secret_key, Purpose.WEBHOOK, f"{webhook_id}\n{version}".encode()).hex()


def signature(key: str, body: bytes, at: int) -> str:
    """Return the value of the header Loopwise-Signature: HMAC-SHA256 of the time and the body.

    :param at: seconds since 1970.
    """
    signed = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={signed}"


def as_json(webhook: StoredWebhook) -> JsonObject:
    """The webhook as the API shows it."""
    times = {name: getattr(webhook, name) for name in ("created_at", "silent_since", "retry_at")}
    return _shown(webhook) | {
        "version": webhook.version,
        "created_by": webhook.created_by,
        **{name: None if moment is None else iso(moment) for name, moment in times.items()},
    }


def _shown(webhook: StoredWebhook) -> JsonObject:
    return {name: getattr(webhook, name) for name in ("key", "url", "status", "secret_version")}


def _record(connection: Connection, actor: str, kind: str, before: StoredWebhook, after: StoredWebhook) -> None:
    platform.record_change(connection, actor=actor, kind=kind, before=_shown(before), after=_shown(after))


def _stored(connection: Connection, key: str, *, lock: bool = False) -> StoredWebhook:
    webhook = store.find(connection, key, lock=lock)
    if webhook is None:
        raise NotFound("unknown_webhook", f"There is no webhook {key!r}.")
    return webhook


def _unchanged(connection: Connection, key: str, version: int | None) -> StoredWebhook:
    webhook = _stored(connection, key, lock=True)
    check_version("webhook_changed", webhook.version, version)
    return webhook


def _check_url(settings: Settings, url: str) -> None:
    try:
        outgoing.check(url, allow_loopback=bool(settings.allow_http_loopback))
    except outgoing.Refused as refused:
        raise invalid((FieldError("/url", "address_refused", {"reason": str(refused)}),)) from None
