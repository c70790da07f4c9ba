"""Consent, proofs for pages, exports and erasures with the Python client."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import loopwise_client
from app.accounts import unit_tokens
from app.people import erasure, receipts
from loopwise_client import Consent, ConsentLedger
from tests.clients.conftest import EXPERIMENT
from tests.clients.test_python_calls import IDS
from tests.service import SECRET, engine_of, make_key, query, settings

WHEN = datetime(2026, 1, 31, 12, tzinfo=UTC)


def unit(text: str = "person") -> str:
    """A unit that no other test knows."""
    return f"{text} {loopwise_client.new_id()}"[-500:]


def test_the_last_answer_applies_and_the_ledger_has_all_answers(loopwise: Any) -> None:
    ada = unit()
    assert loopwise.consent_of(ada) == ConsentLedger(ada, Consent(None, None, None, None), ())
    given = loopwise.consent(ada, {"learn": "granted", "message": "denied"}, "2026-11", "sign-up", occurred_at=WHEN)
    assert given == Consent(personalise=None, learn="granted", analyse=None, message="denied")
    for _ in range(2):
        now = loopwise.consent(ada, {"learn": "revoked"}, "2026-11", "settings page")
        assert now == given._replace(learn="revoked")
    consent = loopwise.consent_of(ada)
    assert (consent.unit_id, consent.consent) == (ada, now)
    newest, *first = consent.ledger
    assert (newest.purpose, newest.status, newest.text_version) == ("learn", "revoked", "2026-11")
    assert (newest.source, newest.recorded_at.tzinfo is not None) == ("settings page", True)
    assert {(line.purpose, line.status, line.occurred_at) for line in first} == {
        ("learn", "granted", WHEN),
        ("message", "denied", WHEN),
    }


def test_a_revocation_holds_from_its_answer_on(loopwise: Any, database_url: str) -> None:
    ada = unit()
    loopwise.consent(ada, {"learn": "revoked"}, "2026-11", "settings page")
    decision = loopwise.decide(EXPERIMENT, ada)
    stored = query(database_url, "SELECT withheld FROM decisions WHERE id = %s", decision.decision_id)
    assert stored == [(["learn"],)]


def test_errors_of_a_consent_are_named(loopwise: Any) -> None:
    with pytest.raises(loopwise_client.Unprocessable, match="/purposes/learn"):
        loopwise.consent("ada", {"learn": "maybe"}, "1", "x")
    with pytest.raises(ValueError, match="time zone"):
        loopwise.consent("ada", {"learn": "granted"}, "1", "x", occurred_at=datetime(2026, 1, 1))


def test_a_token_proves_one_unit_for_a_while(loopwise: Any) -> None:
    token = loopwise.unit_token("ada", lifetime_s=60)
    unit_tokens.check(SECRET, "ada", token)
    ends = datetime.fromtimestamp(int(token.partition(".")[0]), UTC)
    assert timedelta(0) < ends - datetime.now(UTC) <= timedelta(seconds=60)
    with pytest.raises(Exception, match="valid unit_token"):
        unit_tokens.check(SECRET, "eve", token)


@pytest.mark.parametrize("text", IDS)
def test_a_person_gets_everything_that_is_stored(loopwise: Any, text: str) -> None:
    decision = loopwise.decide(EXPERIMENT, text, context={"city": "Linz"})
    loopwise.reward(decision, 0.5)
    loopwise.feedback(decision, "stars", 4)
    event = loopwise.event(text, "login", {"n": 1})
    loopwise.consent(text, {"learn": "granted"}, "1", "x")
    stored = loopwise.person(text)
    assert json.loads(json.dumps(stored)) == stored
    assert (stored["unit_id"], stored["complete"], stored["consent"]["learn"]) == (text, True, "granted")
    assert stored["decisions"][0]["decision_id"] == decision.decision_id
    assert (stored["decisions"][0]["context"], stored["rewards"][0]["value"]) == ({"city": "Linz"}, 0.5)
    assert (stored["feedback"][0]["value"], stored["events"][0]["event_id"]) == (4, event.event_id)
    assert stored["ledger"][0]["purpose"] == "learn" and stored["messages"] == []
    assert loopwise.consent_of(text).unit_id == text


def test_an_erasure_waits_and_then_has_its_receipt(loopwise: Any, database_url: str) -> None:
    ada = unit()
    loopwise.reward(loopwise.decide(EXPERIMENT, ada), 1.0)
    erasure_answer = loopwise.erase(ada)
    assert (erasure_answer.status, erasure_answer.done_at, erasure_answer.receipt) == ("waiting", None, None)
    assert loopwise.erase(ada) == erasure_answer == loopwise.erasure(erasure_answer.erasure_id)
    with engine_of(database_url) as engine:
        assert erasure_answer.erasure_id in erasure.run_waiting(engine, settings(database_url))
    done = loopwise.erasure(erasure_answer.erasure_id)
    assert (done.status, done.requested_at) == ("done", erasure_answer.requested_at)
    assert done.done_at >= done.requested_at
    assert done.receipt["removed"]["decisions"] == 1 and done.receipt["models"] == []
    assert done.receipt["signature"] == receipts.sign(SECRET, done.receipt)
    assert loopwise.person(ada)["decisions"] == []
    with pytest.raises(loopwise_client.NotFound, match="unknown_erasure"):
        loopwise.erasure("nowhere")


def test_calls_about_people_need_their_own_scope(connect: Callable[..., Any], database_url: str) -> None:
    loopwise = connect(key=make_key(database_url, "decide", "reward", "read", "manage"))
    loopwise.consent(unit(), {"learn": "granted"}, "1", "x")
    for call in (loopwise.consent_of, loopwise.person, loopwise.erase, loopwise.erasure):
        with pytest.raises(loopwise_client.Forbidden, match="missing_scope"):
            call("ada")
