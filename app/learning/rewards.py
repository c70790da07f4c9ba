"""Rewards: check, store durably, return a receipt. The same event sent twice gets the same receipt.

Rewards are only added. The learner joins the rewards of a decision into one number, which does not depend on the order of
their arrival.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple, NotRequired, TypedDict

from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.decide import open_window
from app.deciding.naming import experiment_of, find_decision, unknown_decision
from app.deciding.runtime import Runtime
from app.deciding.store import decisions
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, LoopwiseError, within
from app.foundation.fields import invalid
from app.foundation.running.jobs import Handler, keep
from app.foundation.running.steps import Steps, run
from app.foundation.store.engine import transaction
from app.foundation.store.fragments import TRIAL, DecisionKey
from app.foundation.times import iso
from app.learning.reward_limits import RewardLimits
from app.learning.reward_request import RewardRequest
from app.learning.store import rewards as store
from app.learning.store.rewards import NewReward, RewardKey, StoredReward

MOST_REWARDS: Final = 1000  # of one decision; all of them are read when another comes
MOST_FROM_BROWSERS: Final = 20  # a page sends a few; more come from somebody who plays with its key


class RewardAnswer(TypedDict):
    """The answer to a reward call."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: str  # ISO 8601, UTC
    received_at: str
    late: bool
    test: NotRequired[bool]  # true: of a trial, checked and not kept


class ActivationAnswer(TypedDict):
    """The answer to an activation call."""

    decision_id: str
    state: str
    activated: bool  # False: it was active already


class Receipt(NamedTuple):
    """The receipt of a stored reward."""

    answer: RewardAnswer
    created: bool  # False: it was stored before
    experiment: str  # key


class _Row(NamedTuple):
    runtime: Runtime
    caller: Caller
    request: RewardRequest
    reward_id: str


class _Batch(NamedTuple):
    """What is known and collected while one batch is checked."""

    stored: Mapping[RewardKey, StoredReward]
    new: dict[RewardKey, NewReward]
    counted: Counter[DecisionKey]  # rewards of each decision so far
    trials: set[DecisionKey]  # their rewards are checked, and not kept
    limits: RewardLimits


def reward(runtime: Runtime, caller: Caller, requests: list[RewardRequest]) -> list[Receipt]:
    """Store all rewards in one commit, or none of them. This thread waits; see ``rewarding``."""
    return run(rewarding(runtime, caller, requests))


def rewarding(runtime: Runtime, caller: Caller, requests: list[RewardRequest]) -> Steps[list[Receipt]]:
    """Store all rewards in one commit, or none of them, in steps.

    :raises NotFound: a decision does not exist, or belongs to another experiment than the caller's API key.
    :raises Conflict: several experiments have a decision of that id, and the call names none.
    :raises Unprocessable: a value is outside the experiment's bounds.
    :raises Conflict: another value with the same reward_id is stored, or the decision has as many rewards as it may have.
    :raises TooManyRequests: the unit has as many rewards as the experiment takes.
    """
    rows = [_Row(runtime, caller, request, _reward_id(request)) for request in requests]
    receipts = yield from runtime.log_writer.stored(HANDLER, rows)
    for receipt in receipts:
        if receipt.created:
            metrics.count_reward(receipt.experiment, receipt.answer["late"])
    return receipts


def activate(runtime: Runtime, caller: Caller, decision_id: str, experiment: str | None = None) -> ActivationAnswer:
    """Open the reward window of a deferred decision that was shown. A second call changes nothing.

    :param experiment: key of the decision's experiment; None: ``find_decision`` says which.
    :raises NotFound: the decision does not exist, or belongs to another experiment than the caller's API key.
    :raises Conflict: several experiments have a decision of that id, and the call names none.
    """
    with transaction(runtime.engine) as connection:
        having = decisions.experiments_with(connection, [decision_id]).experiments.get(decision_id, [])
        row = decisions.find(connection, find_decision(runtime, caller, decision_id, experiment, having))
        if row is None:  # erased a moment ago
            raise unknown_decision(decision_id)
        activated = open_window(connection, experiment_of(runtime, row.experiment_id), row)
    state = TRIAL if row.state == TRIAL else "active"
    return {"decision_id": decision_id, "state": state, "activated": activated}


OWN_ID = "auto-"  # begins the ids of rewards that came without one


def _reward_id(request: RewardRequest) -> str:
    """Return the event's own id, or one that the same event always gets."""
    if request.reward_id is not None:
        return request.reward_id
    # The time is no part of it: clients stamp each retry anew. "None" stands where the time of older versions was.
    identity = f"{request.metric}\n{request.value + 0.0!r}\nNone"  # -0.0 and 0.0 are one value
    return OWN_ID + hashlib.sha256(identity.encode()).hexdigest()[:24]


