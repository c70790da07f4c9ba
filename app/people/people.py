"""What a person may ask for: everything that is stored about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from app.accounts.keys import Caller
from app.foundation.errors import Forbidden
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.people import consent
from app.people.store import people as store

MOST_ROWS = 5000


def export(engine: Engine, caller: Caller, unit_id: str) -> dict[str, Any]:
    """Consent, decisions with contexts and messages, rewards, feedback, events, firings, deliveries; newest first.

    ``complete`` is false where a kind has more rows than are given.

    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    with transaction(engine) as connection:
        found = store.everything(connection, unit_id, MOST_ROWS + 1)
    complete = all(len(rows) <= MOST_ROWS for rows in found.values())
    rows = {kind: [_plain(row) for row in rows[:MOST_ROWS]] for kind, rows in found.items()}
    return consent.look_up(engine, unit_id) | rows | {"complete": complete}


def consent_of(engine: Engine, caller: Caller, unit_id: str) -> dict[str, Any]:
    """What holds for a unit, and its ledger.

    :raises Forbidden: the caller's key is bound to one experiment.
    """
    check_unbound(caller)
    return consent.look_up(engine, unit_id)


def check_unbound(caller: Caller) -> None:
    """:raises Forbidden: the key is bound to one experiment, and people are in all of them."""
    if caller.experiment_id is not None:
        raise Forbidden(
            "wrong_experiment", "This key is bound to one experiment; what concerns people is in all of them."
        )


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in row.items()}
