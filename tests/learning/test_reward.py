"""Reward calls as an app makes them."""

from typing import Any

import pytest

from app.learning.api.answers import RewardAnswer, RewardBatchAnswer
from tests.service import Client, Web, make_key, query, wait_for

EXPERIMENT = "rewards"


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make(EXPERIMENT, reward={"window_s": 600.0, "min": -1.0, "max": 2.0})


@pytest.fixture
def decision_id(client: Client) -> str:
    return str(client.decide(EXPERIMENT).body["decision_id"])


def _receipt(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status == status, answer.raw
    RewardAnswer.model_validate(answer.body, strict=True, extra="forbid")
    return dict(answer.body)


def test_a_reward_is_stored_with_a_receipt(client: Client, decision_id: str, database_url: str) -> None:
    receipt = _receipt(client.reward(decision_id, 1.5, reward_id="sale"), 201)
    assert (receipt["value"], receipt["metric"], receipt["late"]) == (1.5, "reward", False)
    assert query(database_url, "SELECT reward_id, value FROM rewards WHERE decision_id = %s", decision_id) == [
        ("sale", 1.5)
    ]


def test_the_same_event_sent_twice_gets_200_and_the_same_receipt(client: Client, decision_id: str) -> None:
    first = _receipt(client.reward(decision_id, 1, reward_id="sale"), 201)
    assert _receipt(client.reward(decision_id, 1.0, reward_id="sale"), 200) == first


def test_without_an_id_the_same_value_counts_once_and_another_value_is_another_event(
    client: Client, decision_id: str
) -> None:
    first = _receipt(client.reward(decision_id, 1), 201)
    assert _receipt(client.reward(decision_id, 1), 200) == first
    assert _receipt(client.reward(decision_id, 2), 201)["reward_id"] != first["reward_id"]


def test_without_an_id_a_retry_may_stamp_its_own_time(client: Client, decision_id: str) -> None:
    times = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", None]
    bodies = [{"decision_id": decision_id, "value": 0.5, **({"occurred_at": at} if at else {})} for at in times]
    answers = [client.post("/v1/reward", body) for body in bodies]
    assert [answer.status for answer in answers] == [201, 200, 200]
    assert answers[0].body == answers[1].body == answers[2].body


@pytest.mark.parametrize("other", [{"value": 0}, {"metric": "clicks"}, {"occurred_at": "2026-01-31T12:00:00Z"}])
def test_another_event_with_the_same_reward_id_gets_409(
    client: Client, decision_id: str, other: dict[str, Any]
) -> None:
    event = {"decision_id": decision_id, "value": 1.0, "reward_id": "sale"}
    assert client.post("/v1/reward", event).status == 201
    answer = client.post("/v1/reward", event | other)
    assert (answer.status, answer.body["code"]) == (409, "reward_id_reused")


def test_the_time_of_an_event_may_be_in_any_time_zone(client: Client, decision_id: str) -> None:
    receipt = _receipt(client.reward(decision_id, 1, occurred_at="2026-01-31T12:00:00+05:30"), 201)
    assert receipt["occurred_at"] == "2026-01-31T06:30:00Z"


def test_values_of_other_metrics_are_stored_and_have_no_bounds(client: Client, decision_id: str) -> None:
    assert _receipt(client.reward(decision_id, 1e6, metric="revenue"), 201)["metric"] == "revenue"
    assert client.reward(decision_id, 1e6).status == 422


def test_a_batch_is_stored_whole_or_not_at_all(client: Client, database_url: str) -> None:
    ids = [decision["decision_id"] for decision in client.decide_many(EXPERIMENT, [{} for _ in range(1000)])]
    rewards = [{"decision_id": decision_id, "value": 1.0} for decision_id in ids]
    for bad, status in (
        ({"decision_id": "never-made", "value": 1.0}, 404),
        ({"decision_id": ids[0], "value": 9.0}, 422),
    ):
        answer = client.post("/v1/rewards/batch", {"rewards": [*rewards[:5], bad]})
        assert (answer.status, answer.body["detail"].startswith("/rewards/5")) == (status, True)
    assert query(database_url, "SELECT count(*) FROM rewards WHERE decision_id = %s", ids[0]) == [(0,)]
    answer = client.post("/v1/rewards/batch", {"rewards": rewards})
    assert answer.status == 201
    RewardBatchAnswer.model_validate(answer.body, strict=True, extra="forbid")
    again = client.post("/v1/rewards/batch", {"rewards": rewards})
    assert (again.status, again.body) == (200, answer.body)
    assert client.post("/v1/rewards/batch", {"rewards": [*rewards, rewards[0]]}).status == 422


def test_a_batch_may_contain_the_same_event_twice(client: Client, decision_id: str, database_url: str) -> None:
    event = {"decision_id": decision_id, "value": 1.0, "reward_id": "twice"}
    assert client.post("/v1/rewards/batch", {"rewards": [event, event]}).status == 201
    assert query(database_url, "SELECT count(*) FROM rewards WHERE decision_id = %s", decision_id) == [(1,)]
    conflict = [event, event | {"value": 0.0}]
    assert client.post("/v1/rewards/batch", {"rewards": conflict}).status == 409


def test_a_reward_after_the_window_is_stored_and_marked_late(client: Client, database_url: str) -> None:
    client.make("short", reward={"window_s": 1.0})
    decision_id = client.decide("short").body["decision_id"]
    closed = "SELECT closes_at < clock_timestamp() FROM decisions WHERE id = %s"
    wait_for(lambda: query(database_url, closed, decision_id)[0][0], 20)
    assert _receipt(client.reward(decision_id, 1), 201)["late"] is True


IN_TIME = "2001-01-01T00:00:00Z"  # long before any window here closes
TOO_LATE = "2101-01-01T00:00:00Z"


@pytest.mark.parametrize("occurred_at", [IN_TIME, TOO_LATE, None])
def test_a_reward_that_arrives_after_the_window_is_late_whatever_occurred_at_says(
    client: Client, decision_id: str, database_url: str, occurred_at: str | None
) -> None:
    query(database_url, "UPDATE decisions SET closes_at = clock_timestamp() WHERE id = %s", decision_id)
    receipt = _receipt(client.reward(decision_id, 1, **({"occurred_at": occurred_at} if occurred_at else {})), 201)
    assert receipt["late"] is True


@pytest.mark.parametrize("occurred_at", [IN_TIME, TOO_LATE, None])
def test_a_reward_that_arrives_within_the_window_is_in_time_whatever_occurred_at_says(
    client: Client, decision_id: str, occurred_at: str | None
) -> None:
    """The caller's clock may be wrong, so the database's time of arrival decides."""
    receipt = _receipt(client.reward(decision_id, 1, **({"occurred_at": occurred_at} if occurred_at else {})), 201)
    assert (receipt["late"], receipt["occurred_at"]) == (False, occurred_at or receipt["received_at"])


def test_paused_and_concluded_experiments_still_accept_rewards(client: Client) -> None:
    client.make("ended")
    decision_id = client.decide("ended").body["decision_id"]
    for verb, status in (("pause", 201), ("conclude", 200)):
        assert client.post(f"/v1/experiments/ended/{verb}").status == 200
        assert client.reward(decision_id, 1).status == status


def test_a_key_of_another_experiment_may_neither_reward_nor_activate(
    client: Client, web: Web, database_url: str, decision_id: str
) -> None:
    client.make("other")
    bound = web.client(make_key(database_url, experiment="other"))
    for answer in (bound.reward(decision_id, 1), bound.post(f"/v1/decisions/{decision_id}/activate")):
        assert (answer.status, answer.body["code"]) == (404, "unknown_decision")


def test_an_event_that_many_clients_report_concurrently_is_stored_once(
    client: Client, decision_id: str, database_url: str
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.reward(decision_id, 1, reward_id="raced"), range(32)))
    assert sorted(answer.status for answer in answers) == [200] * 31 + [201]
    assert len({answer.raw for answer in answers}) == 1


