"""Explicit feedback: check, store durably, answer with a receipt; the same answer twice gets the same receipt.

Like rewards (``app.learning.rewards``), under the same gate. An answer is kept whatever the experiment's schema says of it;
what it is worth is the learner's business. How often a unit may answer is exact: the unit is held from counting to commit.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple, TypedDict

import orjson
from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.decide import experiment_of, unknown_decision
from app.deciding.runtime import Runtime
from app.deciding.store import units
from app.design.feedback_config import DEFAULT_LIMITS, STARS, TOP_SCORE, FeedbackSpec
from app.foundation import metrics
from app.foundation.errors import (
    Conflict,
    FieldError,
    LoopwiseError,
    TooManyRequests,
    within,
)
from app.foundation.fields import invalid
from app.foundation.group_commit import Handler, keep
from app.foundation.times import iso
from app.learning.feedback_request import FeedbackRequest
from app.learning.store import feedback as store
from app.learning.store import rewards
from app.learning.store.feedback import Answered, FeedbackValue, NewFeedback, Recent, StoredFeedback

Place = tuple[str, str]  # (decision id, feedback id)
EVENT_ONLY = ("dismissed", "not_interested", "comment")  # kinds without a value


class FeedbackAnswer(TypedDict):
    """What a feedback call answers."""

    decision_id: str
    feedback_id: str
    kind: str
    value: FeedbackValue
    comment: str | None
    occurred_at: str  # ISO 8601, UTC
    received_at: str
    late: bool


class Receipt(NamedTuple):
    """A stored answer."""

    answer: FeedbackAnswer
    created: bool  # False: it was stored before
    experiment: str  # key


class _Row(NamedTuple):
    runtime: Runtime
    caller: Caller
    new: NewFeedback


class _Batch(NamedTuple):
    """What is known while one batch is checked."""

    decisions: Mapping[str, Answered]
    known: Mapping[Place, StoredFeedback]
    recent: Mapping[tuple[str, int], Recent]
    new: dict[Place, NewFeedback]
    added: dict[tuple[str, int], int]  # answers of this batch by (unit, experiment id)


def feedback(runtime: Runtime, caller: Caller, requests: list[FeedbackRequest]) -> list[Receipt]:
    """Store all answers in one commit, or none.

    :raises NotFound: an unknown decision.
    :raises Unprocessable: a value that this kind of answer does not have.
    :raises Conflict: another answer under the same feedback_id.
    :raises Forbidden: a decision of another experiment than the caller's key is bound to.
    :raises TooManyRequests: the unit gave more answers than the schema takes.
    """
    rows = []
    for index, request in enumerate(requests):
        try:
            rows.append(_Row(runtime, caller, _new(request)))
        except LoopwiseError as error:
            raise (error if len(requests) == 1 else within(error, f"/feedback/{index}")) from None
    receipts = runtime.log_writer.submit(HANDLER, rows)
    for receipt in receipts:
        if receipt.created:
            metrics.count_feedback(receipt.experiment, receipt.answer["kind"])
    return receipts


def _new(request: FeedbackRequest) -> NewFeedback:
    value = request.value
    if isinstance(value, int | float):
        if not 0 <= value <= TOP_SCORE:  # of no kind, and perhaps too large to be hashed or stored
            raise invalid((FieldError("/value", "out_of_range", {"low": 0, "high": TOP_SCORE}),))
        value = float(value) if request.kind == "score" else value
    feedback_id = request.feedback_id
    if feedback_id is None:
        identity = orjson.dumps([request.kind, value, request.comment, request.occurred_at])
        feedback_id = "auto-" + hashlib.sha256(identity).hexdigest()[:24]
    return NewFeedback(request.decision_id, feedback_id, request.kind, value, request.comment, request.occurred_at)


def _store(connection: Connection, jobs: list[list[_Row]]) -> list[list[Receipt] | LoopwiseError]:
    """The group commit's handler: per job its receipts, or its first error (then nothing of the job is stored)."""
    rewards.hold_gate_shared(connection)
    rows = [row for job in jobs for row in job]
    ids = list({row.new.decision_id for row in rows})
    decisions = store.decisions_of(connection, ids)
    units.hold(connection, sorted({one.unit_id for one in decisions.values()}))
    known = store.find_many(connection, ids)
    batch = _Batch(decisions, known, _recent(connection, rows, decisions), {}, {})
    errors = [_first_error(job, batch) for job in jobs]
    stored = store.insert_new(connection, list(batch.new.values())) if batch.new else {}
    known_now, fresh = known | stored, set(stored)  # of several jobs with one answer the first made it
    return [
        error or [_receipt(row, batch, known_now, fresh) for row in job]
        for job, error in zip(jobs, errors, strict=True)
    ]


