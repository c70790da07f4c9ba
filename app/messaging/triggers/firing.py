"""Firings whose time has come: the decision is made, and the message becomes a delivery.

A firing's decision has an id made from the firing's, so that a worker that was killed in between gets the stored answer
when it asks again: one decision and one delivery for each firing, whatever is killed when.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.deciding.decide import AnsweredDecision, decide
from app.deciding.requests import DecideRequest, MessageRequest, identify
from app.deciding.runtime import Runtime
from app.foundation.errors import LoopwiseError, TooManyRequests, Unavailable
from app.foundation.fields import JsonObject, invalid, pydantic_fields
from app.foundation.secrets import Purpose, derive
from app.foundation.store.engine import transaction
from app.messaging.store import deliveries, triggers, webhooks
from app.messaging.store.triggers import DueFiring
from app.messaging.triggers.definition import MAX_DELAY_S, Cadence, ToWebhook, TriggerConfig, parse_trigger

BATCH = 500
THREADS = 16  # units that are decided at once: they share commits, and for a moment each needs a connection

log = structlog.get_logger()


class _Skip(Exception):
    """Nothing is said, and why."""


class Fired(NamedTuple):
    """What one pass did."""

    firings: int  # that were finished, or told how long to wait
    deliveries: int  # new ones


def any_due(engine: Engine) -> bool:
    """Is there anything to do?"""
    with transaction(engine) as connection:
        return triggers.any_due(connection)


def fire_due(runtime: Runtime, most: int = BATCH) -> Fired:
    """Decide for firings whose time has come; of one unit's, the highest priority first.

    :raises Unavailable: the database is away; what is not decided stays as it is.
    """
    with transaction(runtime.engine) as connection:
        due = triggers.due(connection, most)
    due.sort(key=lambda one: (one.unit_id, -one.priority, one.id))
    units = [list(group) for _, group in groupby(due, key=lambda one: one.unit_id)]
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(lambda group: [_fire(runtime, one) for one in group], units))
    return Fired(len(due), sum(made for group in done for made in group))


def _fire(runtime: Runtime, firing: DueFiring) -> bool:
    """True when there is a new delivery."""
    try:
        config = _config_of(firing)
        caller = Caller(f"trigger:{firing.key}", frozenset({"decide"}), None)
        if isinstance(config.delay_s, Cadence) and firing.wait_decision_id is None:
            wait_s = _wait(runtime, caller, firing, config.delay_s.experiment)
            if wait_s > 0:
                return False
        webhook_id = _webhook_id(runtime, config)
        body = firing.request | {"decision_id": _decision_id(runtime, firing, Purpose.FIRING)}
        decided = _decide(runtime, caller, MessageRequest, body)
    except (Unavailable, TooManyRequests):
        raise
    except (LoopwiseError, _Skip) as reason:
        with transaction(runtime.engine) as connection:
            triggers.finish(connection, firing.id, "skipped", reason=str(reason)[:1000])
        return False
    return _finish(runtime, firing, decided, webhook_id)


def _config_of(firing: DueFiring) -> TriggerConfig:
    if firing.status is None:
        raise _Skip("the trigger was deleted")
    if firing.status != "running":
        raise _Skip("the trigger was paused")
    return parse_trigger(firing.definition)


def _decision_id(runtime: Runtime, firing: DueFiring, purpose: Purpose) -> str:
    """The same for the same firing, and nobody's guess: who knows a decision's id may reward it."""
    digest = derive(runtime.settings.secret_key, purpose, str(firing.id).encode()).hex()
    return f"{purpose.name.lower()}-{firing.id}-{digest[:20]}"


def _wait(runtime: Runtime, caller: Caller, firing: DueFiring, experiment: str) -> float:
    """Ask how long to wait, and note it; in seconds since the firing."""
    context = firing.request.get("context", {})
    body = {
        "experiment": experiment,
        "unit_id": firing.unit_id,
        "context": context,
        "decision_id": _decision_id(runtime, firing, Purpose.WAIT),
    }
    answer = _decide(runtime, caller, DecideRequest, body).answer
    wait_s = wait_of(answer["action"]["payload"])
    if wait_s is None:
        raise _Skip(f"experiment {experiment!r} chose an action whose payload has no wait_s")
    with transaction(runtime.engine) as connection:
        triggers.wait(connection, firing.id, answer["decision_id"], wait_s)
    return wait_s


def wait_of(payload: Any) -> float | None:
    """The waiting time that a payload carries, in seconds; null: none that is possible."""
    found = payload.get("wait_s") if isinstance(payload, dict) else None
    possible = isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= MAX_DELAY_S
    return float(found) if possible else None  # type: ignore[arg-type]


def _webhook_id(runtime: Runtime, config: TriggerConfig) -> int | None:
    if not isinstance(config.delivery, ToWebhook):
        return None
    with transaction(runtime.engine) as connection:
        found = webhooks.find(connection, config.delivery.webhook)
    if found is None:
        raise _Skip(f"there is no webhook {config.delivery.webhook!r}")
    return found.id


def _decide(runtime: Runtime, caller: Caller, model: type[DecideRequest], body: JsonObject) -> AnsweredDecision:
    try:
        request = model.model_validate(body)
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None
    return decide(runtime, caller, [identify(request, body)])[0]


def _finish(runtime: Runtime, firing: DueFiring, decided: AnsweredDecision, webhook_id: int | None) -> bool:
    decision_id = decided.answer["decision_id"]
    with transaction(runtime.engine) as connection:
        if not triggers.finish(connection, firing.id, "decided", decision_id=decision_id):
            return False
        if decided.message is None:
            return False
        return deliveries.add(
            connection,
            decision_id=decision_id,
            experiment_id=runtime.snapshots.current.experiments[firing.request["experiment"]].id,
            unit_id=firing.unit_id,
            webhook_id=webhook_id,
            message=decided.message,
        )
