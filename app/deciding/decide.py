"""Decide: choose an action, store the choice durably with the distribution it was drawn from, answer.

The draw is a keyed hash of the decision id, so the same id draws the same; the stored row is the answer, so a retry gets
it again. What is not known to be stored is never answered.
"""

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from app.accounts.keys import Caller
from app.deciding.choice import Plan, Ready, make_ready, plan_all, position_id
from app.deciding.decision_answer import answer_of
from app.deciding.decision_writing import HANDLER, LISTS, WITH_UNITS, Ask
from app.deciding.requests import MAX_BATCH, Asked, DecideRequest
from app.deciding.runtime import Runtime
from app.deciding.snapshot import Experiment
from app.deciding.store import decisions
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, Forbidden, LoopwiseError, Unavailable, within
from app.foundation.fields import invalid
from app.foundation.ids import new_id
from app.foundation.store.engine import AnyRow, transaction
from app.registry.lookup import unknown_experiment
from app.registry.store import experiments

ATTEMPTS = 5  # each needs another change of the experiment's configuration within milliseconds


class Decided(NamedTuple):
    """One answer."""

    answer: dict[str, Any]
    created: bool  # False: a retry got the stored answer
    message: dict[str, str] | None  # what is said, when a message was asked for; null: nothing


def asked(request: DecideRequest, body: Any) -> Asked:
    """Name a request: its id, and the hash that tells a retry from another request under the same id.

    :param body: the request as parsed JSON; the order of keys does not matter.
    """
    body_hash = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return Asked(request, body_hash, request.decision_id or new_id(), body.get("actions"))


def decide(runtime: Runtime, caller: Caller, requests: list[Asked]) -> list[Decided]:
    """Answer all requests in one commit, or none.

    :raises LoopwiseError: see ``app.foundation.errors``; then nothing was stored.
    """
    _refuse_twins(requests)
    _refuse_too_many(requests)
    requests = [one._replace(body_hash=_keyed(runtime.settings.secret_key, one.body_hash)) for one in requests]
    answers: dict[int, Decided] = {}
    for attempt in range(ATTEMPTS):
        ready = _make_all_ready(runtime, caller, requests, answers)
        # That a unit denied something is found when its decision is stored: then its state must be looked at.
        if attempt or any(one.experiment.governed for one in ready.values()):
            _decide_with_units(runtime, requests, ready, answers)
        else:
            _decide_at_once(runtime, requests, ready, answers)
        if len(answers) == len(requests):
            return [answers[index] for index in range(len(requests))]
        runtime.snapshots.refresh()  # the experiment changed since this process last looked
    raise Unavailable("configuration_changing", "The experiment keeps changing; send the same request again.")


def _keyed(secret: str, body_hash: str) -> str:
    """What is stored of a body's hash: whoever reads the log cannot try out what a dropped or hashed field was."""
    return hmac.digest(secret.encode(), b"body\n" + body_hash.encode(), "sha256").hex()


def _decide_at_once(
    runtime: Runtime, requests: list[Asked], ready: dict[int, Ready], answers: dict[int, Decided]
) -> None:
    """For units that denied nothing, in experiments that look at nothing else of them: decided in this thread."""
    planned = {}
    for index, one in ready.items():
        with _or_stored(runtime, requests, index, answers):
            planned[index] = plan_all(runtime, one)
    if planned:
        handler = LISTS if any(requests[index].request.slots for index in planned) else HANDLER
        stored, known = runtime.log_writer.submit(handler, [one.row for made in planned.values() for one in made])
        _settle(runtime, requests, planned, stored, known, answers)


def _decide_with_units(
    runtime: Runtime, requests: list[Asked], ready: dict[int, Ready], answers: dict[int, Decided]
) -> None:
    """Decided by the log's writer, while it holds the units."""
    if ready:
        asks = [
            Ask(runtime, index, one, len(requests) > 1, position)
            for index, one in ready.items()
            for position in range(1, 1 + (one.asked.request.slots or 1))
        ]
        planned, stored, known = runtime.log_writer.submit(WITH_UNITS, asks)
        for index, one in ready.items():
            if index not in planned and one.asked.decision_id in known:
                answers[index] = _retried(runtime, requests[index], known[one.asked.decision_id])
        _settle(runtime, requests, planned, stored, known, answers)


def find_experiment(runtime: Runtime, caller: Caller, key: str) -> Experiment:
    """The experiment of that key, if the caller may use it.

    :raises NotFound: there is none.
    :raises Forbidden: the caller's key is bound to another.
    """
    experiment = runtime.snapshots.current.experiments.get(key)
    if experiment is None or experiment.status != "running":  # another process may have started it a moment ago
        experiment = runtime.snapshots.refresh().experiments.get(key)
    if experiment is None:
        raise unknown_experiment(key)
    if caller.experiment_id not in (None, experiment.id):
        raise Forbidden("wrong_experiment", "This API key is bound to another experiment.")
    return experiment