def _recent(
    connection: Connection, rows: list[_Row], decisions: Mapping[str, Answered]
) -> dict[tuple[str, int], Recent]:
    windows = {}
    for row in rows:
        found = decisions.get(row.new.decision_id)
        if found is not None:
            windows[found.unit_id, found.experiment_id] = _spec(row, found).limit_window_s
    return store.recent(connection, windows) if windows else {}


def _spec(row: _Row, decision: Answered) -> FeedbackSpec:
    return experiment_of(row.runtime, decision.experiment_id).config.feedback or DEFAULT_LIMITS


def _first_error(job: list[_Row], batch: _Batch) -> LoopwiseError | None:
    """Check a job against what is stored and what this batch is about to store; its new rows join the batch."""
    mine: dict[Place, NewFeedback] = {}
    added: dict[tuple[str, int], int] = {}
    for index, row in enumerate(job):
        try:
            decision = _checked(row, batch)
            place = (row.new.decision_id, row.new.feedback_id)
            before = batch.known.get(place) or batch.new.get(place) or mine.get(place)
            if before is not None:
                _refuse_another(before, row.new)
                continue
            spec = _spec(row, decision)
            _check_value(row.new, spec)
            unit = (decision.unit_id, decision.experiment_id)
            _check_limit(spec, batch.recent[unit], batch.added.get(unit, 0) + added.get(unit, 0))
            mine[place] = row.new
            added[unit] = added.get(unit, 0) + 1
        except LoopwiseError as error:
            return error if len(job) == 1 else within(error, f"/feedback/{index}")
    batch.new.update(mine)
    for unit, count in added.items():
        batch.added[unit] = batch.added.get(unit, 0) + count
    return None


def _checked(row: _Row, batch: _Batch) -> Answered:
    decision = batch.decisions.get(row.new.decision_id)
    if decision is None:
        raise unknown_decision(row.new.decision_id)
    row.caller.check_bound(decision.experiment_id, "decision")
    return decision


def _refuse_another(before: StoredFeedback | NewFeedback, new: NewFeedback) -> None:
    same = (before.kind, before.value, before.comment) == (new.kind, new.value, new.comment)
    if not same or (new.occurred_at is not None and before.occurred_at != new.occurred_at):
        message = f"feedback_id {new.feedback_id!r} of this decision has another answer; use a new feedback_id."
        raise Conflict("feedback_id_reused", message)


def _check_value(new: NewFeedback, spec: FeedbackSpec) -> None:
    """:raises Unprocessable: saying what this kind of answer takes."""
    value, problem = new.value, None
    if new.kind in EVENT_ONLY and value is not None:
        problem = FieldError("/value", "value_not_taken", {"kind": new.kind})
    elif new.kind == "thumbs" and value not in ("up", "down"):
        problem = FieldError("/value", "not_a_thumb")
    elif new.kind == "stars" and not (isinstance(value, int) and 1 <= value <= STARS):
        problem = FieldError("/value", "not_whole_in_range", {"low": 1, "high": STARS})
    elif new.kind == "score" and not isinstance(value, float):
        problem = FieldError("/value", "out_of_range", {"low": 0, "high": TOP_SCORE})
    elif new.kind == "reason":
        problem = _reason_problem(value, spec)
    elif new.kind == "comment" and not new.comment:
        problem = FieldError("/comment", "no_comment")
    if problem:
        raise invalid((problem,))


def _reason_problem(value: FeedbackValue, spec: FeedbackSpec) -> FieldError | None:
    if not isinstance(value, str) or not value:
        return FieldError("/value", "no_reason")
    if spec.reasons is not None and value not in spec.reasons:
        return FieldError("/value", "unknown_reason", {"known": list(spec.reasons)[:20]})
    return None


def _check_limit(spec: FeedbackSpec, recent: Recent, added: int) -> None:
    if recent.answers + added >= spec.limit:
        wait_s = recent.frees_s if recent.answers else spec.limit_window_s
        message = (
            f"This unit gave {spec.limit} answers within {spec.limit_window_s:g} seconds already; try again later."
        )
        raise TooManyRequests("feedback_limit", message, retry_after_s=max(1, math.ceil(wait_s)))


def _receipt(row: _Row, batch: _Batch, known: Mapping[Place, StoredFeedback], fresh: set[Place]) -> Receipt:
    place = (row.new.decision_id, row.new.feedback_id)
    found = known[place]
    answer: FeedbackAnswer = {
        "decision_id": found.decision_id,
        "feedback_id": found.feedback_id,
        "kind": found.kind,
        "value": found.value,
        "comment": found.comment,
        "occurred_at": iso(found.occurred_at),
        "received_at": iso(found.received_at),
        "late": found.late,
    }
    experiment = experiment_of(row.runtime, batch.decisions[place[0]].experiment_id)
    created = place in fresh
    fresh.discard(place)
    return Receipt(answer, created, experiment.key)


HANDLER: Handler[_Row, list[Receipt]] = Handler(_store, keep)
