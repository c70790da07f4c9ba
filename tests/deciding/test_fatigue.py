"""Caps, quiet hours, distance and mutes apply before the draw, are logged, and are exact under concurrent calls."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.service import Client, move_decisions, query

DAY_S = 86_400.0


def message(text: str, channel: str = "in_app") -> dict[str, Any]:
    return {"channel": channel, "texts": {"en": {"body": text}}}


ACTIONS = [
    {"id": "tip", "template": message("A tip")},
    {"id": "push", "template": message("A push", "push")},
    {"id": "nothing"},
]


def speaking(client: Client, key: str, **fatigue: Any) -> str:
    """Make an experiment that sends a message whenever it may."""
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "tip"}}]
    client.make(key, actions=ACTIONS, arms=arms, fatigue=fatigue)
    return key


def ask(client: Client, experiment: str, unit: str, **fields: Any) -> Any:
    answer = client.post("/v1/messages/decide", {"experiment": experiment, "unit_id": unit, **fields})
    assert answer.status in (200, 201), answer.raw
    return answer.body


def reasons(answer: Any) -> dict[str, str]:
    return {item["id"]: item["reason"] for item in answer["ineligible"]}


def age(database_url: str, unit: str, seconds: float) -> None:
    """Make a unit's decisions older by so many seconds."""
    move_decisions(database_url, f"d.decided_at - make_interval(secs => {seconds})", "d.unit_id = %s", unit)


def test_fifty_concurrent_decisions_under_a_cap_of_one_send_exactly_one_message(
    client: Client, database_url: str
) -> None:
    speaking(client, "capped-once", caps=[{"limit": 1, "window_s": DAY_S}])
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: ask(client, "capped-once", "crowded"), range(50)))
    speaking_answers = [answer for answer in answers if answer["message"] is not None]
    assert len(speaking_answers) == 1
    silent = [answer for answer in answers if answer["message"] is None]
    capped = "cap: at most 1 message of all experiments in 86400 s"
    assert all(reasons(answer) == {"tip": capped, "push": capped} for answer in silent)
    assert all(answer["propensity"] == 1.0 for answer in silent)
    stored = "SELECT count(*), count(channel) FROM decisions WHERE unit_id = 'crowded'"
    assert query(database_url, stored) == [(50, 1)]


def test_caps_count_the_messages_of_the_same_batch(client: Client) -> None:
    speaking(client, "capped-twice", caps=[{"limit": 2, "window_s": DAY_S}])
    requests = [{"experiment": "capped-twice", "unit_id": unit} for unit in ("x", "y", "x", "x", "y", "x")]
    answer = client.post("/v1/decide/batch", {"decisions": requests})
    assert answer.status == 201, answer.raw
    assert [decision["action"]["id"] for decision in answer.body["decisions"]] == [
        "tip",
        "tip",
        "tip",
        "nothing",
        "tip",
        "nothing",
    ]


def test_the_window_of_a_cap_moves_with_time(client: Client, database_url: str) -> None:
    speaking(client, "rolling", caps=[{"limit": 2, "window_s": DAY_S}])
    ask(client, "rolling", "roller")
    age(database_url, "roller", DAY_S - 600)
    ask(client, "rolling", "roller")
    assert ask(client, "rolling", "roller")["message"] is None
    age(database_url, "roller", 700)  # the first left the window, the second is 700 s old
    assert ask(client, "rolling", "roller")["message"] is not None
    assert ask(client, "rolling", "roller")["message"] is None


def test_caps_count_by_channel_by_message_and_by_experiment(client: Client) -> None:
    speaking(client, "by-channel", caps=[{"limit": 1, "window_s": DAY_S, "channel": "in_app"}])
    speaking(client, "by-message", caps=[{"limit": 1, "window_s": DAY_S, "action": "tip"}])
    speaking(client, "of-its-own", caps=[{"limit": 1, "window_s": DAY_S, "across": "experiment"}])
    assert ask(client, "by-channel", "c")["action"]["id"] == "tip"
    assert reasons(ask(client, "by-channel", "c")) == {
        "tip": "cap: at most 1 in_app message of all experiments in 86400 s"
    }
    assert reasons(ask(client, "by-message", "c")) == {}  # the other experiment's "tip" is another message
    assert reasons(ask(client, "by-message", "c")) == {"tip": "cap: at most 1 message of this action in 86400 s"}
    assert reasons(ask(client, "of-its-own", "c")) == {}
    assert set(reasons(ask(client, "of-its-own", "c"))) == {"tip", "push"}


