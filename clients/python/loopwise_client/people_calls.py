"""The methods about the people behind the units, without any I/O; see ``calls``."""

from collections.abc import Mapping
from datetime import UTC, datetime
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
    """Write what a person said, for each purpose; it holds from the answer on. Saying it again changes nothing.

    :param text_version: of the text that the person read.
    :param source: where it was given, such as settings page.
    :param occurred_at: when the person said it; without it, now.
    :returns: what holds now.
    :raises LoopwiseUnavailable: no answer within the deadline: whether it holds is not known, so say it again, with the same
        ``occurred_at``: then it does not undo what the person revokes meanwhile.
    :raises Refused: the server says no.
    """
    body: dict[str, Any] = {
        "unit_id": unit_id,
        "purposes": dict(purposes),
        "text_version": text_version,
        "source": source,
        "occurred_at": utc(occurred_at or datetime.now(UTC)),
    }
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/consent", as_json(body), deadline_s, lambda answer: _consent(answer["consent"]), unavailable)


def consent_of(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[ConsentLedger]:
    """What holds for a unit, and the ledger of how that came. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server says no.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/consent/{part(unit_id)}", b"", deadline_s, _ledger, unavailable, "GET")


def unit_token(
    deadlines: Deadlines, unit_id: str, lifetime_s: float = 86_400, *, deadline_s: float | None = None
) -> Plan[str]:
    """A proof for a web page of yours that it speaks for this unit, for ``loopwise.js``.

    :param lifetime_s: seconds that it works, at most 30 days.
    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server says no.
    """
    body = as_json({"unit_id": unit_id, "lifetime_s": lifetime_s})
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/units/token", body, deadline_s, lambda answer: text(answer["unit_token"]), unavailable)


def erase(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[Erasure]:
    """Ask for the removal of every trace of a unit; the worker does it, and ``erasure`` tells how far it is.

    Asking again while it waits gives the same one. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline: whether it was asked for is not known, so ask again.
    :raises Refused: the server says no.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call("/v1/erasure", as_json({"unit_id": unit_id}), deadline_s, _erasure, unavailable)


def erasure(deadlines: Deadlines, erasure_id: str, *, deadline_s: float | None = None) -> Plan[Erasure]:
    """How far an erasure is; once it is done, with its receipt. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server says no.
    """
    deadline_s = deadline(deadline_s, deadlines.report_s)
    return Call(f"/v1/erasure/{part(erasure_id)}", b"", deadline_s, _erasure, unavailable, "GET")


def person(deadlines: Deadlines, unit_id: str, *, deadline_s: float | None = None) -> Plan[Person]:
    """Everything that is stored of a unit, as JSON for the person to have. The key needs the scope people.

    :raises LoopwiseUnavailable: no answer within the deadline.
    :raises Refused: the server says no.
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
