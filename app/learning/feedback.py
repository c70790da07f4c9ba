"""Explicit feedback: check, store durably, return a receipt. The same answer sent twice gets the same receipt.

Answers are stored under the same gate as rewards (``app.learning.rewards``). They are stored whatever their value under the
experiment's feedback schema; the learner computes the value. The limit of answers per unit is exact, because the unit is
locked from counting to commit.
"""

import hashlib
import math
from collections.abc import Mapping, Sized
from datetime import UTC, datetime
from typing import NamedTuple, NotRequired, TypedDict

import orjson
from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.naming import experiment_of, find_decision
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
from app.foundation.running.jobs import Handler, keep
from app.foundation.running.steps import Steps, run
from app.foundation.store.fragments import DecisionKey
from app.foundation.times import iso
from app.learning.feedback_request import FeedbackRequest
from app.learning.store import feedback as store
from app.learning.store import rewards
from app.learning.store.feedback import Answered, FeedbackKey, FeedbackValue, NewFeedback, Recent, StoredFeedback

OWN_ID = "auto-"  # begins the ids of answers that came without one
EVENT_ONLY = ("dismissed", "not_interested", "comment")  # kinds without a value


class FeedbackAnswer(TypedDict):
    """The answer to a feedback call."""

    decision_id: str
    feedback_id: str
    kind: str
    value: FeedbackValue
    comment: str | None
    occurred_at: str  # ISO 8601, UTC
    received_at: str
    late: bool
    test: NotRequired[bool]  # true: of a trial, checked and not kept


class Receipt(NamedTuple):
    """The receipt of a stored answer."""

    answer: FeedbackAnswer
    created: bool  # False: it was stored before
    experiment: str  # key


class _Row(NamedTuple):
    runtime: Runtime
    caller: Caller
    request: FeedbackRequest
    value: FeedbackValue
    feedback_id: str


class _Batch(NamedTuple):
    """What is read and collected while one batch is checked."""

    decisions: Mapping[DecisionKey, Answered]
    stored: Mapping[FeedbackKey, StoredFeedback]
    recent: Mapping[tuple[str, int], Recent]
    new: dict[FeedbackKey, NewFeedback]
    added: dict[tuple[str, int], int]  # answers of this batch by (unit, experiment id)


def feedback(runtime: Runtime, caller: Caller, requests: list[FeedbackRequest]) -> list[Receipt]:
    """Store all answers in one commit, or none of them. This thread waits; see ``answering``."""
    return run(answering(runtime, caller, requests))


def answering(runtime: Runtime, caller: Caller, requests: list[FeedbackRequest]) -> Steps[list[Receipt]]:
    """Store all answers in one commit, or none of them, in steps.

    :raises NotFound: a decision does not exist, or belongs to another experiment than the caller's API key.
    :raises Unprocessable: a value does not belong to its kind of answer.
    :raises Conflict: several experiments have a decision of that id, and the call names none.
    :raises Conflict: another answer with the same feedback_id is stored.
    :raises TooManyRequests: the unit has given as many answers as the schema allows.
    """
    rows = []
    for index, request in enumerate(requests):
        try:
            rows.append(_row(runtime, caller, request))
        except LoopwiseError as error:
            raise _within(error, requests, index) from None
    receipts = yield from runtime.log_writer.stored(HANDLER, rows)
    for receipt in receipts:
        if receipt.created:
            metrics.count_feedback(receipt.experiment, receipt.answer["kind"])
    return receipts


def _row(runtime: Runtime, caller: Caller, request: FeedbackRequest) -> _Row:
    value = request.value
    if isinstance(value, int | float):
        if not 0 <= value <= TOP_SCORE:  # no kind allows it, and it may be too large to hash or store
            raise invalid((FieldError("/value", "out_of_range", {"low": 0, "high": TOP_SCORE}),))
        value = float(value) + 0.0 if request.kind == "score" else value  # -0.0 and 0.0 are one value
    feedback_id = request.feedback_id
    if feedback_id is None:
        # The time is no part of it: clients stamp each retry anew. None stands where the time of older versions was.
        identity = orjson.dumps([request.kind, value, request.comment, None])
        feedback_id = OWN_ID + hashlib.sha256(identity).hexdigest()[:24]
    return _Row(runtime, caller, request, value, feedback_id)


def _store(connection: Connection, jobs: list[list[_Row]]) -> list[list[Receipt] | LoopwiseError]:
    """Handle a group commit: return the receipts of each job, or its first error, and then store nothing of that job."""
    rewards.hold_gate_shared(connection)
    decisions = store.decisions_of(connection, {row.request.decision_id for job in jobs for row in job})
    named = [_name(job, decisions) for job in jobs]
    meant = {new.decision for answers in named if not isinstance(answers, LoopwiseError) for new in answers}
    answered = {key for key in meant if not decisions[key].trial}
    units.hold(connection, sorted({decisions[key].unit_id for key in answered}))
    stored = store.find_many(connection, answered)
    runtime = jobs[0][0].runtime  # of the process, the same in every row
    windows = {(decisions[key].unit_id, key[0]): _spec(runtime, key[0]).limit_window_s for key in answered}
    recent = store.recent(connection, windows) if windows else {}
    batch = _Batch(decisions, stored, recent, {}, {})
    checked = [
        answers if isinstance(answers, LoopwiseError) else _check_job(job, answers, batch)
        for job, answers in zip(jobs, named, strict=True)
    ]
    inserted = store.insert_new(connection, list(batch.new.values())) if batch.new else {}
    all_stored, fresh = stored | inserted, set(inserted)  # if several jobs have the same answer, the first creates it
    return [
        answers
        if isinstance(answers, LoopwiseError)
        else [
            _of_a_trial(row.runtime, new)
            if decisions[new.decision].trial
            else _receipt(row.runtime, new, all_stored, fresh)
            for row, new in zip(job, answers, strict=True)
        ]
        for job, answers in zip(jobs, checked, strict=True)
    ]


