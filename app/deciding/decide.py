"""Decide: choose an action, store the choice durably with the distribution it was drawn from, answer.

The draw is a keyed hash of the decision id, so the same id draws the same; the stored row is the answer, so a retry gets
it again. What is not known to be stored is never answered.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pydantic import BaseModel, JsonValue, TypeAdapter
from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.answer import Answer, answer_of
from app.deciding.plan import PlannedDecision, plan_all
from app.deciding.prepare import PreparedDecision, position_id, prepare
from app.deciding.requests import IdentifiedRequest
from app.deciding.runtime import Runtime
from app.deciding.snapshot import Experiment
from app.deciding.store import decisions
from app.deciding.store.decisions import StoredDecision
from app.deciding.writing import PLANNED, PLANNED_LISTS, WITH_UNITS, QueuedDecision
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, LoopwiseError, NotFound, Unavailable, within
from app.foundation.fields import MAX_BATCH, invalid, repeated
from app.foundation.secrets import Purpose, derive
from app.foundation.store.engine import transaction
from app.registry.lookup import unknown_experiment
from app.registry.store import experiments


class _Payload(BaseModel):
    """What of an action an answer hands back; of the rest, which may be long, nothing is read."""

    id: str
    payload: JsonValue = None


_PAYLOADS = TypeAdapter(list[_Payload])
ATTEMPTS = 5  # each needs another change of the experiment's configuration within milliseconds


class AnsweredDecision(NamedTuple):
    """One answer."""

    answer: Answer
    created: bool  # False: a retry got the stored answer
    message: dict[str, str] | None  # when a message was asked for, what it says; null: nothing


def decide(runtime: Runtime, caller: Caller, requests: Sequence[IdentifiedRequest]) -> list[AnsweredDecision]:
    """Answer all requests in one commit, or none.

    :raises LoopwiseError: see ``app.foundation.errors``; then nothing was stored.
    """
    _refuse_repeated_ids(requests)
    _refuse_too_many(requests)
    batch = _Batch(runtime, caller, requests)
    for attempt in range(ATTEMPTS):
        prepared = batch.prepare()
        # That a unit denied something is found when its decision is stored: then its state must be looked at.
        if attempt or any(one.experiment.governed for one in prepared.values()):
            batch.decide_with_units(prepared)
        else:
            batch.decide_at_once(prepared)
        answers = batch.answers()
        if answers is not None:
            return answers
        runtime.refresh()  # the experiment changed since this process last looked
    raise Unavailable("configuration_changing", "The experiment keeps changing; send the same request again.")


class _Batch:
    """The requests of one call, and the answers that are known so far."""

    def __init__(self, runtime: Runtime, caller: Caller, requests: Sequence[IdentifiedRequest]) -> None:
        self._runtime = runtime
        self._caller = caller
        secret = runtime.settings.secret_key
        self._requests = [request._replace(body_hash=_keyed(secret, request.body_hash)) for request in requests]
        self._answers: dict[int, AnsweredDecision] = {}  # by the request's index

    def answers(self) -> list[AnsweredDecision] | None:
        """All answers, in the order of the requests; null while one is missing."""
        if len(self._answers) < len(self._requests):
            return None
        return [self._answers[index] for index in range(len(self._requests))]

    def prepare(self) -> dict[int, PreparedDecision]:
        """Prepare every request that has no answer yet."""
        prepared = {}
        for index, identified in enumerate(self._requests):
            if index not in self._answers:
                experiment = find_experiment(self._runtime, self._caller, identified.request.experiment)
                with self._or_stored(index):
                    prepared[index] = prepare(self._runtime, self._caller, experiment, identified)
        return prepared

    def decide_at_once(self, prepared: Mapping[int, PreparedDecision]) -> None:
        """For units that denied nothing, in experiments that look at nothing else of them: planned in this thread."""
        planned = {}
        for index, one in prepared.items():
            with self._or_stored(index):
                planned[index] = plan_all(self._runtime, one)
        if planned:
            handler = PLANNED_LISTS if any(self._requests[index].request.slots for index in planned) else PLANNED
            rows = [position.row for positions in planned.values() for position in positions]
            stored = self._runtime.log_writer.submit(handler, rows)
            self._settle(planned, stored.new, stored.known)

    def decide_with_units(self, prepared: Mapping[int, PreparedDecision]) -> None:
        """Planned by the log's writer, while it holds the units."""
        if not prepared:
            return
        queued = [
            QueuedDecision(self._runtime, index, one, len(self._requests) > 1, position)
            for index, one in prepared.items()
            for position in range(1, 1 + one.identified.positions)
        ]
        planned, new, known = self._runtime.log_writer.submit(WITH_UNITS, queued)
        for index, one in prepared.items():
            if index not in planned and one.identified.decision_id in known:
                self._answers[index] = self._retried(index, known[one.identified.decision_id])
        self._settle(planned, new, known)

    @contextmanager
    def _or_stored(self, index: int) -> Iterator[None]:
        """What cannot be decided any more may have been decided before: then the stored answer counts."""
        try:
            yield
        except LoopwiseError as error:
            known = self._stored_answer(index)
            if known is None:
                raise (error if len(self._requests) == 1 else within(error, f"/decisions/{index}")) from None
            self._answers[index] = known

    def _settle(
        self, planned: Mapping[int, list[PlannedDecision]], new: set[str], known: Mapping[str, StoredDecision]
    ) -> None:
        """Turn what the writer did into answers; what is neither new nor known must be decided again."""
        for index, positions in planned.items():
            head = positions[0].row.id
            if head in new:
                self._answers[index] = self._created(index, positions)
            elif head in known:
                self._answers[index] = self._retried(index, known[head])

    def _created(self, index: int, positions: list[PlannedDecision]) -> AnsweredDecision:
        first = positions[0]
        for position in positions:
            metrics.count_decision(position.experiment, position.row.arm, position.row.propensity)
        if first.row.dropped:
            metrics.count_dropped(first.experiment, first.row.dropped)
        rows, payloads = [position.row for position in positions], [position.payload for position in positions]
        answer = answer_of(rows, payloads, self._requests[index].request.slots, composed=first.composed)
        return AnsweredDecision(answer, True, first.row.message)

    def _stored_answer(self, index: int) -> AnsweredDecision | None:
        """The answer that a caller's own id has already; null: it has none."""
        identified = self._requests[index]
        if not identified.request.decision_id:
            return None
        with transaction(self._runtime.engine) as connection:
            row = decisions.find(connection, identified.decision_id)
        return None if row is None else self._retried(index, row)

    def _retried(self, index: int, row: StoredDecision) -> AnsweredDecision:
        identified = self._requests[index]
        if row.body_hash != identified.body_hash:
            message = f"decision_id {row.id!r} was used with another request; use a new id, or send the same body."
            raise Conflict("decision_id_reused", message)
        with transaction(self._runtime.engine) as connection:
            config = experiments.config_of(connection, row.experiment_id, row.config_version)
            later = [position_id(row.id, position) for position in range(2, 1 + identified.positions)]
            found = decisions.find_many(connection, later) if later else {}
            rows = [row, *(found[decision_id] for decision_id in later if decision_id in found)]
            for one in rows:
                state = decisions.confirm(connection, one.id) or one.state
                if state == "unanswered":  # its caller was told 503 and asks again: now it counts
                    open_window(connection, experiment_of(self._runtime, one.experiment_id), one)
        actions = config["actions"] if row.actions is None else row.actions
        payload_of = {action.id: action.payload for action in _PAYLOADS.validate_python(actions)}
        payloads = [payload_of.get(one.eligible[one.chosen]) for one in rows]  # combinations of messages have none
        composed = config.get("composition") is not None
        return AnsweredDecision(
            answer_of(rows, payloads, identified.request.slots, composed=composed), False, row.message
        )


