"""A tighter cap, asked of a log that a running server collected under a looser one."""

import random
from typing import Any

import pytest

from app.learning.training import train_round
from tests.service import Client, engine_of, move_decisions, query, settings

WEEK_S = 604_800.0
ACTIONS = [{"id": "tip", "template": {"texts": {"en": {"body": "A tip"}}}}, {"id": "nothing"}]


def settle(database_url: str, key: str) -> None:
    """Close every reward window and make the outcomes final."""
    ((made,),) = query(database_url, "SELECT id FROM experiments WHERE key = %s", key)
    past = "closes_at = clock_timestamp() - interval '1 second' WHERE experiment_id = %s AND closes_at IS NOT NULL"
    query(database_url, f"UPDATE awaiting_outcome SET {past}", made)
    with engine_of(database_url) as engine:
        assert train_round(engine, settings(database_url), made, "all") is not None


def collect(client: Client, database_url: str, key: str, units: int, days: int, cap: int) -> None:
    """A day a round: every unit is asked once, messages tire, and yesterday becomes a day older."""
    chance, said = random.Random(7), dict.fromkeys(range(units), 0)
    for _ in range(days):
        decided = client.decide_many(key, [{"unit_id": f"{key}-{unit}"} for unit in range(units)])
        rewards = {}
        for unit, one in enumerate(decided):
            says = one["action"]["id"] == "tip"
            mean = 0.7 - 0.3 * said[unit] if says else max(0.3 - 0.1 * said[unit], 0)
            said[unit] += says
            rewards[one["decision_id"]] = float(chance.random() < mean)
        client.reward_many(rewards)
        move_decisions(database_url, "d.decided_at - interval '1 day'", "d.unit_id LIKE %s", f"{key}-%")
    assert max(said.values()) <= cap
    settle(database_url, key)


def truth(cap: int, days: int = 5, runs: int = 200_000) -> float:
    """The expected sum of a unit's rewards when the cap really holds: an own simulation, in whole states."""
    chance, total = random.Random(1), 0.0
    for _ in range(runs):
        said = 0
        for _ in range(days):
            says = said < cap and chance.random() < 0.5
            total += 0.7 - 0.3 * said if says else max(0.3 - 0.1 * said, 0)
            said += says
    return total / runs


def test_two_a_week_instead_of_three_is_answered_within_its_interval(client: Client, database_url: str) -> None:
    client.make("weekly", actions=ACTIONS, fatigue={"caps": [{"limit": 3, "window_s": WEEK_S}]})
    collect(client, database_url, "weekly", units=400, days=5, cap=3)
    answer = client.post("/v1/experiments/weekly/cap-evaluations", {"cap": {"limit": 2, "window_s": WEEK_S}})
    assert answer.status == 200, answer.raw
    found: dict[str, Any] = answer.body
    assert (found["units"], found["decisions"]) == (400, 2000)
    low, high = found["interval"]
    wide = (high - low) / 3  # a 95% interval alone would fail one run in twenty
    assert low - wide <= truth(2) <= high + wide
    assert found["effective_units"] > 20 and found["touched"] > 100
    low, high = found["difference_interval"]
    wide = (high - low) / 3
    assert low - wide <= truth(2) - truth(3) <= high + wide
    same = client.post("/v1/experiments/weekly/cap-evaluations", {"cap": {"limit": 3, "window_s": WEEK_S}}).body
    assert same["difference"] == pytest.approx(0, abs=1e-9) and same["value"] == pytest.approx(same["logged"])


def test_what_the_log_cannot_answer_is_said(client: Client, database_url: str) -> None:
    cap = {"cap": {"limit": 2, "window_s": WEEK_S}}
    client.make("young", actions=ACTIONS)
    refused = client.post("/v1/experiments/young/cap-evaluations", cap)
    assert (refused.status, refused.body["errors"][0]["path"]) == (422, "/cap")
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": "tip"}}]
    client.make("loud", actions=ACTIONS, arms=arms)
    for _ in range(4):
        client.decide("loud", unit_id="l")
    settle(database_url, "loud")
    refused = client.post("/v1/experiments/loud/cap-evaluations", cap)
    assert refused.status == 422 and "a message is certain" in refused.body["detail"]
    assert client.post("/v1/experiments/none/cap-evaluations", cap).status == 404
