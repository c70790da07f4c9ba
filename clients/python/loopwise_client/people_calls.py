"""The methods about the people behind the units, without any I/O; see ``calls``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from loopwise_client.people import Consent, ConsentLedger, ConsentLine, ConsentStatus, Erasure, Person, Purpose
from loopwise_client.plan import Call, Deadlines, Plan, as_json, deadline, moment, part, unavailable, utc
from loopwise_client.reading import text


def consent(
    deadlines: Deadlines,
    unit_id: str,
    purposes: Mapping[Purpose, ConsentStatus],
    text_version: str,
    source: str,
    *,
    occurred_at: datetime | None = None,
    deadline_s: float | None = None,
) -> Plan[Consent]:
    """Record a person's consent for each purpose; it applies from the answer on. Repeating the call changes nothing.

    :param text_version: of the text that the person read.
    :param source: where it was given, such as settings page.
    :param occurred_at: when the person said it; without it, now.
    :returns: the consent that applies now.
    :raises LoopwiseUnavailable: no answer within the deadline, so it may not have been stored. Repeat the call with the same
        ``occurred_at``: then it does not undo a revocation in the meantime.
    :raises Refused: the server refuses the request.
    """
    body: dict[str, Any] = {
        "unit_id": unit_id,
        "purposes": dict(purposes),
        "text_version": text_version,
        "source": source,
        "occurred_at": utc(occurred_at or datetime.now(timezone.utc)),
    }
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/consent", as_json(body), deadline_s, lambda answer: _consent(answer["consent"]), unavailable)


def consent_of(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[ConsentLedger]:
    """Return the current consent of a unit, and the ledger behind it. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/consent/{part(unit_id)}", b"", deadline_s, _ledger, unavailable, "GET")


def unit_token(
    deadlines: Deadlines, unit_id: str, lifetime_s: float = 86_400, *, deadline_s: float | None = None
) -> Plan[str]:
    """Return a proof for ``loopwise.js`` that your web page speaks for this unit.

    :param lifetime_s: seconds that it works, at most 30 days.
    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    body = as_json({"unit_id": unit_id, "lifetime_s": lifetime_s})
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/units/token", body, deadline_s, lambda answer: text(answer["unit_token"]), unavailable)


def erase(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[Erasure]:
    """Ask for the removal of every trace of a unit; the worker does it, and ``erasure`` returns the progress.

    Asking again returns the erasure that waits. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline, so the request may not have been stored: ask again.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/erasure", as_json({"unit_id": unit_id}), deadline_s, _erasure, unavailable)


def erasure(deadlines: Deadlines, erasure_id: str, *, deadline_s: float | None = None) -> Plan[Erasure]:
    """Return the progress of an erasure; once it is done, with its receipt. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/erasure/{part(erasure_id)}", b"", deadline_s, _erasure, unavailable, "GET")


def person(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[Person]:
    """Return everything that is stored about a unit, as JSON for the person. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server refuses the request.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/units/{part(unit_id)}", b"", deadline_s, _person, unavailable, "GET")


def _consent(answer: Any) -> Consent:
    return Consent(**{purpose: answer[purpose] for purpose in Consent._fields})


def _ledger(answer: Any) -> ConsentLedger:
    return ConsentLedger(answer["unit_id"], _consent(answer["consent"]), tuple(map(_line, answer["ledger"])))


def _line(line: Any) -> ConsentLine:
    return ConsentLine(
        purpose=line["purpose"],
        status=line["status"],
        text_version=line["text_version"],
        source=line["source"],
        occurred_at=moment(line["occurred_at"]),
        recorded_at=moment(line["recorded_at"]),
    )


def _erasure(answer: Any) -> Erasure:
    done_at = answer["done_at"]
    return Erasure(
        erasure_id=answer["erasure_id"],
        status=answer["status"],
        requested_at=moment(answer["requested_at"]),
        done_at=None if done_at is None else moment(done_at),
        receipt=answer["receipt"],
        problem=answer["problem"],
    )


def _person(answer: Any) -> Person:
    return Person(
        unit_id=answer["unit_id"],
        consent=answer["consent"],
        ledger=answer["ledger"],
        decisions=answer["decisions"],
        rewards=answer["rewards"],
        feedback=answer["feedback"],
        events=answer["events"],
        messages=answer["messages"],
        firings=answer["firings"],
        complete=answer["complete"],
    )
