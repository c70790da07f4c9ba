"""What the log's writer does with decisions: store those that are made, and make those that depend on their unit.

Caps are exact because a unit is held from the reading of its state to the commit of its decision, in every process, and
because decisions of one commit are made one after the other, each seeing the ones before.
"""

from typing import Any, NamedTuple

from app.errors import LoopwiseError, within
from app.services.choice import Plan, Ready, plan
from app.services.eligibility import UnitState, question
from app.services.group_commit import Handler
from app.services.runtime import Runtime
from app.store import decisions, units
from app.store.decisions import NewDecision
from app.store.units import Contact

States = dict[tuple[str, int], UnitState]  # by unit and experiment


class Ask(NamedTuple):
    """A request on its way to the writer."""

    runtime: Runtime
    number: int  # in its batch
    ready: Ready
    of_several: bool  # an error names its place in the batch

    @property
    def id(self) -> str:
        """The decision's."""
        return self.ready.asked.decision_id

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
        one if isinstance(one, LoopwiseError) else (one, {plan.row.id for plan in one.values()} & stored, known)
        for one in outcomes
    ]


def _states(connection: Any, asks: list[Ask]) -> States:
    """Hold the units and read them. All experiments of a unit share one list of contacts, the longest that one needs."""
    questions = {ask.place: question(ask.ready.experiment, ask.place[0]) for ask in asks}
    units.hold(connection, sorted({unit for unit, _ in questions}))
    rows = dict(zip(questions, units.read(connection, list(questions.values())), strict=True))
    contacts: dict[str, list[Contact]] = {}
    for (unit, _), row in rows.items():
        contacts[unit] = max(contacts.get(unit, []), row.contacts, key=len)
    return {place: UnitState.of(row, contacts[place[0]]) for place, row in rows.items()}


def _plan_job(
    job: list[Ask], states: States, known: dict[str, Any], rows: dict[str, NewDecision]
) -> dict[int, Plan] | LoopwiseError:
    """Decide one job. Its rows join ``rows`` and its messages the units' contacts, or, after an error, neither."""
    planned: dict[int, Plan] = {}
    said: list[tuple[UnitState, Contact]] = []
    for ask in job:
        if ask.id in known or ask.id in rows:
            continue
        state = states[ask.place]
        try:
            planned[ask.number] = plan(ask.runtime, ask.ready, state)
        except LoopwiseError as error:
            for earlier, contact in said:
                earlier.contacts.remove(contact)
            return within(error, f"/decisions/{ask.number}") if ask.of_several else error
        row = planned[ask.number].row
        if row.channel is not None:
            contact = Contact(row.experiment_id, row.eligible[row.chosen], row.channel, state.now)
            state.contacts.append(contact)
            said.append((state, contact))
    rows |= {plan.row.id: plan.row for plan in planned.values()}
    return planned


def _unanswered_asks(connection: Any, asks: list[Ask]) -> None:
    decisions.mark_unanswered(connection, [ask.id for ask in asks])


HANDLER = Handler(_store, _unanswered, one_statement=True)
WITH_UNITS = Handler(_decide_and_store, _unanswered_asks)