def test_a_unit_with_too_many_rewards_gets_429_with_the_time_to_wait(client: Client, database_url: str) -> None:
    client.make("limited", safety={"reward_limit": 3, "reward_limit_window_s": 900.0})
    ids = [client.decide("limited", "keen").body["decision_id"] for _ in range(4)]
    assert client.reward_many(dict.fromkeys(ids[:3], 1.0)).status == 201
    answer = client.reward(ids[3], 1.0)
    assert (answer.status, answer.body["code"]) == (429, "reward_limit")
    assert 800 <= int(answer.headers["Retry-After"]) <= 900
    assert client.reward(ids[0], 1.0).status == 200, "a retry is no new reward"
    other = client.decide("limited", "another").body["decision_id"]
    assert client.reward(other, 1.0).status == 201
    batch = [{"decision_id": other, "value": float(n % 2), "reward_id": f"r{n}"} for n in range(4)]
    assert client.post("/v1/rewards/batch", {"rewards": batch}).status == 429
    assert query(database_url, "SELECT count(*) FROM rewards WHERE decision_id = %s", other) == [(1,)]
    shift = "UPDATE rewards SET received_at = received_at - interval '16 minutes' WHERE decision_id = %s"
    query(database_url, shift, ids[0])
    assert client.reward(ids[3], 1.0).status == 201