def _keyed(secret: str, body_hash: str) -> str:
    """What is stored of a body's hash: somebody who reads the log cannot try out what a dropped or hashed field was."""
    return derive(secret, Purpose.BODY_HASH, body_hash.encode()).hex()


def find_experiment(runtime: Runtime, caller: Caller, key: str) -> Experiment:
    """The experiment of that key, if the caller may use it.

    :raises NotFound: there is none.
    :raises Forbidden: the caller's key is bound to another.
    """
    experiment = runtime.snapshots.current.experiments.get(key)
    if experiment is None or experiment.status != "running":  # another process may have started it a moment ago
        experiment = runtime.refresh().experiments.get(key)
    if experiment is None:
        raise unknown_experiment(key)
    caller.check_bound(experiment.id)
    return experiment


def experiment_of(runtime: Runtime, experiment_id: int) -> Experiment:
    """The experiment of a stored decision, also when another process made it a moment ago."""
    known = runtime.snapshots.current.by_id.get(experiment_id)
    return known or runtime.refresh().by_id[experiment_id]


def unknown_decision(decision_id: str) -> NotFound:
    """The error for an id that no decision has."""
    return NotFound("unknown_decision", f"There is no decision {decision_id!r}.")


def open_window(connection: Connection, experiment: Experiment, row: StoredDecision) -> bool:
    """Start the reward window of a decision that waited for it; False when it was open already."""
    window_s = experiment.config.reward.window_s
    return decisions.activate(connection, row.id, from_states=["deferred", "unanswered"], window_s=window_s)


def _refuse_repeated_ids(requests: Sequence[IdentifiedRequest]) -> None:
    for index, first in repeated(identified.decision_id for identified in requests):
        params = {"first": f"/decisions/{first}"}
        raise invalid((FieldError(f"/decisions/{index}/decision_id", "decision_id_repeated", params),))


def _refuse_too_many(requests: Sequence[IdentifiedRequest]) -> None:
    total = sum(identified.positions for identified in requests)
    if total > MAX_BATCH:
        params = {"total": total, "limit": MAX_BATCH}
        raise invalid((FieldError("/decisions", "too_many_decisions", params),))
