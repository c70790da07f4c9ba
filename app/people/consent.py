"""Consent: an append-only ledger, which every decision respects at once.

A unit that denied or revoked anything has a line in ``restrictions``, with which every decision is compared when it is stored.
So most decisions need not read consent, and a revocation applies in every process from its commit on.
"""

from datetime import timedelta

from sqlalchemy import Connection, Engine

from app.accounts.keys import Caller
from app.deciding.store import units
from app.design.people_config import PURPOSES
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.people.consent_request import ConsentRequest
from app.people.documents import ConsentAnswer, ConsentLedger, ConsentLine
from app.people.store import consents
from app.people.store.consents import Consent, Said

MOST_LINES = 1000


def record(engine: Engine, caller: Caller, request: ConsentRequest) -> ConsentAnswer:
    """Record a person's answers, one line for each purpose, and return the consent that applies now.

    An answer adds no line if it applies already, or if the ledger has it with the same time, text and source. So a retry
    changes nothing.

    :raises Unprocessable: a yes without its time, or with a future time, which could undo a later no.
    """
    with transaction(engine) as connection:
        units.hold(connection, [request.unit_id])
        _check_time(connection, request)
        before = consents.current(connection, request.unit_id)
        recorded = _said(connection, request)
        for purpose, status in request.purposes.items():
            if (purpose, status) not in recorded and not _same(before.get(purpose), status, request):
                answer = Said(purpose, status, request.text_version, request.source, request.occurred_at)
                consents.add(connection, request.unit_id, answer, caller.key_id)
        current = consents.current(connection, request.unit_id)
        denied = [name for name, line in current.items() if line.status != "granted"]
        units.restrict(connection, request.unit_id, denied, until_erased=True)
    return ConsentAnswer(unit_id=request.unit_id, consent=_statuses(current))


def look_up(engine: Engine, unit_id: str) -> ConsentLedger:
    """The current consent of a unit, and its ledger, newest first."""
    with transaction(engine) as connection:
        current = consents.current(connection, unit_id)
        lines = consents.ledger(connection, unit_id, MOST_LINES)
    return ConsentLedger(unit_id=unit_id, consent=_statuses(current), ledger=[_line(line) for line in lines])


def _line(line: Consent) -> ConsentLine:
    return ConsentLine(
        purpose=line.purpose,
        status=line.status,
        text_version=line.text_version,
        source=line.source,
        occurred_at=iso(line.occurred_at),
        recorded_at=iso(line.recorded_at),
    )


def _check_time(connection: Connection, request: ConsentRequest) -> None:
    """A no applies as soon as it arrives. A yes is compared with the last no, so its time must be known."""
    if "granted" not in request.purposes.values():
        return
    if request.occurred_at is None:
        raise invalid((FieldError("/occurred_at", "yes_without_time"),))
    if request.occurred_at > platform.now(connection) + timedelta(seconds=consents.CLOCKS_DIFFER_S):
        raise invalid((FieldError("/occurred_at", "in_the_future"),))


def _said(connection: Connection, request: ConsentRequest) -> set[tuple[str, str]]:
    """The lines of the ledger with the same time, text and source, as (purpose, status)."""
    lines = consents.ledger(connection, request.unit_id, MOST_LINES)
    same = (request.occurred_at, request.text_version, request.source)
    return {(line.purpose, line.status) for line in lines if (line.occurred_at, line.text_version, line.source) == same}


def _same(before: Consent | None, status: str, request: ConsentRequest) -> bool:
    return before is not None and (before.status, before.text_version, before.source) == (
        status,
        request.text_version,
        request.source,
    )


def _statuses(current: dict[str, Consent]) -> dict[str, str | None]:
    return {purpose: current[purpose].status if purpose in current else None for purpose in PURPOSES}
