"""What the log's writer does with decisions: store those that are planned, and plan those that depend on their unit.

Caps are exact because a unit is held from the reading of its state to the commit of its decision, in every process, and
because decisions of one commit are planned one after the other, each seeing the ones before.
"""

from typing import NamedTuple

from sqlalchemy import Connection

from app.deciding.eligibility import UnitState, question
from app.deciding.plan import NothingEligible, PlannedDecision, plan
from app.deciding.prepare import LATER_POSITION, PreparedDecision, position_id
from app.deciding.runtime import Runtime
from app.deciding.store import decisions, units
from app.deciding.store.decisions import NewDecision, StoredDecision
from app.deciding.store.units import Contact
from app.foundation.errors import Conflict, LoopwiseError, within
from app.foundation.group_commit import Handler

UnitAndExperiment = tuple[str, int]  # unit id, experiment id
Known = dict[str, StoredDecision]  # by id


class QueuedDecision(NamedTuple):
    """A prepared decision, or one position of a list, on its way to the writer."""

    runtime: Runtime
    request_index: int  # in its call
    prepared: PreparedDecision
    in_batch: bool  # an error names the request's place in the batch
    position: int  # in its list, from 1; 1 for a single decision

    @property
    def id(self) -> str:
        """The decision's id."""
        return position_id(self.prepared.identified.decision_id, self.position)

    @property
    def unit_and_experiment(self) -> UnitAndExperiment:
        """Whose state the decision depends on."""
        return self.prepared.identified.request.unit_id, self.prepared.experiment.id


class Stored(NamedTuple):
    """What became of the rows of one job."""

    new: set[str]  # ids that were stored now
    known: Known  # rows that were stored before


class PlannedAndStored(NamedTuple):
    """What became of the queued decisions of one job."""

    planned: dict[int, list[PlannedDecision]]  # by the request's index, its positions
    new: set[str]
    known: Known


def _store(connection: Connection, jobs: list[list[NewDecision]]) -> list[Stored | LoopwiseError]:
    rows: dict[str, NewDecision] = {}
    for job in jobs:
        for row in job:  # two requests with one id in one commit: the first is stored, the second finds it
            rows.setdefault(row.id, row)
    stored = decisions.insert_new(connection, list(rows.values()))
    missing = [row.id for job in jobs for row in job if row.id not in stored or rows[row.id] is not row]
    known = decisions.find_many(connection, missing) if missing else {}
    return [Stored({row.id for row in job if row.id in stored and rows[row.id] is row}, known) for job in jobs]


def _store_lists(connection: Connection, jobs: list[list[NewDecision]]) -> list[Stored | LoopwiseError]:
    """The same where a job holds lists: all positions of a list are stored, or none."""
    ids = [row.id for job in jobs for row in job]
    units.hold(connection, [_list_lock(decision_id) for decision_id in ids])  # else two lists of one id could mix
    known = decisions.find_many(connection, ids)
    rows: dict[str, NewDecision] = {}
    refused: list[Conflict | None] = []
    for job in jobs:
        new = [row for row in job if _head(row.id) not in known and _head(row.id) not in rows]
        refused.append(next((_id_taken(row.id) for row in new if row.id in known), None))
        if refused[-1] is None:
            rows |= {row.id: row for row in new}
    stored = decisions.insert_new(connection, list(rows.values())) if rows else set()
    repeated = [row.id for job in jobs for row in job if row.id in stored and rows[row.id] is not row]
    known |= decisions.find_many(connection, repeated) if repeated else {}
    return [
        error or Stored({row.id for row in job if row.id in stored and rows[row.id] is row}, known)
        for error, job in zip(refused, jobs, strict=True)
    ]


def _head(decision_id: str) -> str:
    """The id of the list that a position belongs to."""
    return LATER_POSITION.sub("", decision_id)


def _id_taken(decision_id: str) -> Conflict:
    """A later position's id is another decision's, as it can be in a log from before there were lists."""
    message = f"decision_id {decision_id!r}, a later position's, is taken; use a new id for the list."
    return Conflict("decision_id_reused", message)


def _list_lock(decision_id: str) -> str:
    """The name under which a list is held."""
    return "list of decisions " + _head(decision_id)


