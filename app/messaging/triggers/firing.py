"""Decides for firings that are due, and turns each message into a delivery.

The id of the decision is derived from the id of the firing. A worker that repeats the work of a killed one gets the stored
decision, so each firing has one decision and one delivery.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.deciding.decide import AnsweredDecision, decide
from app.deciding.requests import DecideRequest, MessageRequest, identify
from app.deciding.runtime import Runtime
from app.foundation.errors import LoopwiseError, TooManyRequests, Unavailable
from app.foundation.fields import JsonObject, read
from app.foundation.secrets import Purpose, derive
from app.foundation.store.engine import transaction
from app.messaging.store import deliveries, triggers, webhooks
from app.messaging.store.triggers import DueFiring
from app.messaging.triggers.definition import MAX_DELAY_S, Cadence, ToWebhook, TriggerConfig, parse_trigger

BATCH = 500
THREADS = 16  # units that are decided at once; they share commits, but each needs a connection for a moment

log = structlog.get_logger()


class _Skip(Exception):
    """No message is sent, for the reason in the text."""


class Fired(NamedTuple):
    """The result of one pass."""

    firings: int  # firings that were finished or given a waiting time
    deliveries: int  # new deliveries


def any_due(engine: Engine) -> bool:
    """True when a firing is due."""
    with transaction(engine) as connection:
        return triggers.any_due(connection)


def fire_due(runtime: Runtime, most: int = BATCH) -> Fired:
    """Decide for the firings that are due; within a unit, the highest priority goes first.

    :raises Unavailable: the database does not answer. Undecided firings stay as they are.
    """
    with transaction(runtime.engine) as connection:
        due = triggers.due(connection, most)
    due.sort(key=lambda firing: (firing.unit_id, -firing.priority, firing.id))
    units = [list(group) for _, group in groupby(due, key=lambda firing: firing.unit_id)]
    with ThreadPoolExecutor(THREADS) as pool:
        done = list(pool.map(lambda group: [_fire(runtime, firing) for firing in group], units))
    return Fired(len(due), sum(delivered for group in done for delivered in group))


def _fire(runtime: Runtime, firing: DueFiring) -> bool:
    """Decide for a firing; true when it has a new delivery."""
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
    """The decision's id: stable for a firing, and secret, because anybody who knows the id may reward the decision."""
    digest = derive(runtime.settings.secret_key, purpose, str(firing.id).encode()).hex()
    return f"{purpose.name.lower()}-{firing.id}-{digest[:20]}"


def _wait(runtime: Runtime, caller: Caller, firing: DueFiring, experiment: str) -> float:
    """Let the experiment choose the waiting time in seconds since the firing, and store it."""
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
    """Return the waiting time of a payload in seconds; null when it is missing or outside 0 to `MAX_DELAY_S`."""
    wait_s = payload.get("wait_s") if isinstance(payload, dict) else None
    possible = isinstance(wait_s, int | float) and not isinstance(wait_s, bool) and 0 <= wait_s <= MAX_DELAY_S
    return float(wait_s) if possible else None  # type: ignore[arg-type]


def _webhook_id(runtime: Runtime, config: TriggerConfig) -> int | None:
    if not isinstance(config.delivery, ToWebhook):
        return None
    with transaction(runtime.engine) as connection:
        webhook = webhooks.find(connection, config.delivery.webhook)
    if webhook is None:
        raise _Skip(f"there is no webhook {config.delivery.webhook!r}")
    return webhook.id


def _decide(runtime: Runtime, caller: Caller, model: type[DecideRequest], body: JsonObject) -> AnsweredDecision:
    return decide(runtime, caller, [identify(read(model, body), body)])[0]


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
