"""Messages, lists, feedback, events and held messages with the Python client, and the rows that the server then has."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

import loopwise_client
from loopwise_client import Delivery, Event, Feedback, Message, MessageDecision, Question, Reward
from tests.clients.conftest import EXPERIMENT
from tests.clients.test_python_calls import IDS
from tests.service import Client as Plain
from tests.service import make_key, query

NOW = datetime.now(UTC).replace(microsecond=0)
HI = {"title": 'Hi {{ user_name | default: "you" }}', "body": "{{ lessons }} to go.", "call_to_action": "Go"}
HALLO = {"title": 'Hallo {{ user_name | default: "du" }}', "body": "Noch {{ lessons }}."}
ACTIONS = [
    {"id": "personal", "template": {"channel": "push", "texts": {"en": HI, "de": HALLO}}},
    {"id": "say-nothing", "payload": {"quiet": True}},
]
VARIABLES = [{"name": "user_name", "sample": "Ada"}, {"name": "lessons", "sample": 3, "required": True}]
SLOTS = [
    {"name": "subject", "place": "title", "parts": [{"id": "hello", "texts": {"en": "Hello"}}]},
    {"name": "tone", "place": "body", "parts": [{"id": part, "texts": {"en": part}} for part in ("warm", "brisk")]},
]
HELD = {"locale": "en", "channel": "in_app", "title": "", "body": "Hello", "call_to_action": ""}


@pytest.fixture(scope="module", autouse=True)
def messages(client: Plain) -> None:
    start, end = (f"{(NOW.hour + hours) % 24:02}:00" for hours in (-1, 4))
    quiet = {"quiet_hours": {"start": start, "end": end, "time_zone": "UTC"}}
    client.make("welcome", actions=ACTIONS, variables=VARIABLES)
    client.make("quiet", actions=ACTIONS, variables=VARIABLES, fatigue=quiet)
    client.make("composed", actions=[], composition={"slots": SLOTS, "allow_nothing": True})


def hold(database_url: str, unit_id: str, decision_id: str) -> None:
    """A message that is held for a unit, as a firing leaves it."""
    statement = """INSERT INTO deliveries (decision_id, experiment_id, unit_id, message, status)
        SELECT %s, id, %s, %s, 'waiting' FROM experiments WHERE key = %s"""
    query(database_url, statement, decision_id, unit_id, orjson.dumps(HELD).decode(), EXPERIMENT)


def test_a_message_is_written_for_the_person(loopwise: Any, database_url: str) -> None:
    decision = loopwise.message(
        "welcome",
        "ada",
        variables={"user_name": "Ada", "lessons": 3},
        locale="de-AT",
        channel="push",
        time_zone="Europe/Vienna",
        context={"device": "phone"},
        excluded_actions=["say-nothing"],
    )
    assert isinstance(decision, MessageDecision)
    assert decision.message == Message("Hallo Ada", "Noch 3.", "", "de", "push")
    assert (decision.action_id, decision.logged, decision.propensity) == ("personal", True, 1.0)
    assert decision.ineligible == (("say-nothing", "excluded"),)
    stored = query(database_url, "SELECT unit_id, context, message FROM decisions WHERE id = %s", decision.decision_id)
    assert stored == [("ada", {"device": "phone"}, decision.message._asdict())]


def test_saying_nothing_is_a_decision_that_has_rewards_and_feedback(loopwise: Any) -> None:
    decision = loopwise.message("welcome", "ada", excluded_actions=["personal"])
    assert (decision.message, decision.action_id, decision.payload) == (None, "say-nothing", {"quiet": True})
    assert decision.logged and loopwise.reward(decision, 1.0).logged


def test_a_message_may_be_a_trial(loopwise: Any, database_url: str) -> None:
    variables = {"user_name": "Ada", "lessons": 3}
    decision = loopwise.message("welcome", "tester", variables=variables, test=True)
    assert decision.logged and decision.test
    stored = query(database_url, "SELECT state FROM decisions WHERE id = %s", decision.decision_id)
    assert stored == [("trial",)]


def test_the_same_message_id_gets_the_same_message(loopwise: Any) -> None:
    own = loopwise_client.new_id()
    body = {"variables": {"lessons": 3}, "decision_id": own, "defer_activation": True}
    first = loopwise.message("welcome", "ada", **body)
    assert first == loopwise.message("welcome", "ada", **body)
    assert loopwise.activate(first) is True


def test_quiet_hours_go_by_the_persons_time_zone(loopwise: Any) -> None:
    for zone, left_out in (("UTC", ["personal"]), ("Etc/GMT+12", [])):  # twelve hours apart
        for decision in (
            loopwise.message("quiet", "ada", variables={"lessons": 3}, time_zone=zone),
            loopwise.decide("quiet", "ada", time_zone=zone, excluded_actions=["say-nothing"] if not left_out else []),
        ):
            hushed = [action.id for action in decision.ineligible if "quiet" in action.reason]
            assert (hushed, decision.logged) == (left_out, True)
    with pytest.raises(loopwise_client.Unprocessable, match="/time_zone"):
        loopwise.message("quiet", "ada", time_zone="Middle/Earth")
    with pytest.raises(loopwise_client.Unprocessable, match="/time_zone"):
        loopwise.decide("quiet", "ada", time_zone="Middle/Earth", default="say-nothing")


def test_a_composed_message_has_its_slots(loopwise: Any) -> None:
    for _ in range(40):
        decision = loopwise.message("composed", "ada")
        product = 1.0
        for slot in decision.slots:
            product *= slot.given_above
            assert sum(part.probability for part in slot.distribution) == pytest.approx(1)
        assert product == pytest.approx(decision.propensity)
        if decision.message is not None:
            break
    assert [slot.slot for slot in decision.slots] == ["say", "subject", "tone"]
    tone = decision.slots[2]
    assert decision.message == Message("Hello", tone.part, "", "en", "in_app")
    assert {chance.part for chance in tone.distribution} == {"warm", "brisk"}


def test_a_list_has_positions_of_their_own(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, "ada", slots=4)
    first, second, third = decision.positions
    assert (decision.unfilled, decision.decision_id, decision.action_id) == (1, first.decision_id, first.action_id)
    assert sorted(position.action_id for position in decision.positions) == ["a", "b", "c"]
    assert [position.propensity for position in decision.positions] == pytest.approx([1 / 3, 1 / 2, 1])
    assert all(
        position.payload == {"text": position.action_id.upper()} and position.logged for position in decision.positions
    )
    assert [position.position for position in decision.positions] == [1, 2, 3]
    loopwise.reward(second, 0.5)
    loopwise.feedback(third, "thumbs", "up")
    assert loopwise.activate(second) is False
    rewards = "SELECT decision_id, value FROM rewards WHERE decision_id LIKE %s"
    assert query(database_url, rewards, f"{decision.decision_id}%") == [(second.decision_id, 0.5)]
    statement = "SELECT decision_id, kind FROM feedback WHERE decision_id LIKE %s"
    assert query(database_url, statement, f"{decision.decision_id}%") == [(third.decision_id, "thumbs")]


def test_lists_and_single_decisions_share_a_batch(loopwise: Any) -> None:
    questions = [Question(experiment=EXPERIMENT, unit_id="ada", slots=slots) for slots in (2, None, 3)]
    assert [len(decision.positions) for decision in loopwise.decide_batch(questions)] == [2, 0, 3]


def test_there_are_no_more_defaults_than_positions(loopwise: Any) -> None:
    for default, slots in ((["a", "b"], None), ([], 2), (["a", "b", "c"], 2)):
        with pytest.raises(ValueError, match="one for each position"):
            loopwise.decide(EXPERIMENT, "ada", slots=slots, default=default)


ANSWERS = [
    ("thumbs", "up"), ("stars", 4), ("score", 7.5), ("reason", "too long"), ("comment", None), ("dismissed", None),
    ("not_interested", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), ANSWERS)
def test_every_kind_of_feedback_is_stored_once(loopwise: Any, kind: Any, value: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, f"{kind} {loopwise_client.new_id()}")
    sent = [loopwise.feedback(decision, kind, value, "Nice. 🎯", feedback_id="f-1") for _ in range(2)]
    assert sent[0] == sent[1]
    receipt = sent[0]
    assert (receipt.kind, receipt.value, receipt.comment) == (kind, value, "Nice. 🎯")
    assert (receipt.logged, receipt.late, receipt.feedback_id) == (True, False, "f-1")
    assert receipt.occurred_at.tzinfo is not None and receipt.received_at.tzinfo is not None
    stored = "SELECT feedback_id, kind, value, comment FROM feedback WHERE decision_id = %s"
    assert query(database_url, stored, decision.decision_id) == [("f-1", kind, value, "Nice. 🎯")]


def test_answers_are_two_unless_they_have_one_id(loopwise: Any, database_url: str) -> None:
    decision = loopwise.decide(EXPERIMENT, loopwise_client.new_id())
    for _ in range(2):
        loopwise.feedback(decision.decision_id, "stars", 5, occurred_at=NOW)
    stored = "SELECT value, occurred_at FROM feedback WHERE decision_id = %s"
    assert query(database_url, stored, decision.decision_id) == [(5, NOW)] * 2
    loopwise.feedback(decision, "stars", 5, feedback_id="mine")
    with pytest.raises(loopwise_client.Conflict, match="feedback_id_reused"):
        loopwise.feedback(decision, "stars", 4, feedback_id="mine")
    with pytest.raises(loopwise_client.Unprocessable, match="/value: give a whole number from 1 to 5"):
        loopwise.feedback(decision, "stars", 6)


def test_a_batch_of_feedback_keeps_its_order(loopwise: Any) -> None:
    decisions = loopwise.decide_batch([Question(experiment=EXPERIMENT, unit_id=f"f{n}") for n in range(5)])
    answers = [Feedback(decision, "score", n) for n, decision in enumerate(decisions)]
    receipts = loopwise.feedback_batch(answers)
    assert [receipt.value for receipt in receipts] == [0, 1, 2, 3, 4]
    assert [receipt.feedback_id for receipt in receipts] == [answer.feedback_id for answer in answers]
    assert loopwise.feedback_batch(answers) == receipts
    assert loopwise.feedback_batch([]) == []


def test_an_event_is_stored_once_with_the_clients_id(loopwise: Any, database_url: str) -> None:
    properties = {"lesson": {"level": 2}, "ü": ["🎯"]}
    receipt = loopwise.event("ada", "lesson-done", properties, occurred_at=NOW - timedelta(hours=1))
    again = loopwise.event(
        "ada", "lesson-done", properties, event_id=receipt.event_id, occurred_at=NOW - timedelta(hours=1)
    )
    assert again == receipt
    assert (receipt.occurred_at, receipt.ignored) == (NOW - timedelta(hours=1), None)
    stored = "SELECT unit_id, name, properties FROM events WHERE event_id = %s"
    assert query(database_url, stored, receipt.event_id) == [("ada", "lesson-done", properties)]
    with pytest.raises(loopwise_client.Conflict, match="event_id_reused"):
        loopwise.event("eve", "lesson-done", event_id=receipt.event_id)


def test_an_event_from_long_ago_says_that_it_fires_nothing(loopwise: Any) -> None:
    assert loopwise.event("ada", "old", occurred_at=NOW - timedelta(days=30)).ignored


def test_events_keep_their_order_and_count_once(loopwise: Any, database_url: str) -> None:
    unit = loopwise_client.new_id()
    happened = [Event(unit, "step", {"n": n}) for n in range(50)]
    receipts = loopwise.events(happened)
    assert [receipt.event_id for receipt in receipts] == [event.event_id for event in happened]
    assert loopwise.events(happened) == receipts
    assert query(database_url, "SELECT count(*) FROM events WHERE unit_id = %s", unit) == [(50,)]
    assert loopwise.events([]) == []


@pytest.mark.parametrize("text", IDS)
def test_held_messages_are_given_out_until_they_are_received(loopwise: Any, text: str, database_url: str) -> None:
    query(database_url, "DELETE FROM deliveries WHERE unit_id = %s", text)
    hold(database_url, text, f"{text}!"[-500:])
    (delivery,) = loopwise.pending(text)
    assert isinstance(delivery, Delivery) and delivery.message == Message("", "Hello", "", "en", "in_app")
    assert (delivery.unit_id, delivery.decision_id, delivery.experiment) == (text, f"{text}!"[-500:], EXPERIMENT)
    assert delivery.created_at.tzinfo is not None
    assert [loopwise.received(delivery), loopwise.received(delivery.decision_id)] == [True, False]
    assert loopwise.pending(text) == []


def test_a_message_that_is_not_held_cannot_be_received(loopwise: Any) -> None:
    with pytest.raises(loopwise_client.NotFound, match="unknown_delivery"):
        loopwise.received("nowhere")


MISTAKES: dict[str, Callable[[Any], Any]] = {
    "Out of range": lambda loopwise: loopwise.feedback("x", "score", float("nan")),
    "time zone": lambda loopwise: loopwise.event("x", "y", occurred_at=datetime(2026, 1, 1)),
    "seconds above 0": lambda loopwise: loopwise.pending("x", deadline_s=-1),
    "not JSON serializable": lambda loopwise: loopwise.message("x", "y", variables={"z": object()}),
}


@pytest.mark.parametrize("said", MISTAKES)
def test_values_that_cannot_be_sent_raise_an_error(loopwise: Any, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        MISTAKES[said](loopwise)


def test_refusals_are_not_hidden_by_silence(connect: Callable[..., Any], database_url: str) -> None:
    loopwise = connect()
    with pytest.raises(loopwise_client.NotFound, match="unknown_experiment"):
        loopwise.message("nowhere", "ada")
    with pytest.raises(loopwise_client.Unprocessable, match="/locale"):
        loopwise.message("welcome", "ada", locale="Deutsch!")
    with pytest.raises(loopwise_client.Forbidden):
        connect(key=make_key(database_url, "reward")).message("welcome", "ada")
    with pytest.raises(loopwise_client.NotFound, match="unknown_decision"):
        loopwise.feedback_batch([Feedback("nowhere", "dismissed")])
    assert loopwise.reward_batch([Reward(loopwise.message("welcome", "ada"), 0.5)])[0].logged