def test_the_minimum_distance_counts_messages_of_every_experiment(client: Client, database_url: str) -> None:
    speaking(client, "near", min_distance_s=3600.0)
    speaking(client, "nearer", caps=[{"limit": 9, "window_s": 60.0}])
    ask(client, "nearer", "neighbour")
    assert reasons(ask(client, "near", "neighbour")) == dict.fromkeys(("tip", "push"), "another message within 3600 s")
    age(database_url, "neighbour", 3601)
    assert reasons(ask(client, "near", "neighbour")) == {}


def test_quiet_hours_use_the_time_zone_of_the_unit(client: Client) -> None:
    now = datetime.now(UTC)
    start, end = ((now + timedelta(hours=hours)).strftime("%H:%M") for hours in (-1, 1))
    speaking(client, "quiet", quiet_hours={"start": start, "end": end, "time_zone": "UTC"})
    assert reasons(ask(client, "quiet", "q")) == {"tip": "quiet hours", "push": "quiet hours"}
    assert reasons(ask(client, "quiet", "q", time_zone="Asia/Tokyo")) == {}  # nine hours on
    refused = client.post("/v1/messages/decide", {"experiment": "quiet", "unit_id": "q", "time_zone": "Middle/Earth"})
    assert refused.status == 422 and refused.body["errors"][0]["path"] == "/time_zone"


def test_a_retry_gets_the_same_message_and_counts_once(client: Client) -> None:
    speaking(client, "retried", caps=[{"limit": 1, "window_s": DAY_S}])
    first = ask(client, "retried", "r", decision_id="retried-1")
    assert ask(client, "retried", "r", decision_id="retried-1") == first
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(client, "retried", "twin", decision_id="twin-1"), range(8)))
    assert all(answer == answers[0] for answer in answers) and answers[0]["message"] is not None


def test_a_plain_decision_counts_as_a_message_too(client: Client) -> None:
    speaking(client, "plain-decide", caps=[{"limit": 1, "window_s": DAY_S}])
    assert client.decide("plain-decide", unit_id="p").body["action"]["id"] == "tip"
    assert client.decide("plain-decide", unit_id="p").body["action"]["id"] == "nothing"


def test_caps_need_an_action_without_a_message(client: Client) -> None:
    document = {
        "key": "loud",
        "actions": ACTIONS[:2],
        "arms": [{"key": "a", "share": 1.0, "policy": {"type": "uniform"}}],
    }
    refused = client.post("/v1/experiments", {**document, "fatigue": {"caps": [{"limit": 1, "window_s": 60.0}]}})
    assert refused.status == 422
    assert refused.body["errors"][0]["path"] == "/actions"
    wrong = {"caps": [{"limit": 1, "window_s": 60.0, "action": "unheard"}]}
    refused = client.post("/v1/experiments", {**document, "actions": ACTIONS, "fatigue": wrong})
    assert refused.body["errors"][0]["path"] == "/fatigue/caps/0/action"


def test_not_interested_mutes_an_action_for_its_unit_for_a_while(client: Client, database_url: str) -> None:
    client.make("muted", feedback={"mute_s": 3600.0})
    add = (
        "INSERT INTO feedback (decision_id, feedback_id, experiment_id, unit_id, action, kind, occurred_at, received_at, late)"
        " SELECT %s, 'f', id, 'm', %s, 'not_interested', now(), now() - make_interval(secs => %s), false"
        " FROM experiments WHERE key = 'muted'"
    )
    query(database_url, add, "mute-1", "a", 10)
    query(database_url, add, "mute-2", "b", 3700)
    answer = client.decide("muted", unit_id="m").body
    assert reasons(answer) == {"a": "not interested"}
    assert reasons(client.decide("muted", unit_id="somebody else").body) == {}
    query(database_url, add, "mute-3", "b", 10)
    query(database_url, add, "mute-4", "c", 10)
    refused = client.decide("muted", unit_id="m")
    assert refused.status == 422 and "a: not interested" in refused.body["detail"]


@pytest.mark.parametrize(
    ("start", "end", "clock", "quiet"),
    [
        ("22:00", "08:00", "23:30", True),
        ("22:00", "08:00", "07:59", True),
        ("22:00", "08:00", "08:00", False),
        ("12:00", "14:00", "13:00", True),
        ("12:00", "14:00", "14:00", False),
        ("12:00", "12:00", "12:00", False),
    ],
)
def test_quiet_hours_may_span_midnight(start: str, end: str, clock: str, quiet: bool) -> None:
    from app.deciding.eligibility import is_quiet
    from app.design.people_config import QuietHours

    moment = datetime.fromisoformat(f"2026-11-21T{clock}:00+00:00").timestamp()
    assert is_quiet(QuietHours(start=start, end=end), None, moment) is quiet
