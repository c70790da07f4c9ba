"""How many units granted, denied or revoked each purpose: counted by the worker over the whole ledger, kept for the pages."""

import time
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue, TypeAdapter
from sqlalchemy import Engine

from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.people.store import consents

KIND = "consent"
_UNITS = TypeAdapter(dict[str, dict[str, int]])
FACTOR = 20.0  # at most one part in so many of a worker's time


class Counts(NamedTuple):
    """The consent of all units at one moment."""

    units: dict[str, dict[str, int]]  # by purpose and status
    computed_at: datetime


def stored(engine: Engine) -> Counts | None:
    """The newest counts; null: the worker has made none yet."""
    with transaction(engine) as connection:
        document = latest.get(connection, latest.PLATFORM, KIND)
    if document is None:
        return None
    return Counts(_UNITS.validate_python(document.body), document.computed_at)


def compute_due(engine: Engine, every_s: float) -> bool:
    """Count again if the ledger changed, at intervals that depend on the time a count takes; True: counted."""
    with transaction(engine) as connection:
        before, changed = latest.get(connection, latest.PLATFORM, KIND), consents.changed_at(connection)
        now = platform.now(connection)
    if before is not None:
        waited = (now - before.computed_at).total_seconds() > max(every_s, FACTOR * before.seconds)
        # A line is stamped before it is committed, so lines from shortly before the last count are counted again.
        news = changed is not None and (before.computed_at - changed).total_seconds() < before.seconds + 5
        if not (news and waited):
            return False
    compute(engine)
    return True


def compute(engine: Engine) -> None:
    """Count now, and store the counts."""
    began = time.monotonic()
    units: dict[str, dict[str, JsonValue]] = {}
    with transaction(engine) as connection:
        for purpose, status, count in consents.counts(connection):
            units.setdefault(purpose, {})[status] = count
        latest.put(connection, latest.PLATFORM, KIND, {}, units, time.monotonic() - began)
