"""Reward: check, store durably, answer with a receipt; the same event twice gets the same receipt.

Rewards are only added. How several of one decision become one number is the learner's business, and does not depend on
the order in which they arrived.
"""

import hashlib
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.decide import experiment_of, open_window, unknown_decision
from app.deciding.runtime import Runtime
from app.deciding.store import decisions
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, LoopwiseError, within
from app.foundation.fields import invalid
from app.foundation.group_commit import Handler, keep
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.reward_request import RewardRequest
from app.learning.store import rewards as store
from app.learning.store.rewards import NewReward, StoredReward


class RewardAnswer(TypedDict):
    """What a reward call answers."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: str  # ISO 8601, UTC
    received_at: str
    late: bool


class ActivationAnswer(TypedDict):
    """What activating a decision answers."""

    decision_id: str
    state: str
    activated: bool  # False: it was active already


class Receipt(NamedTuple):
    """A stored reward."""

    answer: RewardAnswer
    created: bool  # False: it was stored before
    experiment: str  # key


class _Row(NamedTuple):
    runtime: Runtime
    caller: Caller
    reward: NewReward


def reward(runtime: Runtime, caller: Caller, requests: list[RewardRequest]) -> list[Receipt]:
    """Store all rewards in one commit, or none.

    :raises NotFound: an unknown decision.
    :raises Unprocessable: a value outside the experiment's bounds.
    :raises Conflict: another value under the same reward_id.
    :raises Forbidden: a decision of another experiment than the caller's key is bound to.
    """
    rows = [_Row(runtime, caller, _new(request)) for request in requests]
    receipts = runtime.log_writer.submit(HANDLER, rows)
    for receipt in receipts:
        if receipt.created:
            metrics.count_reward(receipt.experiment, receipt.answer["late"])
    return receipts


def activate(runtime: Runtime, caller: Caller, decision_id: str) -> ActivationAnswer:
    """A deferred decision was shown: its reward window opens now. Doing it again changes nothing.

    :raises NotFound: an unknown decision.
    """
    with transaction(runtime.engine) as connection:
        row = decisions.find(connection, decision_id)
        if row is None:
            raise unknown_decision(decision_id)
        caller.check_bound(row.experiment_id, "decision")
        activated = open_window(connection, experiment_of(runtime, row.experiment_id), row)
    return {"decision_id": decision_id, "state": "active", "activated": activated}


def _new(request: RewardRequest) -> NewReward:
    reward_id = request.reward_id
    if reward_id is None:
        identity = f"{request.metric}\n{request.value!r}\n{request.occurred_at}"
        reward_id = "auto-" + hashlib.sha256(identity.encode()).hexdigest()[:24]
    return NewReward(request.decision_id, reward_id, request.metric, request.value, request.occurred_at)


def _store(connection: Connection, jobs: list[list[_Row]]) -> list[list[Receipt] | LoopwiseError]:
    """The group commit's handler: per job its receipts, or its first error (then nothing of the job is stored)."""
    store.hold_gate_shared(connection)
    ids = list({row.reward.decision_id for job in jobs for row in job})
    rewarded = store.decisions_of(connection, ids)
    known = store.find_many(connection, ids)
    new: dict[tuple[str, str], NewReward] = {}
    errors = [_first_error(job, rewarded, known, new) for job in jobs]
    if new:
        stored = store.insert_new(connection, list(new.values()))
        if len(stored) < len(new):  # another process stored one of them meanwhile: now it can be seen
            return _store(connection, jobs)
        known_now = known | stored
    else:
        stored, known_now = {}, known
    fresh = set(stored)  # of several jobs with one event the first made it
    return [
        error or [_receipt(row, rewarded, known_now, fresh) for row in job]
        for job, error in zip(jobs, errors, strict=True)
    ]


def _first_error(
    job: list[_Row],
    rewarded: dict[str, store.Rewarded],
    known: dict[tuple[str, str], StoredReward],
    new: dict[tuple[str, str], NewReward],
) -> LoopwiseError | None:
    """Check a job against what is stored and what this batch is about to store; its new rows join ``new``."""
    mine: dict[tuple[str, str], NewReward] = {}
    for index, row in enumerate(job):
        try:
            _check(row, rewarded)
            place = (row.reward.decision_id, row.reward.reward_id)
            before = known.get(place) or new.get(place) or mine.get(place)
            if before is None:
                mine[place] = row.reward
            elif not _same(before, row.reward):
                message = f"reward_id {row.reward.reward_id!r} of this decision has another value; use a new reward_id."
                raise Conflict("reward_id_reused", message)
        except LoopwiseError as error:
            return error if len(job) == 1 else within(error, f"/rewards/{index}")
    new.update(mine)
    return None


def _check(row: _Row, rewarded: dict[str, store.Rewarded]) -> None:
    decision = rewarded.get(row.reward.decision_id)
    if decision is None:
        raise unknown_decision(row.reward.decision_id)
    row.caller.check_bound(decision.experiment_id, "decision")
    if row.reward.metric == "reward":
        experiment = experiment_of(row.runtime, decision.experiment_id)
        bounds = experiment.config.reward
        if not bounds.min <= row.reward.value <= bounds.max:
            params = {"low": bounds.min, "high": bounds.max, "experiment": experiment.key}
            raise invalid((FieldError("/value", "reward_out_of_bounds", params),))


def _same(stored: StoredReward | NewReward, new: NewReward) -> bool:
    times_differ = new.occurred_at is not None and stored.occurred_at != new.occurred_at
    return stored.metric == new.metric and stored.value == new.value and not times_differ


def _receipt(
    row: _Row,
    rewarded: dict[str, store.Rewarded],
    known: dict[tuple[str, str], StoredReward],
    fresh: set[tuple[str, str]],
) -> Receipt:
    place = (row.reward.decision_id, row.reward.reward_id)
    found = known[place]
    answer: RewardAnswer = {
        "decision_id": found.decision_id,
        "reward_id": found.reward_id,
        "metric": found.metric,
        "value": found.value,
        "occurred_at": iso(found.occurred_at),
        "received_at": iso(found.received_at),
        "late": found.late,
    }
    experiment = experiment_of(row.runtime, rewarded[place[0]].experiment_id)
    created = place in fresh
    fresh.discard(place)
    return Receipt(answer, created, experiment.key)


HANDLER: Handler[_Row, list[Receipt]] = Handler(_store, keep)
