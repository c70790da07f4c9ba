"""The log writer's work on decisions: it stores planned decisions, and plans those that depend on their unit's state.

Caps are exact for two reasons. Every process locks a unit before it reads the unit's state and releases the lock after the
decision is committed. The decisions of one commit are planned one after the other, and each sees those before it.
"""

from typing import NamedTuple

from sqlalchemy import Connection

from app.deciding.eligibility import UnitState, question
from app.deciding.plan import NothingEligible, PlannedDecision, plan
from app.deciding.prepare import LATER_POSITION, PreparedDecision, position_id
from app.deciding.runtime import Runtime
from app.deciding.store import decisions, units
from app.deciding.store.decisions import NewDecision, StoredDecision
from app.deciding.store.units import Contact, Past
from app.foundation.errors import Conflict, LoopwiseError, within
from app.foundation.running.jobs import Handler
from app.foundation.store.fragments import TRIAL, DecisionKey

UnitAndExperiment = tuple[str, int]  # unit id, experiment id
StoredByKey = dict[DecisionKey, StoredDecision]


class QueuedDecision(NamedTuple):
    """A prepared decision, or one position of a list, on its way to the writer."""

    runtime: Runtime
    request_index: int  # in its call
    prepared: PreparedDecision
    in_batch: bool  # True: errors name the request's index in the batch
    position: int  # in its list, from 1; a single decision has 1

    @property
    def id(self) -> str:
        """The decision's id."""
        return position_id(self.prepared.identified.decision_id, self.position)

    @property
    def key(self) -> DecisionKey:
        """What names the decision."""
        return self.prepared.experiment.id, self.id

    @property
    def first_key(self) -> DecisionKey:
        """What names the decision, or the list that it belongs to."""
        return self.prepared.experiment.id, self.prepared.identified.decision_id

    @property
    def unit_and_experiment(self) -> UnitAndExperiment:
        """The unit and the experiment whose state the decision depends on."""
        return self.prepared.identified.request.unit_id, self.prepared.experiment.id


class StoredRows(NamedTuple):
    """The result of storing the rows of one job."""

    new: set[DecisionKey]  # of the rows that this job stored
    stored: StoredByKey  # rows that others stored before


class PlannedAndStored(NamedTuple):
    """The result of planning and storing the queued decisions of one job."""

    planned: dict[int, list[PlannedDecision]]  # by the request's index, its positions
    new: set[DecisionKey]
    stored: StoredByKey


def _store(connection: Connection, jobs: list[list[NewDecision]]) -> list[StoredRows | LoopwiseError]:
    rows: dict[DecisionKey, NewDecision] = {}
    for job in jobs:
        for row in job:  # of two requests with the same id in one commit, the first is stored
            rows.setdefault((row.experiment_id, row.id), row)
    new_keys = decisions.insert_new(connection, list(rows.values()))
    if len(new_keys) == sum(map(len, jobs)):  # every row is new
        return [StoredRows({(row.experiment_id, row.id) for row in job}, {}) for job in jobs]
    missing = [row.key for job in jobs for row in job if row.key not in new_keys or rows[row.key] is not row]
    stored = decisions.find_many(connection, missing)
    return [StoredRows(_new_of(job, rows, new_keys), stored) for job in jobs]


def _new_of(
    job: list[NewDecision], rows: dict[DecisionKey, NewDecision], new_keys: set[DecisionKey]
) -> set[DecisionKey]:
    """Return the keys of the new rows that this job brought."""
    return {row.key for row in job if row.key in new_keys and rows[row.key] is row}


def _store_lists(connection: Connection, jobs: list[list[NewDecision]]) -> list[StoredRows | LoopwiseError]:
    """Store jobs that hold lists: either all positions of a list are stored, or none."""
    keys = [row.key for job in jobs for row in job]
    units.hold(connection, [_list_lock(key) for key in keys])  # otherwise two lists with the same id could mix
    stored = decisions.find_many(connection, keys)
    rows: dict[DecisionKey, NewDecision] = {}
    refused: list[Conflict | None] = []
    for job in jobs:
        new = [row for row in job if _head(row.key) not in stored and _head(row.key) not in rows]
        refused.append(next((_id_taken(row.id) for row in new if row.key in stored), None))
        if refused[-1] is None:
            rows |= {row.key: row for row in new}
    new_keys = decisions.insert_new(connection, list(rows.values())) if rows else set()
    repeated = [row.key for job in jobs for row in job if row.key in new_keys and rows[row.key] is not row]
    stored |= decisions.find_many(connection, repeated) if repeated else {}
    return [error or StoredRows(_new_of(job, rows, new_keys), stored) for error, job in zip(refused, jobs, strict=True)]


def _head(key: DecisionKey) -> DecisionKey:
    """Return the key of the list that a position belongs to."""
    experiment_id, decision_id = key
    return experiment_id, LATER_POSITION.sub("", decision_id)


def _id_taken(decision_id: str) -> Conflict:
    """Return the error for a later position whose id another decision has; logs from before lists existed can have one."""
    message = f"decision_id {decision_id!r} of a later position is taken; use a new id for the list."
    return Conflict("decision_id_reused", message)


def _list_lock(key: DecisionKey) -> str:
    """Return the name of a list's lock."""
    experiment_id, decision_id = _head(key)
    return f"list of decisions {experiment_id} {decision_id}"


