"""The log of deliveries, and the messages that units fetch themselves."""

from itertools import groupby
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.accounts.keys import Caller
from app.deciding.naming import find_decision
from app.deciding.runtime import Runtime
from app.foundation.errors import Conflict, FieldError, LoopwiseError, NotFound
from app.foundation.fields import JsonObject, invalid
from app.foundation.store import platform
from app.foundation.store.engine import AnyRow, transaction
from app.foundation.times import iso
from app.messaging.store import deliveries as store
from app.messaging.store import webhooks
from app.messaging.store.deliveries import Held

STATUSES = ("waiting", "delivered", "failed")
MOST_HELD = 50  # messages that are shown to a unit at once


class Failing(NamedTuple):
    """What somebody should look at."""

    deliveries: int  # that failed within the last day, at most ``store.MOST_FAILED``
    webhooks: list[str]  # keys of those that do not answer


def failing(engine: Engine) -> Failing:
    """Deliveries that failed of late, and webhooks that do not answer."""
    with transaction(engine) as connection:
        return Failing(store.failed_today(connection), webhooks.silent(connection))


def newest(
    engine: Engine, *, webhook: str | None = None, status: str | None = None, after_id: int | None = None, limit: int
) -> list[JsonObject]:
    """List deliveries with their attempts, newest first; ``after_id`` continues a listing.

    :raises NotFound: the webhook does not exist.
    :raises Unprocessable: the status is not one of ``STATUSES``.
    """
    if status not in (None, *STATUSES):
        raise invalid((FieldError("/status", "not_a_choice", {"expected": [*STATUSES]}),))
    with transaction(engine) as connection:
        webhook_id = None
        if webhook is not None:
            stored = webhooks.find(connection, webhook)
            if stored is None:
                raise NotFound("unknown_webhook", f"There is no webhook {webhook!r}.")
            webhook_id = stored.id
        rows = store.newest(connection, webhook_id=webhook_id, status=status, after_id=after_id, limit=limit)
        attempts = store.attempts_of(connection, [row.id for row in rows]) if rows else []
    by_delivery = {number: list(group) for number, group in groupby(attempts, key=lambda attempt: attempt.delivery_id)}
    return [_as_json(row, by_delivery.get(row.id, [])) for row in rows]


def get(engine: Engine, delivery_id: int) -> JsonObject:
    """Return a delivery with its attempts.

    :raises NotFound: no delivery has that id.
    """
    with transaction(engine) as connection:
        row = store.find(connection, delivery_id)
        if row is None:
            raise _unknown(delivery_id)
        return _as_json(row, store.attempts_of(connection, [delivery_id]))


def replay(engine: Engine, delivery_id: int, actor: str) -> JsonObject:
    """Send a delivery again, as if it were new. The receiver sees the same delivery id.

    :raises NotFound: no delivery has that id.
    :raises Conflict: the message is held for its unit.
    """
    with transaction(engine) as connection:
        row = store.find(connection, delivery_id)
        if row is None:
            raise _unknown(delivery_id)
        if row.webhook_id is None:
            raise Conflict("delivery_held", "This message is held for its unit, which fetches it.")
        # Lock the webhook before the delivery, in the order of the sender: the other order could deadlock.
        webhooks.hurry(connection, row.webhook_id)
        store.replay(connection, delivery_id)
        before = {"delivery_id": delivery_id, "status": row.status}
        platform.record_change(
            connection, actor=actor, kind="delivery_replayed", before=before, after=before | {"status": "waiting"}
        )
    return get(engine, delivery_id)


def held(engine: Engine, caller: Caller, unit_id: str, *, after_id: int = 0) -> list[Held]:
    """List the messages that are held for a unit and not yet received, newest first.

    A unit that no longer wants messages has none. A key that is bound to an experiment sees that experiment's only.
    """
    with transaction(engine) as connection:
        rows = store.held(connection, [(unit_id, after_id)], most=MOST_HELD)
    return [row for row in rows if caller.experiment_id in (None, row.experiment_id)]


def unit_of(runtime: Runtime, caller: Caller, decision_id: str, experiment: str | None) -> str:
    """Return the unit whose message is held under a decision's id.

    For a web page it is empty when there is none, so that a page without a proof does not learn what is held.

    :param experiment: key of the decision's experiment; None: ``find_decision`` says which.
    :raises NotFound: no message is held under that id.
    :raises Conflict: messages of several experiments are, and the call names none.
    """
    with transaction(runtime.engine) as connection:
        try:
            return _held_for(connection, runtime, caller, decision_id, experiment).unit_id
        except LoopwiseError:
            if caller.publishable:
                return ""
            raise


def received(runtime: Runtime, caller: Caller, decision_id: str, experiment: str | None) -> JsonObject:
    """Record that a held message was shown to its unit. Repeating the call changes nothing.

    :param experiment: key of the decision's experiment; None: ``find_decision`` says which.
    :raises NotFound: no message is held under that decision's id.
    :raises Conflict: messages of several experiments are, and the call names none.
    """
    with transaction(runtime.engine) as connection:
        status = store.receive(connection, _held_for(connection, runtime, caller, decision_id, experiment).id)
    return {"decision_id": decision_id, "status": "delivered", "received": status == "waiting"}


def _held_for(
    connection: Connection, runtime: Runtime, caller: Caller, decision_id: str, experiment: str | None
) -> store.HeldFor:
    held_for = store.held_for(connection, decision_id)
    try:
        experiment_id, _ = find_decision(runtime, caller, decision_id, experiment, held_for)
    except NotFound:
        raise NotFound("unknown_delivery", f"No message is held under the decision {decision_id!r}.") from None
    return held_for[experiment_id]


def content(row: Held | store.Claimed) -> JsonObject:
    """Return the JSON document that a receiver gets for a delivery."""
    return {
        "delivery_id": row.id,
        "decision_id": row.decision_id,
        "experiment": row.experiment,
        "unit_id": row.unit_id,
        "message": row.message,
        "created_at": iso(row.created_at),
    }


def _as_json(row: store.StoredDelivery, attempts: list[AnyRow]) -> JsonObject:
    document = row._asdict()
    del document["webhook_id"], document["attempts"]
    times = {name: getattr(row, name) for name in ("next_at", "created_at", "finished_at")}
    document |= {name: None if moment is None else iso(moment) for name, moment in times.items()}
    lines = [
        {"number": row.number, "at": iso(row.at), "status": row.status, "error": row.error, "seconds": row.seconds}
        for row in attempts
    ]
    return document | {"to": "unit" if row.webhook_id is None else "webhook", "attempts": lines}


def _unknown(delivery_id: int) -> NotFound:
    return NotFound("unknown_delivery", f"There is no delivery {delivery_id}.")
