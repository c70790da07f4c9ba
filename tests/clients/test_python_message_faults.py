"""The calls around messages when answers are lost, late or never come: once each, and silence instead of a guess."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from loopwise_client import Action, Event, Feedback, LoopwiseUnavailable, Reward
from tests.clients.conftest import EXPERIMENT
from tests.clients.support import Between, Step, answer, cut, dribble, hang, pass_on
from tests.clients.test_python_messages import hold
from tests.service import Client as Plain
from tests.service import query

SLACK_S = 3.0  # for a busy machine
New = Callable[..., Any]
ACTIONS = [{"id": "tip", "template": {"texts": {"en": {"body": "A tip"}}}}, {"id": "say-nothing"}]


@pytest.fixture(scope="module", autouse=True)
def messages(client: Plain) -> None:
    client.make("tips", actions=ACTIONS)
    client.make("limited", feedback={"limit": 1, "limit_window_s": 3600})
    client.make("soon", feedback={"limit": 1, "limit_window_s": 2})


@pytest.fixture
def unit(request: Any) -> str:
    return f"unit of {request.node.name}"


# An answer is lost after the server did its work.


def test_a_message_whose_answer_is_lost_is_stored_once(
    connect: New, between: Callable[..., Between], unit: str, database_url: str
) -> None:
    server = between(cut, cut)
    decision = connect(server.url).message("tips", unit, excluded_actions=["say-nothing"])
    assert decision.logged and decision.message.body == "A tip"
    assert query(database_url, "SELECT count(*) FROM decisions WHERE unit_id = %s", unit) == [(1,)]
    assert len({sent.body for sent in server.requests}) == 1 and len(server.requests) == 3


def test_a_list_whose_answer_is_lost_is_stored_once(
    connect: New, between: Callable[..., Between], unit: str, database_url: str
) -> None:
    decision = connect(between(cut).url).decide(EXPERIMENT, unit, slots=3)
    stored = [
        decision_id for (decision_id,) in query(database_url, "SELECT id FROM decisions WHERE unit_id = %s", unit)
    ]
    assert sorted(stored) == [position.decision_id for position in decision.positions]


def test_feedback_and_events_whose_answers_are_lost_count_once(
    connect: New, between: Callable[..., Between], unit: str, database_url: str
) -> None:
    loopwise = connect(between(steps=itertools.cycle([cut, pass_on])).url)
    decision = loopwise.decide(EXPERIMENT, unit)
    loopwise.feedback(decision, "thumbs", "up")
    loopwise.event(unit, "login")
    answers = [Feedback(decision, "stars", n) for n in range(1, 6)]
    happened = [Event(unit, "step", {"n": n}) for n in range(200)]
    for _ in range(2):  # the app sends everything twice, and every other answer is lost
        assert [receipt.value for receipt in loopwise.feedback_batch(answers)] == [1, 2, 3, 4, 5]
        assert [receipt.event_id for receipt in loopwise.events(happened)] == [event.event_id for event in happened]
    stored = "SELECT kind, count(*) FROM feedback WHERE unit_id = %s GROUP BY kind ORDER BY kind"
    assert query(database_url, stored, unit) == [("stars", 5), ("thumbs", 1)]
    stored = "SELECT name, count(*) FROM events WHERE unit_id = %s GROUP BY name ORDER BY name"
    assert query(database_url, stored, unit) == [("login", 1), ("step", 200)]


def test_calls_about_people_survive_lost_answers(
    connect: New, between: Callable[..., Between], unit: str, database_url: str
) -> None:
    loopwise = connect(between(steps=itertools.cycle([cut, pass_on])).url)
    assert loopwise.consent(unit, {"learn": "revoked"}, "1", "x").learn == "revoked"
    assert [line.status for line in loopwise.consent_of(unit).ledger] == ["revoked"]
    assert loopwise.unit_token(unit)
    hold(database_url, unit, unit)
    (delivery,) = loopwise.pending(unit)
    assert loopwise.received(delivery) is False  # it was off the list at the second attempt
    assert loopwise.pending(unit) == []
    assert loopwise.person(unit)["complete"]
    erasure_answer = loopwise.erase(unit)
    assert loopwise.erasure(erasure_answer.erasure_id) == erasure_answer
    assert query(database_url, "SELECT count(*) FROM erasures WHERE unit_id = %s", unit) == [(1,)]


# No answer comes.


@pytest.mark.parametrize("step", [hang, dribble])
def test_without_an_answer_a_message_is_silence_and_nothing_is_reported(
    connect: New, between: Callable[..., Between], step: Step
) -> None:
    server = between(step)
    loopwise = connect(server.url)
    began = time.monotonic()
    decision = loopwise.message("tips", "u", decision_id="mine", deadline_s=0.6)
    assert 0.6 <= time.monotonic() - began < 0.6 + SLACK_S
    assert (decision.message, decision.action_id, decision.payload, decision.logged) == (None, "", None, False)
    assert (decision.decision_id, decision.reason, decision.slots) == ("mine", "no answer within 0.6 s", ())
    receipt = loopwise.feedback(decision, "dismissed", comment="no", feedback_id="f")
    assert (receipt.logged, receipt.decision_id, receipt.feedback_id) == (False, "mine", "f")
    assert (receipt.kind, receipt.comment, receipt.received_at) == ("dismissed", "no", None)
    assert not loopwise.reward(decision, 1.0).logged
    assert (loopwise.activate(decision), loopwise.received(decision)) == (False, False)
    assert len(server.requests) == 1


def test_without_an_answer_a_list_is_the_defaults(connect: New, between: Callable[..., Between]) -> None:
    server = between(hang)
    loopwise = connect(server.url)
    candidates = [Action("x", payload=7), Action("y"), Action("z")]
    decision = loopwise.decide(
        EXPERIMENT, "u", slots=3, actions=candidates, default=["x", Action("y", payload=8)], deadline_s=0.4
    )
    assert (decision.logged, decision.unfilled, decision.action_id, decision.payload) == (False, 1, "x", 7)
    assert [(position.position, position.action_id, position.payload) for position in decision.positions] == [
        (1, "x", 7),
        (2, "y", 8),
    ]
    assert not any(position.logged for position in decision.positions)
    assert len({position.decision_id for position in decision.positions}) == 2
    first, second = decision.positions
    answers = [Feedback(default, "thumbs", "up") for default in (first, second)]
    assert not any(receipt.logged for receipt in loopwise.feedback_batch(answers))
    assert not any(receipt.logged for receipt in loopwise.reward_batch([Reward(first, 1.0), Reward(second, 1.0)]))
    assert loopwise.activate(second) is False
    assert len(server.requests) == 1


def test_one_default_is_the_first_position_of_a_list(connect: New, between: Callable[..., Between]) -> None:
    decision = connect(between(hang).url).decide(EXPERIMENT, "u", slots=3, default="a", deadline_s=0.4)
    assert [(position.action_id, position.logged) for position in decision.positions] == [("a", False)]
    assert decision.unfilled == 2


def test_a_batch_of_feedback_sends_only_answers_to_logged_decisions(
    connect: New, between: Callable[..., Between]
) -> None:
    lost = connect(between(hang).url).message("tips", "u", deadline_s=0.3)
    server = between()
    loopwise = connect(server.url)
    known = loopwise.message("tips", "u")
    receipts = loopwise.feedback_batch([Feedback(lost, "score", 1), Feedback(known, "score", 2)])
    assert [(receipt.logged, receipt.value) for receipt in receipts] == [(False, 1), (True, 2)]
    assert lost.decision_id.encode() not in server.requests[-1].body


CALLS: dict[str, Callable[[Any], Any]] = {
    "feedback": lambda loopwise: loopwise.feedback("d", "dismissed"),
    "feedback_batch": lambda loopwise: loopwise.feedback_batch([Feedback("d", "dismissed")]),
    "event": lambda loopwise: loopwise.event("u", "login"),
    "events": lambda loopwise: loopwise.events([Event("u", "login")]),
    "pending": lambda loopwise: loopwise.pending("u"),
    "received": lambda loopwise: loopwise.received("d"),
    "consent": lambda loopwise: loopwise.consent("u", {"learn": "granted"}, "1", "x"),
    "consent_of": lambda loopwise: loopwise.consent_of("u"),
    "unit_token": lambda loopwise: loopwise.unit_token("u"),
    "erase": lambda loopwise: loopwise.erase("u"),
    "erasure": lambda loopwise: loopwise.erasure("e"),
    "person": lambda loopwise: loopwise.person("u"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_without_a_default_is_an_error_at_its_deadline(
    connect: New, between: Callable[..., Between], name: str
) -> None:
    loopwise = connect(between(hang).url, report_deadline_s=0.3)
    began = time.monotonic()
    with pytest.raises(LoopwiseUnavailable, match=r"no answer within 0\.3 s"):
        CALLS[name](loopwise)
    assert time.monotonic() - began < 0.3 + SLACK_S


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b"null", b'{"messages": [{}], "events": [1], "unit_token": 5}']
)
def test_an_answer_of_another_server_is_an_error(
    connect: New, between: Callable[..., Between], name: str, body: bytes
) -> None:
    server = between(answer(200, body))
    with pytest.raises(LoopwiseUnavailable, match="not from Loopwise"):
        CALLS[name](connect(server.url))
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"message": null}', b'{"message": "Hi"}'])
def test_a_message_of_another_server_is_silence(connect: New, between: Callable[..., Between], body: bytes) -> None:
    decision = connect(between(answer(200, body)).url).message("tips", "u")
    assert (decision.message, decision.logged) == (None, False)
    assert "not from Loopwise" in decision.reason


# The server asks for patience.


@pytest.mark.parametrize("name", ["event", "pending", "consent", "person", "unit_token"])
def test_retry_after_is_obeyed(connect: New, between: Callable[..., Between], name: str) -> None:
    server = between(answer(429, Retry_After="1"))
    CALLS[name](connect(server.url))
    first, second = server.requests
    assert second.at_s - first.at_s >= 1.0
    assert first.body == second.body


def test_too_many_answers_of_a_unit_are_an_error_at_once_that_says_when(loopwise: Any, unit: str) -> None:
    decision = loopwise.decide("limited", unit)
    first = loopwise.feedback(decision, "stars", 5, feedback_id="first")
    began = time.monotonic()
    with pytest.raises(LoopwiseUnavailable, match="429 feedback_limit") as caught:
        loopwise.feedback(decision, "stars", 4)
    assert time.monotonic() - began < 5
    assert 3000 < caught.value.retry_after_s <= 3600
    assert loopwise.feedback(decision, "stars", 5, feedback_id="first") == first


def test_an_answer_waits_for_its_turn_where_the_deadline_lets_it(loopwise: Any, unit: str, database_url: str) -> None:
    decision = loopwise.decide("soon", unit)
    for stars in (5, 4):
        assert loopwise.feedback(decision, "stars", stars, deadline_s=30.0).logged
    stored = "SELECT value, received_at FROM feedback WHERE unit_id = %s ORDER BY received_at"
    (first, at), (second, later) = query(database_url, stored, unit)
    assert (first, second, (later - at).total_seconds() >= 2) == (5, 4, True)


def test_unanswered_reports_may_be_sent_again_much_later(
    connect: New, between: Callable[..., Between], unit: str, database_url: str
) -> None:
    happened = [Event(unit, "login"), Event(unit, "logout")]
    with pytest.raises(LoopwiseUnavailable):
        connect(between(cut, answer(503, Retry_After="60")).url).events(happened)
    assert [receipt.event_id for receipt in connect().events(happened)] == [event.event_id for event in happened]
    assert query(database_url, "SELECT count(*) FROM events WHERE unit_id = %s", unit) == [(2,)]
