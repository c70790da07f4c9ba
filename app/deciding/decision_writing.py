"""What the log's writer does with decisions: store those that are made, and make those that depend on their unit.

Caps are exact because a unit is held from the reading of its state to the commit of its decision, in every process, and
because decisions of one commit are made one after the other, each seeing the ones before.
"""

from typing import Any, NamedTuple

from app.deciding.choice import LATER_POSITION, NothingLeft, Plan, Ready, plan, position_id
from app.deciding.eligibility import UnitState, question
from app.deciding.runtime import Runtime
from app.deciding.store import decisions, units
from app.deciding.store.decisions import NewDecision
from app.deciding.store.units import Contact
from app.foundation.errors import Conflict, LoopwiseError, within
from app.foundation.group_commit import Handler

States = dict[tuple[str, int], UnitState]  # by unit and experiment


class Ask(NamedTuple):
    """A request on its way to the writer."""

    runtime: Runtime
    number: int  # in its batch
    ready: Ready
    of_several: bool  # an error names its place in the batch
    position: int  # in its list; 1: of the one decision

    @property
    def id(self) -> str:
        """The decision's."""
        return position_id(self.ready.asked.decision_id, self.position)

    @property
    def place(self) -> tuple[str, int]:
        """Unit and experiment."""
        return self.ready.asked.request.unit_id, self.ready.experiment.id


def _store(connection: Any, jobs: list[list[NewDecision]]) -> list[Any]:
    """Per job the ids that are new and the rows that were there before."""
    rows: dict[str, NewDecision] = {}
    for job in jobs:
        for row in job:  # two requests with one id in one batch: the first is stored, the second finds it
            rows.setdefault(row.id, row)
    stored = decisions.insert_new(connection, list(rows.values()))
    missing = [row.id for job in jobs for row in job if row.id not in stored or rows[row.id] is not row]
    known = decisions.find_many(connection, missing) if missing else {}
    return [({row.id for row in job if row.id in stored and rows[row.id] is row}, known) for job in jobs]


def _store_lists(connection: Any, jobs: list[list[NewDecision]]) -> list[Any]:
    """The same where a job holds lists, of which all positions are stored or none."""
    ids = [row.id for job in jobs for row in job]
    units.hold(connection, [_list_lock(name) for name in ids])  # else two lists of one id could store a part each
    known = decisions.find_many(connection, ids)
    rows: dict[str, NewDecision] = {}
    refused: list[Conflict | None] = []
    for job in jobs:
        new = [row for row in job if _head(row.id) not in known and _head(row.id) not in rows]
        refused.append(next((_taken(row.id) for row in new if row.id in known), None))
        if refused[-1] is None:
            rows |= {row.id: row for row in new}
    stored = decisions.insert_new(connection, list(rows.values())) if rows else set()
    twice = [row.id for job in jobs for row in job if row.id in stored and rows[row.id] is not row]
    known |= decisions.find_many(connection, twice) if twice else {}
    return [
        error or ({row.id for row in job if row.id in stored and rows[row.id] is row}, known)
        for error, job in zip(refused, jobs, strict=True)
    ]


def _head(decision_id: str) -> str:
    """The id of the list that a position belongs to."""
    return LATER_POSITION.sub("", decision_id)


def _taken(decision_id: str) -> Conflict:
    """A later position's id is another decision's, as it can be in a log from before there were lists."""
    message = f"decision_id {decision_id!r}, a later position's, is taken; use a new id for the list."
    return Conflict("decision_id_reused", message)


def _list_lock(decision_id: str) -> str:
    """The name under which a list is held."""
    return "list of decisions " + _head(decision_id)


def _unanswered(connection: Any, rows: list[NewDecision]) -> None:
    decisions.mark_unanswered(connection, [row.id for row in rows])


def _decide_and_store(connection: Any, jobs: list[list[Ask]]) -> list[Any]:
    """Per job its plans, the ids that are new and the rows that were there before; or its error, and nothing of it."""
    asks = [ask for job in jobs for ask in job]
    states = _states(connection, asks)
    known = decisions.find_many(connection, [ask.id for ask in asks])
    rows: dict[str, NewDecision] = {}
    outcomes = [_plan_job(job, states, known, rows) for job in jobs]
    stored = decisions.insert_new(connection, list(rows.values())) if rows else set()
    again = [ask.id for ask in asks if ask.id in stored]
    if len(again) > len(stored):  # two requests with one id in one batch
        known = known | decisions.find_many(connection, again)
    return [
        one
        if isinstance(one, LoopwiseError)
        else (one, {plan.row.id for plans in one.values() for plan in plans} & stored, known)
        for one in outcomes
    ]


def _states(connection: Any, asks: list[Ask]) -> States:
    """Hold the units and read them. All experiments of a unit share one list of contacts, the longest that one needs."""
    questions = {ask.place: question(ask.ready.experiment, ask.place[0]) for ask in asks}
    lists = {_list_lock(ask.id) for ask in asks if ask.ready.asked.request.slots}
    units.hold(connection, sorted({unit for unit, _ in questions} | lists))
    rows = dict(zip(questions, units.read(connection, list(questions.values())), strict=True))
    contacts: dict[str, list[Contact]] = {}
    for (unit, _), row in rows.items():
        contacts[unit] = max(contacts.get(unit, []), row.contacts, key=len)
    return {place: UnitState.of(row, contacts[place[0]]) for place, row in rows.items()}


def _plan_job(
    job: list[Ask], states: States, known: dict[str, Any], rows: dict[str, NewDecision]
) -> dict[int, list[Plan]] | LoopwiseError:
    """Decide one job. Its rows join ``rows`` and its messages the units' contacts, or, after an error, neither."""
    planned: dict[int, list[Plan]] = {}
    said: list[tuple[UnitState, Contact]] = []
    for ask in job:
        above, head = planned.get(ask.number, []), ask.ready.asked.decision_id
        if head in known or head in rows or len(above) < ask.position - 1:  # stored, or its list has ended
            continue
        state = states[ask.place]
        try:
            if ask.id in known:
                raise _taken(ask.id)
            made = plan(ask.runtime, ask.ready, state, [one.action for one in above])
        except LoopwiseError as error:
            if ask.position > 1 and isinstance(error, NothingLeft):  # the list is shorter
                continue
            for earlier, contact in said:
                earlier.contacts.remove(contact)
            return within(error, f"/decisions/{ask.number}") if ask.of_several else error
        planned[ask.number] = [*above, made]
        row = made.row
        if row.channel is not None:
            contact = Contact(row.experiment_id, made.action, row.channel, state.now)
            state.contacts.append(contact)
            said.append((state, contact))
    rows |= {plan.row.id: plan.row for plans in planned.values() for plan in plans}
    return planned


def _unanswered_asks(connection: Any, asks: list[Ask]) -> None:
    decisions.mark_unanswered(connection, [ask.id for ask in asks])


HANDLER = Handler(_store, _unanswered, one_statement=True)
LISTS = Handler(_store_lists, _unanswered)
WITH_UNITS = Handler(_decide_and_store, _unanswered_asks)
