"""Decide: choose an action, store the choice durably with its distribution, and answer.

The draw is a keyed hash of the decision id, so the same id draws the same action. The answer is built from the stored
row, so a retry gets the same answer. No decision is answered before it is known to be stored.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pydantic import BaseModel, JsonValue, TypeAdapter
from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.answer import Answer, answer_of
from app.deciding.naming import experiment_of, find_experiment
from app.deciding.plan import PlannedDecision, plan_all
from app.deciding.prepare import PreparedDecision, position_id, prepare
from app.deciding.requests import IdentifiedRequest
from app.deciding.runtime import Runtime
from app.deciding.snapshot import Experiment
from app.deciding.store import decisions
from app.deciding.store.decisions import StoredDecision
from app.deciding.writing import PLANNED, PLANNED_LISTS, SEEN_BY_NOBODY, WITH_UNITS, QueuedDecision
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, LoopwiseError, Unavailable, within
from app.foundation.fields import MAX_BATCH, JsonObject, invalid, repeated
from app.foundation.running.steps import Blocking, Slices, Steps, run
from app.foundation.secrets import Purpose, derive
from app.foundation.store.engine import transaction
from app.foundation.store.fragments import DecisionKey
from app.registry.store import experiments


class _Payload(BaseModel):
    """What of an action an answer hands back; the rest, which may be long, is not read."""

    id: str
    payload: JsonValue = None


_PAYLOADS = TypeAdapter(list[_Payload])
# Another attempt is needed only if the experiment's configuration changes within milliseconds. Somebody who ships and rolls back
# in quick succession on a busy machine must not cost a caller its answer; the deadline ends the attempts anyway.
ATTEMPTS = 20


class AnsweredDecision(NamedTuple):
    """One answer, and whether it is new."""

    answer: Answer
    created: bool  # False: a retry got the stored answer
    message: dict[str, str] | None  # the rendered message; None: no message was requested, or it says nothing
    experiment_id: int


def decide(runtime: Runtime, caller: Caller, requests: Sequence[IdentifiedRequest]) -> list[AnsweredDecision]:
    """Answer all requests in one commit, or none of them. This thread waits; see ``deciding``."""
    return run(deciding(runtime, caller, requests))


def deciding(runtime: Runtime, caller: Caller, requests: Sequence[IdentifiedRequest]) -> Steps[list[AnsweredDecision]]:
    """Answer all requests in one commit, or none of them, in steps.

    :raises LoopwiseError: nothing was stored; see ``app.foundation.errors``.
    """
    _refuse_repeated_ids(requests)
    _refuse_too_many(requests)
    batch = _Batch(runtime, caller, requests)
    for attempt in range(ATTEMPTS):
        prepared = yield from batch.prepare()
        # The first attempt assumes that the units denied nothing. Storing a decision of a unit that did denies fails,
        # and the next attempt reads the state of every unit.
        if attempt or any(decision.experiment.governed for decision in prepared.values()):
            yield from batch.decide_with_units(prepared)
        else:
            yield from batch.decide_at_once(prepared)
        answers = batch.answers()
        if answers is not None:
            return answers
        yield Blocking(runtime.refresh)  # the experiment has changed since this process last read it
    raise Unavailable("configuration_changing", "The experiment keeps changing; send the same request again.")


def disown(runtime: Runtime, answers: Sequence[AnsweredDecision]) -> None:
    """The caller was gone when the answer came: the new decisions do not count unless it asks again."""
    keys = [
        (decided.experiment_id, part["decision_id"])
        for decided in answers
        if decided.created
        for part in decided.answer.get("positions", [decided.answer])
    ]
    if keys:
        runtime.log_writer.disown(SEEN_BY_NOBODY, keys)


class _Batch:
    """The requests of one call, and their answers so far."""

    def __init__(self, runtime: Runtime, caller: Caller, requests: Sequence[IdentifiedRequest]) -> None:
        self._runtime = runtime
        self._caller = caller
        secret = runtime.settings.secret_key
        self._requests = [_keyed(secret, request) for request in requests]
        self._answers: dict[int, AnsweredDecision] = {}  # by the request's index

    def answers(self) -> list[AnsweredDecision] | None:
        """Return all answers in the order of the requests, or None while an answer is missing."""
        if len(self._answers) < len(self._requests):
            return None
        return [self._answers[index] for index in range(len(self._requests))]

    def prepare(self) -> Steps[dict[int, PreparedDecision]]:
        """Prepare every request that has no answer yet."""
        prepared = {}
        slices = Slices()
        for index, identified in enumerate(self._requests):
            if index not in self._answers:
                yield from slices.turn()
                experiment = yield from find_experiment(self._runtime, self._caller, identified.request.experiment)
                try:
                    prepared[index] = yield from prepare(self._runtime, self._caller, experiment, identified)
                except LoopwiseError as error:
                    yield from self._stored_or(index, experiment, error)
        return prepared

    def decide_at_once(self, prepared: Mapping[int, PreparedDecision]) -> Steps[None]:
        """Plan here: the units denied nothing, and no experiment depends on their state."""
        planned = {}
        slices = Slices()
        for index, decision in prepared.items():
            yield from slices.turn()
            try:
                planned[index] = plan_all(self._runtime, decision)
            except LoopwiseError as error:
                yield from self._stored_or(index, decision.experiment, error)
        if planned:
            handler = PLANNED_LISTS if any(self._requests[index].request.slots for index in planned) else PLANNED
            rows = [position.row for positions in planned.values() for position in positions]
            result = yield from self._runtime.log_writer.stored(handler, rows)
            yield from self._settle(planned, result.new, result.stored)

    def decide_with_units(self, prepared: Mapping[int, PreparedDecision]) -> Steps[None]:
        """Let the log's writer plan, while it holds the locks of the units."""
        if not prepared:
            return
        queued = [
            QueuedDecision(self._runtime, index, decision, len(self._requests) > 1, position)
            for index, decision in prepared.items()
            for position in range(1, 1 + decision.identified.positions)
        ]
        planned, new, stored = yield from self._runtime.log_writer.stored(WITH_UNITS, queued)
        keys = {decision.request_index: decision.first_key for decision in queued}
        retried = {index: stored[key] for index, key in keys.items() if index not in planned and key in stored}
        yield from self._retry(retried)
        yield from self._settle(planned, new, stored)

    def _stored_or(self, index: int, experiment: Experiment, error: LoopwiseError) -> Steps[None]:
        """Use the stored answer if the request fails now but was decided before; otherwise raise the error."""
        stored: AnsweredDecision | None = yield Blocking(partial(self._stored_answer, index, experiment))
        if stored is None:
            raise (error if len(self._requests) == 1 else within(error, f"/decisions/{index}")) from None
        self._answers[index] = stored

    def _settle(
        self,
        planned: Mapping[int, list[PlannedDecision]],
        new: set[DecisionKey],
        stored: Mapping[DecisionKey, StoredDecision],
    ) -> Steps[None]:
        """Turn the writer's result into answers. A decision that is neither new nor stored has to be decided again."""
        slices = Slices()
        chances: dict[tuple[str, str], list[float]] = {}  # propensities by experiment and arm
        retried: dict[int, StoredDecision] = {}
        for index, positions in planned.items():
            first = positions[0].row.key
            if first in new:
                yield from slices.turn()
                for position in positions:
                    chances.setdefault((position.experiment, position.row.arm), []).append(position.row.propensity)
                self._answers[index] = self._created(index, positions)
            elif first in stored:
                retried[index] = stored[first]
        metrics.count_decisions(chances)
        yield from self._retry(retried)

    def _created(self, index: int, positions: list[PlannedDecision]) -> AnsweredDecision:
        first = positions[0]
        if first.row.dropped:
            metrics.count_dropped(first.experiment, first.row.dropped)
        rows, payloads = [position.row for position in positions], [position.payload for position in positions]
        answer = answer_of(rows, payloads, self._requests[index].request.slots, composed=first.composed)
        return AnsweredDecision(answer, True, first.row.message, first.row.experiment_id)

    def _stored_answer(self, index: int, experiment: Experiment) -> AnsweredDecision | None:
        """Return the stored answer to the caller's own id, or None if there is none."""
        identified = self._requests[index]
        if not identified.request.decision_id:
            return None
        with transaction(self._runtime.engine) as connection:
            row = decisions.find(connection, (experiment.id, identified.decision_id))
        return None if row is None else self._answer_again({index: row})[index]

    def _retry(self, rows: Mapping[int, StoredDecision]) -> Steps[None]:
        if rows:
            answered: dict[int, AnsweredDecision] = yield Blocking(partial(self._answer_again, rows))
            self._answers |= answered

    def _answer_again(self, rows: Mapping[int, StoredDecision]) -> dict[int, AnsweredDecision]:
        """Return the answers of stored decisions, by the index of the request that asks again, in one transaction."""
        for index, row in rows.items():
            if row.body_hash != self._requests[index].body_hash:
                message = f"decision_id {row.id!r} was used with another request; use a new id, or send the same body."
                raise Conflict("decision_id_reused", message)
        with transaction(self._runtime.engine) as connection:
            later = self._later_positions(connection, rows)
            stored = [position for index, row in rows.items() for position in (row, *later[index])]
            self._count_again(connection, stored)
            versions = {(row.experiment_id, row.config_version) for row in stored}
            configs = {version: experiments.config_of(connection, *version) for version in versions}
        return {
            index: self._stored_answer_of(index, [row, *later[index]], configs[row.experiment_id, row.config_version])
            for index, row in rows.items()
        }

    def _later_positions(
        self, connection: Connection, rows: Mapping[int, StoredDecision]
    ) -> dict[int, list[StoredDecision]]:
        """Return the rows of the later positions of lists, by the request's index."""
        keys = {
            index: [
                (row.experiment_id, position_id(row.id, position))
                for position in range(2, 1 + self._requests[index].positions)
            ]
            for index, row in rows.items()
        }
        wanted = [key for names in keys.values() for key in names]
        found = decisions.find_many(connection, wanted) if wanted else {}
        return {index: [found[key] for key in names if key in found] for index, names in keys.items()}

    def _count_again(self, connection: Connection, rows: list[StoredDecision]) -> None:
        """Let decisions count whose caller got status 503 and retries."""
        states = decisions.confirm(connection, [row.key for row in rows])
        for row in rows:
            if states.get(row.key, row.state) == "unanswered":
                open_window(connection, experiment_of(self._runtime, row.experiment_id), row)

    def _stored_answer_of(self, index: int, rows: list[StoredDecision], config: JsonObject) -> AnsweredDecision:
        first = rows[0]
        actions = config["actions"] if first.actions is None else first.actions
        payload_of = {action.id: action.payload for action in _PAYLOADS.validate_python(actions)}
        payloads = [payload_of.get(row.eligible[row.chosen]) for row in rows]  # combinations have no payload
        composed = config.get("composition") is not None
        answer = answer_of(rows, payloads, self._requests[index].request.slots, composed=composed)
        return AnsweredDecision(answer, False, first.message, first.experiment_id)