def experiment_of(runtime: Runtime, experiment_id: int) -> Experiment:
    """The experiment of a stored decision, also when another process made it a moment ago."""
    known = runtime.snapshots.current.by_id.get(experiment_id)
    return known or runtime.snapshots.refresh().by_id[experiment_id]


def _refuse_twins(requests: list[Asked]) -> None:
    seen: dict[str, int] = {}
    for index, item in enumerate(requests):
        first = seen.setdefault(item.decision_id, index)
        if first != index:
            message = f"the same decision_id stands at /decisions/{first}; ids are unique within a batch"
            raise invalid((FieldError(f"/decisions/{index}/decision_id", message),))


def _refuse_too_many(requests: list[Asked]) -> None:
    total = sum(item.request.slots or 1 for item in requests)
    if total > MAX_BATCH:
        message = f"{total:,} decisions with all positions of lists; one call makes at most {MAX_BATCH:,}"
        raise invalid((FieldError("/decisions", message),))


def _make_all_ready(
    runtime: Runtime, caller: Caller, requests: list[Asked], answers: dict[int, Decided]
) -> dict[int, Ready]:
    ready = {}
    for index, item in enumerate(requests):
        if index not in answers:
            experiment = find_experiment(runtime, caller, item.request.experiment)
            with _or_stored(runtime, requests, index, answers):
                ready[index] = make_ready(runtime, caller, experiment, item)
    return ready


@contextmanager
def _or_stored(runtime: Runtime, requests: list[Asked], index: int, answers: dict[int, Decided]) -> Iterator[None]:
    """What cannot be decided any more may have been decided before: then the stored answer counts."""
    try:
        yield
    except LoopwiseError as error:
        item = requests[index]
        known = _stored_answer(runtime, item) if item.request.decision_id else None
        if known is None:
            raise (error if len(requests) == 1 else within(error, f"/decisions/{index}")) from None
        answers[index] = known


def _settle(
    runtime: Runtime,
    requests: list[Asked],
    planned: dict[int, list[Plan]],
    stored: set[str],
    known: dict[str, AnyRow],
    answers: dict[int, Decided],
) -> None:
    """Turn what the writer found into answers; what is neither new nor known must be decided again."""
    for index, made in planned.items():
        head = made[0].row.id
        if head in stored:
            rows, payloads = [one.row for one in made], [one.payload for one in made]
            answer = answer_of(rows, payloads, requests[index].request.slots, made[0].composed)
            answers[index] = Decided(answer, True, rows[0].message)
            for one in made:
                metrics.count_decision(one.experiment, one.row.arm, one.row.propensity)
            if rows[0].dropped:
                metrics.count_dropped(made[0].experiment, rows[0].dropped)
        elif head in known:
            answers[index] = _retried(runtime, requests[index], known[head])


def _stored_answer(runtime: Runtime, item: Asked) -> Decided | None:
    """The answer that a client's own id has already; null when it has none."""
    with transaction(runtime.engine) as connection:
        row = decisions.find(connection, item.decision_id)
    return None if row is None else _retried(runtime, item, row)


def _retried(runtime: Runtime, item: Asked, row: AnyRow) -> Decided:
    if row.body_hash != item.body_hash:
        message = f"decision_id {row.id!r} was used with another request; use a new id, or send the same body."
        raise Conflict("decision_id_reused", message)
    slots = item.request.slots
    with transaction(runtime.engine) as connection:
        config = experiments.config_of(connection, row.experiment_id, row.config_version)
        later = [position_id(row.id, position) for position in range(2, 1 + (slots or 1))]
        found = decisions.find_many(connection, later) if later else {}
        rows = [row, *(found[name] for name in later if name in found)]
        for one in rows:
            state = decisions.confirm(connection, one.id) or one.state
            if state == "unanswered":  # its caller was told 503 and asks again: now it counts
                open_window(connection, experiment_of(runtime, one.experiment_id), one)
    known = {
        action["id"]: action.get("payload") for action in (config["actions"] if row.actions is None else row.actions)
    }
    payloads = [known.get(one.eligible[one.chosen]) for one in rows]  # combinations of composed messages have none
    return Decided(answer_of(rows, payloads, slots, config.get("composition") is not None), False, row.message)


def open_window(connection: Any, experiment: Experiment, row: AnyRow) -> bool:
    """Start the reward window of a decision that waited for it; False when it was open already."""
    window_s = experiment.config.reward.window_s
    return decisions.activate(connection, row.id, from_states=["deferred", "unanswered"], window_s=window_s)