def _mark_rows(connection: Connection, rows: list[NewDecision], outcome: StoredRows | None) -> None:
    """Nobody saw these; but what was stored before them, a caller may have seen."""
    decisions.mark_unanswered(connection, [row.key for row in rows if outcome is None or row.key in outcome.new])


def _mark_seen_by_nobody(connection: Connection, keys: list[DecisionKey], _outcome: None) -> None:
    decisions.mark_unanswered(connection, keys)


def _nothing(_connection: Connection, jobs: list[list[DecisionKey]]) -> list[LoopwiseError | None]:
    return [None for _ in jobs]  # these are only disowned


def _plan_and_store(connection: Connection, jobs: list[list[QueuedDecision]]) -> list[PlannedAndStored | LoopwiseError]:
    """Plan the decisions while their units are locked. A job with an error stores nothing."""
    queued = [decision for job in jobs for decision in job]
    states = _states(connection, queued)
    commit = _Commit(states, decisions.find_many(connection, [decision.key for decision in queued]))
    planned = [commit.plan_job(job) for job in jobs]
    new_keys = decisions.insert_new(connection, list(commit.rows.values())) if commit.rows else set()
    stored, repeated = commit.stored, [decision.key for decision in queued if decision.key in new_keys]
    if len(repeated) > len(new_keys):  # two requests with the same id in one commit
        stored = stored | decisions.find_many(connection, repeated)
    return [
        job
        if isinstance(job, LoopwiseError)
        else PlannedAndStored(
            job, {position.row.key for positions in job.values() for position in positions} & new_keys, stored
        )
        for job in planned
    ]


def _states(connection: Connection, queued: list[QueuedDecision]) -> dict[UnitAndExperiment, UnitState]:
    """Lock the units and read their states. All experiments of a unit share its longest list of contacts."""
    questions = {
        decision.unit_and_experiment: question(decision.prepared.experiment, decision.unit_and_experiment[0])
        for decision in queued
    }
    lists = {_list_lock(decision.key) for decision in queued if decision.prepared.identified.request.slots}
    units.hold(connection, sorted({unit for unit, _ in questions} | lists))
    rows = dict(zip(questions, units.read(connection, list(questions.values())), strict=True))
    contacts: dict[str, list[Contact]] = {}
    for (unit, _), row in rows.items():
        contacts[unit] = max(contacts.get(unit, []), row.contacts, key=len)
    return {pair: UnitState.of(row, contacts[pair[0]]) for pair, row in rows.items()}


class _Commit:
    """The decisions of one commit. Each is planned with the contacts of those before it."""

    def __init__(self, states: dict[UnitAndExperiment, UnitState], stored: StoredByKey) -> None:
        self.stored = stored
        self.rows: dict[DecisionKey, NewDecision] = {}  # to be stored
        self._states = states

    def plan_job(self, job: list[QueuedDecision]) -> dict[int, list[PlannedDecision]] | LoopwiseError:
        """Plan one job. Keep its rows and its units' contacts, or neither of them if there is an error."""
        planned: dict[int, list[PlannedDecision]] = {}
        sent: list[tuple[UnitState, Contact | Past]] = []
        for queued in job:
            above, first = planned.get(queued.request_index, []), queued.first_key
            if (
                first in self.stored or first in self.rows or len(above) < queued.position - 1
            ):  # stored, or its list ended
                continue
            state = self._states[queued.unit_and_experiment]
            try:
                decision = self._plan(queued, state, above)
            except NothingEligible as error:
                if queued.position == 1:
                    return _undo(sent, queued, error)
                continue  # the list is shorter
            except LoopwiseError as error:
                return _undo(sent, queued, error)
            planned[queued.request_index] = [*above, decision]
            row = decision.row
            if row.state == "active":
                made = Past(decision.action, row.channel, state.now, None)
                state.made.insert(0, made)
                sent.append((state, made))
            if row.channel is not None and row.state != TRIAL:  # caps do not count trials
                contact = Contact(row.experiment_id, decision.action, row.channel, state.now)
                state.contacts.append(contact)
                sent.append((state, contact))
        self.rows |= {position.row.key: position.row for positions in planned.values() for position in positions}
        return planned

    def _plan(self, queued: QueuedDecision, state: UnitState, above: list[PlannedDecision]) -> PlannedDecision:
        if queued.key in self.stored:
            raise _id_taken(queued.id)
        return plan(queued.runtime, queued.prepared, state, [position.action for position in above])


def _undo(sent: list[tuple[UnitState, Contact | Past]], queued: QueuedDecision, error: LoopwiseError) -> LoopwiseError:
    """Forget the contacts and decisions of a job that fails."""
    for state, row in sent:
        if isinstance(row, Past):
            state.made.remove(row)
        else:
            state.contacts.remove(row)
    return within(error, f"/decisions/{queued.request_index}") if queued.in_batch else error


def _mark_queued(connection: Connection, queued: list[QueuedDecision], outcome: PlannedAndStored | None) -> None:
    keys = [decision.key for decision in queued if outcome is None or decision.key in outcome.new]
    decisions.mark_unanswered(connection, keys)


PLANNED: Handler[NewDecision, StoredRows] = Handler(_store, _mark_rows, one_statement=True)
PLANNED_LISTS: Handler[NewDecision, StoredRows] = Handler(_store_lists, _mark_rows)
WITH_UNITS: Handler[QueuedDecision, PlannedAndStored] = Handler(_plan_and_store, _mark_queued)
SEEN_BY_NOBODY: Handler[DecisionKey, None] = Handler(_nothing, _mark_seen_by_nobody)
