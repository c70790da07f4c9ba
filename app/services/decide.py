"""Decide: choose an action, store the choice durably with the distribution it was drawn from, answer.

The draw is a keyed hash of the decision id, so the same id draws the same; the stored row is the answer, so a retry gets
it again. What is not known to be stored is never answered.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from app.errors import Conflict, FieldError, Forbidden, LoopwiseError, Unavailable, within
from app.services import metrics
from app.services.choice import Plan, Ready, make_ready, plan
from app.services.decision_writing import HANDLER, WITH_UNITS, Ask
from app.services.experiment_config import invalid
from app.services.ids import new_id
from app.services.keys import Caller
from app.services.lookup import unknown_experiment
from app.services.requests import Asked, DecideRequest
from app.services.runtime import Runtime
from app.services.snapshot import Experiment
from app.store import decisions, experiments
from app.store.decisions import NewDecision
from app.store.engine import AnyRow, transaction

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

    :raises LoopwiseError: see ``app.errors``; then nothing was stored.
    """
    _refuse_twins(requests)
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


def _decide_at_once(
    runtime: Runtime, requests: list[Asked], ready: dict[int, Ready], answers: dict[int, Decided]
) -> None:
    """For units that denied nothing, in experiments that look at nothing else of them: decided in this thread."""
    planned = {}
    for index, one in ready.items():
        with _or_stored(runtime, requests, index, answers):
            planned[index] = plan(runtime, one, None)
    if planned:
        stored, known = runtime.log_writer.submit(HANDLER, [one.row for one in planned.values()])
        _settle(runtime, requests, planned, stored, known, answers)


def _decide_with_units(
    runtime: Runtime, requests: list[Asked], ready: dict[int, Ready], answers: dict[int, Decided]
) -> None:
    """Decided by the log's writer, while it holds the units."""
    if ready:
        asks = [Ask(runtime, index, one, len(requests) > 1) for index, one in ready.items()]
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
    planned: dict[int, Plan],
    stored: set[str],
    known: dict[str, AnyRow],
    answers: dict[int, Decided],
) -> None:
    """Turn what the writer found into answers; what is neither new nor known must be decided again."""
    for index, made in planned.items():
        row = made.row
        if row.id in stored:
            answers[index] = Decided(_answer(row, made.payload), True, row.message)
            metrics.count_decision(made.experiment, row.arm, row.propensity)
        elif row.id in known:
            answers[index] = _retried(runtime, requests[index], known[row.id])


def _stored_answer(runtime: Runtime, item: Asked) -> Decided | None:
    """The answer that a client's own id has already; null when it has none."""
    with transaction(runtime.engine) as connection:
        row = decisions.find(connection, item.decision_id)
    return None if row is None else _retried(runtime, item, row)


def _retried(runtime: Runtime, item: Asked, row: AnyRow) -> Decided:
    if row.body_hash != item.body_hash:
        message = f"decision_id {row.id!r} was used with another request; use a new id, or send the same body."
        raise Conflict("decision_id_reused", message)
    with transaction(runtime.engine) as connection:
        config = experiments.config_of(connection, row.experiment_id, row.config_version)
        state = decisions.confirm(connection, row.id) or row.state
        if state == "unanswered":  # its caller was told 503 and asks again: now it counts
            open_window(connection, experiment_of(runtime, row.experiment_id), row)
    actions = config["actions"] if row.actions is None else row.actions
    name = row.eligible[row.chosen]
    payload = next(action.get("payload") for action in actions if action["id"] == name)
    return Decided(_answer(row, payload), False, row.message)


def open_window(connection: Any, experiment: Experiment, row: AnyRow) -> bool:
    """Start the reward window of a decision that waited for it; False when it was open already."""
    window_s = experiment.config.reward.window_s
    return decisions.activate(connection, row.id, from_states=["deferred", "unanswered"], window_s=window_s)


def _answer(row: NewDecision | AnyRow, payload: Any) -> dict[str, Any]:
    others = sorted((i for i in range(len(row.eligible)) if i != row.chosen), key=lambda i: -row.distribution[i])
    return {
        "decision_id": row.id,
        "arm": row.arm,
        "action": {"id": row.eligible[row.chosen], "payload": payload},
        "propensity": row.propensity,
        "ranking": [{"id": row.eligible[i], "probability": row.distribution[i]} for i in (row.chosen, *others)],
        "policy_version": row.policy_version,
        "ineligible": row.ineligible or [],
    }
