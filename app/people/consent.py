"""What people agreed to: an append-only ledger, and at once in every decision.

A unit that denied or revoked anything has a line in ``restrictions``, with which every decision is compared when it is stored.
So a revocation needs no look at consent for all the others, and holds from its commit on, in every process.
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
    """Write what a person said, one line for each purpose, and answer with what holds now.

    What holds already, and what was said at the same time with the same text and source, adds no line: a retry changes nothing.

    :raises Unprocessable: a yes without its time, or of the future, which could undo a no that is said after it.
    """
    with transaction(engine) as connection:
        units.hold(connection, [request.unit_id])
        _check_time(connection, request)
        before = consents.current(connection, request.unit_id)
        said = _said(connection, request)
        for purpose, status in request.purposes.items():
            if (purpose, status) not in said and not _same(before.get(purpose), status, request):
                answer = Said(purpose, status, request.text_version, request.source, request.occurred_at)
                consents.add(connection, request.unit_id, answer, caller.key_id)
        held = consents.current(connection, request.unit_id)
        denied = [name for name, one in held.items() if one.status != "granted"]
        units.restrict(connection, request.unit_id, denied, until_erased=True)
    return ConsentAnswer(unit_id=request.unit_id, consent=_statuses(held))


def look_up(engine: Engine, unit_id: str) -> ConsentLedger:
    """What holds for a unit, and its ledger, newest first."""
    with transaction(engine) as connection:
        held = consents.current(connection, unit_id)
        lines = consents.ledger(connection, unit_id, MOST_LINES)
    return ConsentLedger(unit_id=unit_id, consent=_statuses(held), ledger=[_line(line) for line in lines])


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
    """A no holds from when it arrives; a yes is compared with the no that was said last, so its time must be known."""
    if "granted" not in request.purposes.values():
        return
    if request.occurred_at is None:
        raise invalid((FieldError("/occurred_at", "yes_without_time"),))
    if request.occurred_at > platform.now(connection) + timedelta(seconds=consents.CLOCKS_DIFFER_S):
        raise invalid((FieldError("/occurred_at", "in_the_future"),))


def _said(connection: Connection, request: ConsentRequest) -> set[tuple[str, str]]:
    """What the ledger holds already of the same moment, text and source, as (purpose, status)."""
    lines = consents.ledger(connection, request.unit_id, MOST_LINES)
    same = (request.occurred_at, request.text_version, request.source)
    return {(one.purpose, one.status) for one in lines if (one.occurred_at, one.text_version, one.source) == same}


def _same(before: Consent | None, status: str, request: ConsentRequest) -> bool:
    return before is not None and (before.status, before.text_version, before.source) == (
        status,
        request.text_version,
        request.source,
    )


def _statuses(held: dict[str, Consent]) -> dict[str, str | None]:
    return {purpose: held[purpose].status if purpose in held else None for purpose in PURPOSES}
