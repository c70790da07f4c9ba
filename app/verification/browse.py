"""The decision log, a page at a time: by id, unit, action, arm, time; newest first, each decision on exactly one page."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Engine

from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.verification.store import browse as store
from app.verification.store.browse import Listed, Picked, Place, Wanted

PAGE = 50
SCANNED = 50_000  # rows that one search for an action or an arm looks through


class Search(NamedTuple):
    """The filters of a search; empty: any."""

    id: str = ""
    unit: str = ""
    action: str = ""
    arm: str = ""
    since: datetime | None = None
    until: datetime | None = None


class DecisionPage(NamedTuple):
    """A page of decisions."""

    lines: list[Listed]
    older: Place | None  # where the next page begins; null: this is the last page
    searched_back_to: datetime | None  # the search stopped here, after SCANNED rows, and did not read older rows


def search(
    engine: Engine, key: str, wanted: Search, before: Place | None = None, *, most: int = PAGE, scanned: int = SCANNED
) -> DecisionPage:
    """One page of decisions.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        if wanted.id:
            return DecisionPage(store.by_id(connection, experiment.id, wanted.id), None, None)
        looked = Wanted(wanted.unit or None, wanted.since, wanted.until, before)
        picked = Picked(wanted.arm or None, wanted.action or None)
        lines = store.page(connection, experiment.id, looked, picked, most=most + 1, scanned=scanned)
        if len(lines) > most:
            return DecisionPage(lines[:most], (lines[most - 1].decided_at, lines[most - 1].id), None)
        if not any(picked):
            return DecisionPage(lines, None, None)
        end = store.reached(connection, experiment.id, looked, scanned=scanned)
    return DecisionPage(lines, end, None if end is None else end[0])
