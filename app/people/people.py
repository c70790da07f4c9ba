"""Answers to a person's request: everything that is stored about them."""

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Engine

from app.accounts.keys import Caller, check_unbound
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.people import consent
from app.people.documents import ConsentLedger, Rows, StoredOfUnit
from app.people.store import people as store
from app.people.store.people import Row

MOST_ROWS = 5000


def export(engine: Engine, caller: Caller, unit_id: str) -> StoredOfUnit:
    """Consent, decisions with contexts and messages, rewards, feedback, events, firings, deliveries; newest first.

    ``complete`` is false if a kind has more rows than are listed.

    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    with transaction(engine) as connection:
        rows_by_kind = store.everything(connection, unit_id, MOST_ROWS + 1)
    return StoredOfUnit(
        **consent.look_up(engine, unit_id).given(),
        decisions=_newest(rows_by_kind["decisions"]),
        rewards=_newest(rows_by_kind["rewards"]),
        feedback=_newest(rows_by_kind["feedback"]),
        events=_newest(rows_by_kind["events"]),
        messages=_newest(rows_by_kind["messages"]),
        firings=_newest(rows_by_kind["firings"]),
        complete=all(len(rows) <= MOST_ROWS for rows in rows_by_kind.values()),
    )


def consent_of(engine: Engine, caller: Caller, unit_id: str) -> ConsentLedger:
    """The current consent of a unit, and its ledger.

    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    return consent.look_up(engine, unit_id)


def _newest(rows: list[Row]) -> Rows:
    return [{name: _plain(value) for name, value in row.items()} for row in rows[:MOST_ROWS]]


def _plain(value: JsonValue | datetime) -> JsonValue:
    return iso(value) if isinstance(value, datetime) else value