def _keyed(secret: str, request: IdentifiedRequest) -> IdentifiedRequest:
    """Key the hash of a body, so that readers of the log cannot guess the value of a dropped or hashed field by trial."""
    if not request.body_hash:
        return request
    return request._replace(body_hash=derive(secret, Purpose.BODY_HASH, request.body_hash.encode()).hex())


def open_window(connection: Connection, experiment: Experiment, row: StoredDecision) -> bool:
    """Start the reward window of a deferred or unanswered decision; returns False if the window was open already."""
    window_s = experiment.config.reward.window_s
    return decisions.activate(connection, row.key, from_states=["deferred", "unanswered"], window_s=window_s)


def _refuse_repeated_ids(requests: Sequence[IdentifiedRequest]) -> None:
    for index, first in repeated((identified.request.experiment, identified.decision_id) for identified in requests):
        params = {"first": f"/decisions/{first}"}
        raise invalid((FieldError(f"/decisions/{index}/decision_id", "decision_id_repeated", params),))


def _refuse_too_many(requests: Sequence[IdentifiedRequest]) -> None:
    total = sum(identified.positions for identified in requests)
    if total > MAX_BATCH:
        params = {"total": total, "limit": MAX_BATCH}
        raise invalid((FieldError("/decisions", "too_many_decisions", params),))