def _mark_rows(connection: Connection, rows: list[NewDecision]) -> None:
    decisions.mark_unanswered(connection, [row.id for row in rows])


def _plan_and_store(connection: Connection, jobs: list[list[QueuedDecision]]) -> list[PlannedAndStored | LoopwiseError]:
    """Plan the decisions while their units are held. A job with an error stores nothing."""
    queued = [decision for job in jobs for decision in job]
    states = _states(connection, queued)
    commit = _Commit(states, decisions.find_many(connection, [decision.id for decision in queued]))
    planned = [commit.plan_job(job) for job in jobs]
    stored = decisions.insert_new(connection, list(commit.rows.values())) if commit.rows else set()
    known, repeated = commit.known, [decision.id for decision in queued if decision.id in stored]
    if len(repeated) > len(stored):  # two requests with one id in one commit
        known = known | decisions.find_many(connection, repeated)
    return [
        job
        if isinstance(job, LoopwiseError)
        else PlannedAndStored(
            job, {position.row.id for positions in job.values() for position in positions} & stored, known
        )
        for job in planned
    ]


def _states(connection: Connection, queued: list[QueuedDecision]) -> dict[UnitAndExperiment, UnitState]:
    """Hold the units and read them. All experiments of a unit share one list of contacts, the longest that one needs."""
    questions = {
        decision.unit_and_experiment: question(decision.prepared.experiment, decision.unit_and_experiment[0])
        for decision in queued
    }
    lists = {_list_lock(decision.id) for decision in queued if decision.prepared.identified.request.slots}
    units.hold(connection, sorted({unit for unit, _ in questions} | lists))
    rows = dict(zip(questions, units.read(connection, list(questions.values())), strict=True))
    contacts: dict[str, list[Contact]] = {}
    for (unit, _), row in rows.items():
        contacts[unit] = max(contacts.get(unit, []), row.contacts, key=len)
    return {pair: UnitState.of(row, contacts[pair[0]]) for pair, row in rows.items()}


class _Commit:
    """The decisions of one commit: each is planned with what those before it did."""

    def __init__(self, states: dict[UnitAndExperiment, UnitState], known: Known) -> None:
        self.known = known
        self.rows: dict[str, NewDecision] = {}  # to be stored, by id
        self._states = states

    def plan_job(self, job: list[QueuedDecision]) -> dict[int, list[PlannedDecision]] | LoopwiseError:
        """Plan one job. Its rows and its units' contacts are kept, or, after an error, neither."""
        planned: dict[int, list[PlannedDecision]] = {}
        sent: list[tuple[UnitState, Contact]] = []
        for queued in job:
            above, head = planned.get(queued.request_index, []), queued.prepared.identified.decision_id
            if head in self.known or head in self.rows or len(above) < queued.position - 1:  # stored, or its list ended
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
            if row.channel is not None:
                contact = Contact(row.experiment_id, decision.action, row.channel, state.now)
                state.contacts.append(contact)
                sent.append((state, contact))
        self.rows |= {position.row.id: position.row for positions in planned.values() for position in positions}
        return planned

    def _plan(self, queued: QueuedDecision, state: UnitState, above: list[PlannedDecision]) -> PlannedDecision:
        if queued.id in self.known:
            raise _id_taken(queued.id)
        return plan(queued.runtime, queued.prepared, state, [position.action for position in above])


def _undo(sent: list[tuple[UnitState, Contact]], queued: QueuedDecision, error: LoopwiseError) -> LoopwiseError:
    """Forget the contacts of a job that fails."""
    for state, contact in sent:
        state.contacts.remove(contact)
    return within(error, f"/decisions/{queued.request_index}") if queued.in_batch else error


def _mark_queued(connection: Connection, queued: list[QueuedDecision]) -> None:
    decisions.mark_unanswered(connection, [decision.id for decision in queued])


PLANNED: Handler[NewDecision, Stored] = Handler(_store, _mark_rows, one_statement=True)
PLANNED_LISTS: Handler[NewDecision, Stored] = Handler(_store_lists, _mark_rows)
WITH_UNITS: Handler[QueuedDecision, PlannedAndStored] = Handler(_plan_and_store, _mark_queued)
