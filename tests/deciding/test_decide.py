"""Decide calls as an app makes them. Every answer is compared with the model in the OpenAPI document."""

from typing import Any

import pytest

from app.deciding.api.answers import DecideAnswer, DecideBatchAnswer
from app.deciding.requests import DecideRequest, identify
from app.learning.api.answers import ActivationAnswer
from tests.service import BOTH_FRONTS, Client, bandit, query

FRONTS = BOTH_FRONTS

EXPERIMENT = "decide"


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make(EXPERIMENT)


def _decided(answer: Any, status: int = 201) -> dict[str, Any]:
    assert answer.status == status, answer.raw
    DecideAnswer.model_validate(answer.body, strict=True, extra="forbid")
    return dict(answer.body)


def test_a_decision_names_arm_action_payload_propensity_and_the_whole_ranking(client: Client) -> None:
    decided = _decided(client.decide(EXPERIMENT, context={"hour": 7}))
    assert decided["arm"] == "all"
    assert decided["action"]["payload"] == {"text": decided["action"]["id"].upper()}
    assert decided["propensity"] == pytest.approx(1 / 3)
    assert sorted(item["id"] for item in decided["ranking"]) == ["a", "b", "c"]
    assert decided["ranking"][0] == {"id": decided["action"]["id"], "probability": decided["propensity"]}
    assert sum(item["probability"] for item in decided["ranking"]) == pytest.approx(1, abs=1e-12)
    assert (decided["policy_version"], decided["ineligible"]) == (0, [])


def test_the_log_stores_the_decision_that_was_answered(client: Client, database_url: str) -> None:
    decided = _decided(client.decide(EXPERIMENT, "unit-7", context={"a": [1, {"b": "ü"}]}))
    columns = "unit_id, arm, propensity, distribution, chosen, eligible, context, state, closes_at > decided_at"
    ((unit, arm, propensity, distribution, chosen, eligible, context, state, open_),) = query(
        database_url, f"SELECT {columns} FROM decisions WHERE id = %s", decided["decision_id"]
    )
    assert (unit, arm, context, state, open_) == ("unit-7", "all", {"a": [1, {"b": "ü"}]}, "active", True)
    assert (eligible[chosen], distribution[chosen]) == (decided["action"]["id"], propensity)
    assert propensity == decided["propensity"]


def test_a_retry_with_the_same_id_and_body_gets_200_and_the_same_answer(client: Client) -> None:
    first = _decided(client.decide(EXPERIMENT, decision_id="again"))
    assert _decided(client.decide(EXPERIMENT, decision_id="again"), 200) == first


def test_a_retry_may_order_the_keys_of_its_body_differently(client: Client) -> None:
    body = b'{"decision_id": "ordered", "experiment": "decide", "unit_id": "u", "context": {"a": 1, "b": 2}}'
    turned = b'{"context": {"b": 2, "a": 1}, "unit_id": "u", "experiment": "decide", "decision_id": "ordered"}'
    assert (client.post("/v1/decide", body).status, client.post("/v1/decide", turned).status) == (201, 200)


def test_a_retry_may_write_whole_numbers_in_another_way(client: Client) -> None:
    body = '{"decision_id": "whole", "experiment": "decide", "unit_id": "u", "context": {"a": %s, "b": [%s, 2.5]}}'
    answers = [
        client.post("/v1/decide", (body % (a, b)).encode()) for a, b in (("1.0", "3"), ("1", "3.0"), ("1.5", "3"))
    ]
    assert [answer.status for answer in answers] == [201, 200, 409]


@pytest.mark.parametrize("other", [{"context": {"x": 1}}, {"unit_id": "other"}, {"excluded_actions": ["a"]}])
def test_the_same_id_with_another_body_gets_409(client: Client, other: dict[str, Any]) -> None:
    client.decide(EXPERIMENT, decision_id="reused")
    answer = client.post("/v1/decide", {"experiment": EXPERIMENT, "unit_id": "unit", "decision_id": "reused"} | other)
    assert (answer.status, answer.body["code"]) == (409, "decision_id_reused")


def test_excluded_actions_are_ineligible_and_get_no_probability(client: Client) -> None:
    decided = _decided(client.decide(EXPERIMENT, excluded_actions=["b", "unknown"]))
    assert decided["ineligible"] == [{"id": "b", "reason": "excluded", "code": "excluded", "params": {}}]
    assert {item["id"]: item["probability"] for item in decided["ranking"]} == {"a": 0.5, "c": 0.5}


