"""Rewards: check, store durably, return a receipt. The same event sent twice gets the same receipt.

Rewards are only added. The learner joins the rewards of a decision into one number, which does not depend on the order of
their arrival.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple, TypedDict

from sqlalchemy import Connection

from app.accounts.keys import Caller
from app.deciding.decide import experiment_of, open_window, unknown_decision
from app.deciding.runtime import Runtime
from app.deciding.store import decisions
from app.design.safety_config import SafetySpec
from app.foundation import metrics
from app.foundation.errors import Conflict, FieldError, LoopwiseError, within
from app.foundation.fields import invalid
from app.foundation.running.jobs import Handler, keep
from app.foundation.running.steps import Steps, run
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.learning.reward_limits import RewardLimits
from app.learning.reward_request import RewardRequest
from app.learning.store import rewards as store
from app.learning.store.rewards import NewReward, Rewarded, StoredReward

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
    reward: NewReward


class _Batch(NamedTuple):
    """What is read and collected while one group commit is checked."""

    rewarded: Mapping[str, Rewarded]
    stored: Mapping[tuple[str, str], StoredReward]
    new: dict[tuple[str, str], NewReward]
    counted: Counter[str]  # rewards of each decision so far
    limits: RewardLimits


def reward(runtime: Runtime, caller: Caller, requests: list[RewardRequest]) -> list[Receipt]:
    """Store all rewards in one commit, or none of them. This thread waits; see ``rewarding``."""
    return run(rewarding(runtime, caller, requests))


def rewarding(runtime: Runtime, caller: Caller, requests: list[RewardRequest]) -> Steps[list[Receipt]]:
    """Store all rewards in one commit, or none of them, in steps.

    :raises NotFound: a decision does not exist, or belongs to another experiment than the caller's API key.
    :raises Unprocessable: a value is outside the experiment's bounds.
    :raises Conflict: another value with the same reward_id is stored, or the decision has as many rewards as it may have.
    :raises TooManyRequests: the unit has as many rewards as the experiment takes.
    """
    rows = [_Row(runtime, caller, _new(request)) for request in requests]
    receipts = yield from runtime.log_writer.stored(HANDLER, rows)
    for receipt in receipts:
        if receipt.created:
            metrics.count_reward(receipt.experiment, receipt.answer["late"])
    return receipts


def activate(runtime: Runtime, caller: Caller, decision_id: str) -> ActivationAnswer:
    """Open the reward window of a deferred decision that was shown. A second call changes nothing.

    :raises NotFound: the decision does not exist, or belongs to another experiment than the caller's API key.
    """
    with transaction(runtime.engine) as connection:
        row = decisions.find(connection, decision_id)
        if row is None or not caller.sees(row.experiment_id):
            raise unknown_decision(decision_id)
        activated = open_window(connection, experiment_of(runtime, row.experiment_id), row)
    return {"decision_id": decision_id, "state": "active", "activated": activated}


OWN_ID = "auto-"  # begins the ids of rewards that came without one


def _new(request: RewardRequest) -> NewReward:
    reward_id = request.reward_id
    if reward_id is None:
        # The time is no part of it: clients stamp each retry anew. "None" stands where the time of older versions was.
        identity = f"{request.metric}\n{request.value!r}\nNone"
        reward_id = OWN_ID + hashlib.sha256(identity.encode()).hexdigest()[:24]
    return NewReward(request.decision_id, reward_id, request.metric, request.value, request.occurred_at)


def _store(connection: Connection, jobs: list[list[_Row]]) -> list[list[Receipt] | LoopwiseError]:
    """Handle a group commit: return the receipts of each job, or its first error, and then store nothing of that job."""
    store.hold_gate_shared(connection)
    ids = list({row.reward.decision_id for job in jobs for row in job})
    rewarded = store.decisions_of(connection, ids)
    stored = store.find_many(connection, ids)
    limits = RewardLimits(connection, rewarded.values(), _bounds(jobs, rewarded))
    batch = _Batch(rewarded, stored, {}, Counter(decision_id for decision_id, _ in stored), limits)
    errors = [_first_error(job, batch) for job in jobs]
    inserted: dict[tuple[str, str], StoredReward] = {}
    if batch.new:
        inserted = store.insert_new(connection, list(batch.new.values()))
        if len(inserted) < len(batch.new):  # another process has just stored one of them, and it is visible now
            return _store(connection, jobs)
    all_stored = stored | inserted
    fresh = set(inserted)  # if several jobs have the same event, the first creates it
    return [
        error or [_receipt(row, rewarded, all_stored, fresh) for row in job]
        for job, error in zip(jobs, errors, strict=True)
    ]


def _bounds(jobs: list[list[_Row]], rewarded: Mapping[str, Rewarded]) -> dict[int, SafetySpec]:
    """Return by experiment id what may be rewarded, for the decisions of these jobs."""
    runtimes = {row.reward.decision_id: row.runtime for job in jobs for row in job}
    known = {row.experiment_id: runtimes[row.id] for row in rewarded.values()}
    return {id_: experiment_of(runtime, id_).config.bounds for id_, runtime in known.items()}


def _first_error(job: list[_Row], batch: _Batch) -> LoopwiseError | None:
    """Check a job against the stored rows and the new rows of this batch. Add its rows to the batch if all are valid."""
    job_rows: dict[tuple[str, str], NewReward] = {}
    units: Counter[tuple[int, str]] = Counter()
    for index, row in enumerate(job):
        try:
            decision = _check(row, batch.rewarded)
            key = (row.reward.decision_id, row.reward.reward_id)
            before = batch.stored.get(key) or batch.new.get(key) or job_rows.get(key)
            if before is None:
                same = sum(decision_id == key[0] for decision_id, _ in job_rows)
                _check_count(row, batch.counted[key[0]] + same)
                unit = (decision.experiment_id, decision.unit_id)
                batch.limits.check(decision, units[unit])
                units[unit] += 1
                job_rows[key] = row.reward
            elif not _same(before, row.reward):
                message = f"reward_id {row.reward.reward_id!r} of this decision has another value; use a new reward_id."
                raise Conflict("reward_id_reused", message)
        except LoopwiseError as error:
            return error if len(job) == 1 else within(error, f"/rewards/{index}")
    batch.new.update(job_rows)
    batch.counted.update(decision_id for decision_id, _ in job_rows)
    batch.limits.add(batch.rewarded[decision_id] for decision_id, _ in job_rows)
    return None


def _check_count(row: _Row, count: int) -> None:
    most = MOST_FROM_BROWSERS if row.caller.publishable else MOST_REWARDS
    if count >= most:
        message = (
            f"The decision {row.reward.decision_id!r} has {count} rewards; {most} is the most that this key may add to."
        )
        raise Conflict("too_many_rewards", message)


def _check(row: _Row, rewarded: Mapping[str, Rewarded]) -> Rewarded:
    decision = rewarded.get(row.reward.decision_id)
    if decision is None or not row.caller.sees(decision.experiment_id):
        raise unknown_decision(row.reward.decision_id)
    if row.reward.metric == "reward":
        experiment = experiment_of(row.runtime, decision.experiment_id)
        bounds = experiment.config.reward
        if not bounds.min <= row.reward.value <= bounds.max:
            params = {"low": bounds.min, "high": bounds.max, "experiment": experiment.key}
            raise invalid((FieldError("/value", "reward_out_of_bounds", params),))
    return decision


def _same(stored: StoredReward | NewReward, new: NewReward) -> bool:
    timed = new.occurred_at is not None and not new.reward_id.startswith(OWN_ID)
    times_differ = timed and stored.occurred_at != new.occurred_at
    return stored.metric == new.metric and stored.value == new.value and not times_differ


def _receipt(
    row: _Row,
    rewarded: Mapping[str, Rewarded],
    stored: dict[tuple[str, str], StoredReward],
    fresh: set[tuple[str, str]],
) -> Receipt:
    key = (row.reward.decision_id, row.reward.reward_id)
    reward_row = stored[key]
    answer: RewardAnswer = {
        "decision_id": reward_row.decision_id,
        "reward_id": reward_row.reward_id,
        "metric": reward_row.metric,
        "value": reward_row.value,
        "occurred_at": iso(reward_row.occurred_at),
        "received_at": iso(reward_row.received_at),
        "late": reward_row.late,
    }
    experiment = experiment_of(row.runtime, rewarded[key[0]].experiment_id)
    created = key in fresh
    fresh.discard(key)
    return Receipt(answer, created, experiment.key)


HANDLER: Handler[_Row, list[Receipt]] = Handler(_store, keep)