def _store(connection: Connection, jobs: list[list[_Row]]) -> list[list[Receipt] | LoopwiseError]:
    """Handle a group commit: return the receipts of each job, or its first error, and then store nothing of that job."""
    store.hold_gate_shared(connection)
    having = decisions.experiments_with(connection, {row.request.decision_id for job in jobs for row in job})
    named = [_name(job, having.experiments) for job in jobs]
    meant = {new.decision for rewards in named if not isinstance(rewards, LoopwiseError) for new in rewards}
    rewarded = meant - having.trials
    stored = store.find_many(connection, rewarded)
    runtime = next(row.runtime for job in jobs for row in job)
    bounds = {id_: experiment_of(runtime, id_).config.bounds for id_, _ in rewarded}
    limits = RewardLimits(connection, sorted(rewarded), bounds)
    batch = _Batch(stored, {}, Counter(key[:2] for key in stored), having.trials & meant, limits)
    checked = [
        rewards if isinstance(rewards, LoopwiseError) else _check_job(job, rewards, batch)
        for job, rewards in zip(jobs, named, strict=True)
    ]
    inserted: dict[RewardKey, StoredReward] = {}
    if batch.new and having.span is not None:
        inserted = store.insert_new(connection, list(batch.new.values()), having.span)
        if len(inserted) < len(batch.new):  # another process has just stored one of them, and it is visible now
            return _store(connection, jobs)
    all_stored = stored | inserted
    fresh = set(inserted)  # if several jobs have the same event, the first creates it
    return [
        rewards
        if isinstance(rewards, LoopwiseError)
        else [
            _of_a_trial(row.runtime, new)
            if new.decision in batch.trials
            else _receipt(row.runtime, new, all_stored, fresh)
            for row, new in zip(job, rewards, strict=True)
        ]
        for job, rewards in zip(jobs, checked, strict=True)
    ]


def _name(job: list[_Row], having: Mapping[str, list[int]]) -> list[NewReward] | LoopwiseError:
    """Find the decisions that the rewards of a job mean.

    :param having: by decision id, the experiments that have such a decision.
    """
    rewards: list[NewReward] = []
    for index, (runtime, caller, request, reward_id) in enumerate(job):
        experiments = having.get(request.decision_id, ())
        try:
            decision = find_decision(runtime, caller, request.decision_id, request.experiment, experiments)
        except LoopwiseError as error:
            return _within(error, job, index)
        rewards.append(NewReward(*decision, reward_id, request.metric, request.value, request.occurred_at))
    return rewards


def _check_job(job: list[_Row], rewards: list[NewReward], batch: _Batch) -> list[NewReward] | LoopwiseError:
    """Check a job against the stored rows and the new rows of this batch. Add its rows to the batch if all are valid."""
    job_rows: dict[RewardKey, NewReward] = {}
    for index, (row, new) in enumerate(zip(job, rewards, strict=True)):
        try:
            _check_bounds(row.runtime, new)
            if new.decision in batch.trials:
                continue
            before = batch.stored.get(new.key) or batch.new.get(new.key) or job_rows.get(new.key)
            if before is None:
                _check_count(row, batch.counted[new.decision] + sum(key[:2] == new.decision for key in job_rows))
                batch.limits.check(new.decision, [key[:2] for key in job_rows])
                job_rows[new.key] = new
            elif not _same(before, new):
                message = f"reward_id {new.reward_id!r} of this decision has another value; use a new reward_id."
                raise Conflict("reward_id_reused", message)
        except LoopwiseError as error:
            return _within(error, job, index)
    batch.new.update(job_rows)
    batch.counted.update(key[:2] for key in job_rows)
    batch.limits.add([key[:2] for key in job_rows])
    return rewards


def _within(error: LoopwiseError, job: list[_Row], index: int) -> LoopwiseError:
    return error if len(job) == 1 else within(error, f"/rewards/{index}")


def _check_count(row: _Row, count: int) -> None:
    most = MOST_FROM_BROWSERS if row.caller.publishable else MOST_REWARDS
    if count >= most:
        message = f"The decision {row.request.decision_id!r} has {count} rewards; {most} is the most that this key may add to."
        raise Conflict("too_many_rewards", message)


def _check_bounds(runtime: Runtime, new: NewReward) -> None:
    if new.metric == "reward":
        experiment = experiment_of(runtime, new.experiment_id)
        bounds = experiment.config.reward
        if not bounds.min <= new.value <= bounds.max:
            params = {"low": bounds.min, "high": bounds.max, "experiment": experiment.key}
            raise invalid((FieldError("/value", "reward_out_of_bounds", params),))


def _same(stored: StoredReward | NewReward, new: NewReward) -> bool:
    timed = new.occurred_at is not None and not new.reward_id.startswith(OWN_ID)
    times_differ = timed and stored.occurred_at != new.occurred_at
    return stored.metric == new.metric and stored.value == new.value and not times_differ


def _receipt(
    runtime: Runtime, new: NewReward, stored: Mapping[RewardKey, StoredReward], fresh: set[RewardKey]
) -> Receipt:
    reward_row = stored[new.key]
    answer: RewardAnswer = {
        "decision_id": reward_row.decision_id,
        "reward_id": reward_row.reward_id,
        "metric": reward_row.metric,
        "value": reward_row.value,
        "occurred_at": iso(reward_row.occurred_at),
        "received_at": iso(reward_row.received_at),
        "late": reward_row.late,
    }
    created = new.key in fresh
    fresh.discard(new.key)
    return Receipt(answer, created, experiment_of(runtime, new.experiment_id).key)


def _of_a_trial(runtime: Runtime, new: NewReward) -> Receipt:
    """The receipt of a reward that was checked and is not kept."""
    now = datetime.now(UTC)
    answer: RewardAnswer = {
        "decision_id": new.decision_id,
        "reward_id": new.reward_id,
        "metric": new.metric,
        "value": new.value,
        "occurred_at": iso(new.occurred_at or now),
        "received_at": iso(now),
        "late": False,
        "test": True,
    }
    return Receipt(answer, False, experiment_of(runtime, new.experiment_id).key)


HANDLER: Handler[_Row, list[Receipt]] = Handler(_store, keep)