def test_a_call_may_bring_its_own_actions(client: Client) -> None:
    actions = [{"id": f"own-{n}", "features": {"n": n}, "payload": [n, None]} for n in range(4)]
    decided = _decided(client.decide(EXPERIMENT, actions=actions, decision_id="own"))
    assert sorted(item["id"] for item in decided["ranking"]) == [f"own-{n}" for n in range(4)]
    assert decided["action"]["payload"] == [int(decided["action"]["id"][-1]), None]
    assert _decided(client.decide(EXPERIMENT, actions=actions, decision_id="own"), 200) == decided


def test_a_call_can_bring_a_thousand_actions(client: Client) -> None:
    decided = _decided(client.decide(EXPERIMENT, actions=[{"id": str(n), "features": {"n": n}} for n in range(1000)]))
    assert len(decided["ranking"]) == 1000


def test_a_learning_arm_decides_among_a_thousand_actions(client: Client) -> None:
    client.make("wide", arms=bandit("squarecb"))
    decided = _decided(client.decide("wide", actions=[{"id": str(n), "features": {"n": n}} for n in range(1000)]))
    assert len(decided["ranking"]) == 1000


def test_a_unit_stays_in_its_arm_and_arms_get_their_shares(client: Client) -> None:
    arms = [{"key": key, "share": share, "policy": {"type": "uniform"}} for key, share in (("x", 0.2), ("y", 0.8))]
    client.make("shares", arms=arms)
    units = [{"unit_id": f"u{n % 500}"} for n in range(1000)]
    arm_of = [decided["arm"] for decided in client.decide_many("shares", units)]
    assert arm_of[:500] == arm_of[500:]
    assert 60 < arm_of[:500].count("x") < 140  # 100 expected, 4.5 standard deviations


def test_shares_may_sum_to_one_with_a_small_rounding_error(client: Client) -> None:
    arms = [{"key": f"arm-{n}", "share": 0.3333333, "policy": {"type": "uniform"}} for n in range(3)]
    client.make("thirds", arms=arms)
    _decided(client.decide("thirds"))


def test_a_batch_answers_each_request_in_order(client: Client) -> None:
    requests = [{"experiment": EXPERIMENT, "unit_id": f"u{n}", "decision_id": f"batch-{n}"} for n in range(1000)]
    answer = client.post("/v1/decide/batch", {"decisions": requests})
    assert answer.status == 201, answer.raw
    DecideBatchAnswer.model_validate(answer.body, strict=True, extra="forbid")
    assert [decision["decision_id"] for decision in answer.body["decisions"]] == [f"batch-{n}" for n in range(1000)]
    again = client.post("/v1/decide/batch", {"decisions": requests})
    assert (again.status, again.body) == (200, answer.body)
    mixed = client.post("/v1/decide/batch", {"decisions": [*requests[:1], requests[1] | {"decision_id": "new"}]})
    assert (mixed.status, mixed.body["decisions"][0]) == (201, answer.body["decisions"][0])


def test_a_batch_with_one_bad_item_stores_nothing_and_names_it(client: Client, database_url: str) -> None:
    good = {"experiment": EXPERIMENT, "unit_id": "u", "decision_id": "with-a-bad-neighbour"}
    for bad, status in (
        ({"experiment": "nowhere", "unit_id": "u"}, 404),
        ({"experiment": EXPERIMENT, "unit_id": "u", "excluded_actions": ["a", "b", "c"]}, 422),
        ({"experiment": EXPERIMENT, "unit_id": "u", "context": {"x": 1e10}}, 422),
        (good, 422),
    ):
        answer = client.post("/v1/decide/batch", {"decisions": [good, bad]})
        assert answer.status == status, answer.raw
        assert "/decisions/1" in answer.body["detail"] or status == 404
    assert query(database_url, "SELECT count(*) FROM decisions WHERE id = %s", good["decision_id"]) == [(0,)]


def test_a_batch_of_more_than_a_thousand_decisions_gets_422(client: Client) -> None:
    requests = [{"experiment": EXPERIMENT, "unit_id": "u"}] * 1001
    answer = client.post("/v1/decide/batch", {"decisions": requests})
    assert (answer.status, "1,000" in answer.body["detail"]) == (422, True)