def _name(job: list[_Row], decisions: Mapping[DecisionKey, Answered]) -> list[NewFeedback] | LoopwiseError:
    """Find the decisions that the answers of a job mean."""
    having: dict[str, list[int]] = {}
    for experiment_id, decision_id in decisions:
        having.setdefault(decision_id, []).append(experiment_id)
    answers = []
    for index, (runtime, caller, request, value, feedback_id) in enumerate(job):
        experiments = having.get(request.decision_id, ())
        try:
            decision = find_decision(runtime, caller, request.decision_id, request.experiment, experiments)
        except LoopwiseError as error:
            return _within(error, job, index)
        answers.append(NewFeedback(*decision, feedback_id, request.kind, value, request.comment, request.occurred_at))
    return answers


def _within(error: LoopwiseError, job: Sized, index: int) -> LoopwiseError:
    return error if len(job) == 1 else within(error, f"/feedback/{index}")


def _spec(runtime: Runtime, experiment_id: int) -> FeedbackSpec:
    return experiment_of(runtime, experiment_id).config.feedback or DEFAULT_LIMITS


def _check_job(job: list[_Row], answers: list[NewFeedback], batch: _Batch) -> list[NewFeedback] | LoopwiseError:
    """Check a job against the stored and the new rows of this batch. Add its new rows to the batch if all are valid."""
    job_rows: dict[FeedbackKey, NewFeedback] = {}
    added: dict[tuple[str, int], int] = {}
    for index, (row, new) in enumerate(zip(job, answers, strict=True)):
        try:
            before = batch.stored.get(new.key) or batch.new.get(new.key) or job_rows.get(new.key)
            if before is not None:
                _refuse_another(before, new)
                continue
            spec = _spec(row.runtime, new.experiment_id)
            _check_value(new, spec)
            if batch.decisions[new.decision].trial:
                continue
            unit = (batch.decisions[new.decision].unit_id, new.experiment_id)
            _check_limit(spec, batch.recent[unit], batch.added.get(unit, 0) + added.get(unit, 0))
            job_rows[new.key] = new
            added[unit] = added.get(unit, 0) + 1
        except LoopwiseError as error:
            return _within(error, job, index)
    batch.new.update(job_rows)
    for unit, count in added.items():
        batch.added[unit] = batch.added.get(unit, 0) + count
    return answers


def _refuse_another(before: StoredFeedback | NewFeedback, new: NewFeedback) -> None:
    same = (before.kind, before.value, before.comment) == (new.kind, new.value, new.comment)
    timed = new.occurred_at is not None and not new.feedback_id.startswith(OWN_ID)
    if not same or (timed and before.occurred_at != new.occurred_at):
        message = f"feedback_id {new.feedback_id!r} of this decision has another answer; use a new feedback_id."
        raise Conflict("feedback_id_reused", message)


def _check_value(new: NewFeedback, spec: FeedbackSpec) -> None:
    """:raises Unprocessable: the value does not belong to its kind; the error says which values do."""
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
            f"This unit has already given {spec.limit} answers within {spec.limit_window_s:g} seconds; try again later."
        )
        raise TooManyRequests("feedback_limit", message, retry_after_s=max(1, math.ceil(wait_s)))


def _receipt(
    runtime: Runtime, new: NewFeedback, stored: Mapping[FeedbackKey, StoredFeedback], fresh: set[FeedbackKey]
) -> Receipt:
    feedback_row = stored[new.key]
    answer: FeedbackAnswer = {
        "decision_id": feedback_row.decision_id,
        "feedback_id": feedback_row.feedback_id,
        "kind": feedback_row.kind,
        "value": feedback_row.value,
        "comment": feedback_row.comment,
        "occurred_at": iso(feedback_row.occurred_at),
        "received_at": iso(feedback_row.received_at),
        "late": feedback_row.late,
    }
    created = new.key in fresh
    fresh.discard(new.key)
    return Receipt(answer, created, experiment_of(runtime, new.experiment_id).key)


def _of_a_trial(runtime: Runtime, new: NewFeedback) -> Receipt:
    """The receipt of an answer to a trial, which was checked and is not kept."""
    now = datetime.now(UTC)
    row = StoredFeedback(*new[:6], new.occurred_at or now, now, late=False)
    receipt = _receipt(runtime, new, {new.key: row}, set())
    receipt.answer["test"] = True
    return receipt


HANDLER: Handler[_Row, list[Receipt]] = Handler(_store, keep)