def test_a_deferred_decision_waits_for_its_activation(client: Client, database_url: str) -> None:
    decided = _decided(client.decide(EXPERIMENT, defer_activation=True))
    path = f"/v1/decisions/{decided['decision_id']}/activate"
    state = "SELECT state, closes_at IS NULL FROM decisions WHERE id = %s"
    assert query(database_url, state, decided["decision_id"]) == [("deferred", True)]
    first, second = client.post(path), client.post(path)
    for answer in (first, second):
        assert answer.status == 200, answer.raw
        ActivationAnswer.model_validate(answer.body, strict=True)
    assert (first.body["activated"], second.body["activated"]) == (True, False)
    assert query(database_url, state, decided["decision_id"]) == [("active", False)]


def test_activating_an_unknown_decision_gets_404(client: Client) -> None:
    answer = client.post("/v1/decisions/never-made/activate")
    assert (answer.status, answer.body["code"]) == (404, "unknown_decision")


@pytest.mark.parametrize("name", ["a/b", "/a", "a//b", "a/activate", "ä 日本", "a%b", "a?b#c", "a\nb", "..", "x" * 500])
def test_any_id_that_decide_accepts_can_be_activated_and_rewarded(client: Client, name: str) -> None:
    from urllib.parse import quote

    _decided(client.decide(EXPERIMENT, decision_id=name, defer_activation=True))
    answer = client.post(f"/v1/decisions/{quote(name, safe='')}/activate")
    assert (answer.status, answer.body["decision_id"]) == (200, name)
    assert client.reward(name, 1).status == 201


def test_a_retry_after_the_payloads_changed_gets_the_old_answer(client: Client) -> None:
    client.make("patched")
    first = _decided(client.decide("patched", decision_id="before-the-patch"))
    actions = [{"id": name, "payload": "new"} for name in "abc"]
    assert client.patch("/v1/experiments/patched", {"actions": actions}).status == 200
    assert _decided(client.decide("patched", decision_id="before-the-patch"), 200) == first
    assert _decided(client.decide("patched"))["action"]["payload"] == "new"


def test_a_retry_is_answered_after_the_experiment_is_paused(client: Client) -> None:
    client.make("interrupted")
    first = _decided(client.decide("interrupted", decision_id="before-the-pause"))
    assert client.post("/v1/experiments/interrupted/pause").status == 200
    assert _decided(client.decide("interrupted", decision_id="before-the-pause"), 200) == first
    assert client.decide("interrupted").body["code"] == "not_running"


def test_many_clients_that_retry_one_id_at_once_get_one_answer(client: Client, database_url: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.decide(EXPERIMENT, decision_id="raced"), range(32)))
    assert sorted(answer.status for answer in answers) == [200] * 31 + [201]
    assert len({answer.raw for answer in answers}) == 1
    assert query(database_url, "SELECT count(*) FROM decisions WHERE id = 'raced'") == [(1,)]


def test_a_fixed_arm_takes_its_action_or_decides_uniformly_if_that_is_excluded(client: Client) -> None:
    client.make("fixed", arms=[{"key": "best", "share": 1.0, "policy": {"type": "fixed", "action": "b"}}])
    decided = _decided(client.decide("fixed"))
    assert (decided["action"]["id"], decided["propensity"]) == ("b", 1.0)
    assert _decided(client.decide("fixed", excluded_actions=["b"]))["propensity"] == 0.5


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1.0}, {"a": 1}, True),
        ({"a": -0.0, "b": [2.0]}, {"b": [2], "a": 0}, True),
        ({"a": {"b": 3.0}}, {"a": {"b": 3}}, True),
        ({"a": 1.5}, {"a": 1}, False),
        ({"a": 1e300}, {"a": 10**15}, False),
        ({"a": "1.0,"}, {"a": "1,"}, False),
        ({"a": ["1.0]", 4.0]}, {"a": ["1.0]", 4]}, True),
    ],
)
def test_whole_numbers_hash_alike_however_they_are_written(one: Any, other: Any, same: bool) -> None:
    request = DecideRequest(experiment="e", unit_id="u", decision_id="d")
    first, second = (identify(request, {"context": context}).body_hash for context in (one, other))
    assert (first == second) is same


def test_only_an_id_that_the_caller_chose_has_a_hash(client: Client, database_url: str) -> None:
    ids = [_decided(client.decide(EXPERIMENT, **own))["decision_id"] for own in ({"decision_id": "mine"}, {})]
    hashes = [query(database_url, "SELECT body_hash FROM decisions WHERE id = %s", name)[0][0] for name in ids]
    assert [len(text) for text in hashes] == [64, 0]
    again = client.decide(EXPERIMENT, decision_id=ids[1])
    assert (again.status, again.body["code"]) == (409, "decision_id_reused")
