"""Well-formed requests with impossible values: each is named, nothing is stored. And odd values that must work."""

from typing import Any

import pytest

from app.foundation.api.problem_schema import Problem
from tests.service import BOTH_FRONTS, Answer, Client, bandit, counts, definition

FRONTS = BOTH_FRONTS

EXPERIMENT = "values"


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make(EXPERIMENT, arms=bandit())
    client.make("paused")
    client.post("/v1/experiments/paused/pause")
    client.make("draft", start=False)


def _refused(answer: Answer, status: int, code: str = "invalid_value") -> dict[str, Any]:
    assert answer.status == status, answer.raw
    assert answer.headers["Content-Type"] == "application/problem+json"
    Problem.model_validate(answer.body, strict=True, extra="forbid")
    assert answer.body["code"] == code
    return dict(answer.body)


DECIDES: list[tuple[dict[str, Any], int, str, str]] = [
    ({"unit_id": 5}, 422, "invalid_value", "/unit_id"),
    ({"unit_id": ""}, 422, "invalid_value", "/unit_id"),
    ({"unit_id": "x" * 501}, 422, "invalid_value", "/unit_id"),
    ({"unit_id": "😀" * 400}, 422, "invalid_value", "/unit_id"),
    ({"unit_id": None}, 422, "invalid_value", "/unit_id"),
    ({"decision_id": ""}, 422, "invalid_value", "/decision_id"),
    ({"decision_id": "x" * 501}, 422, "invalid_value", "/decision_id"),
    ({"decision_id": ["a"]}, 422, "invalid_value", "/decision_id"),
    ({"context": []}, 422, "invalid_value", "/context"),
    ({"context": "x"}, 422, "invalid_value", "/context"),
    ({"context": {"a": {"b": 1e10}}}, 422, "invalid_value", "/context/a/b"),
    ({"context": {"n": 2**63}}, 422, "invalid_value", "/context/n"),
    ({"defer_activation": "true"}, 422, "invalid_value", "/defer_activation"),
    ({"defer_activation": 1}, 422, "invalid_value", "/defer_activation"),
    ({"unknown_field": 1}, 422, "invalid_value", "/unknown_field"),
    ({"actions": []}, 422, "invalid_value", "/actions"),
    ({"actions": {}}, 422, "invalid_value", "/actions"),
    ({"actions": ["a"]}, 422, "invalid_value", "/actions/0"),
    ({"actions": [{"id": ""}]}, 422, "invalid_value", "/actions/0/id"),
    ({"actions": [{"id": 7}]}, 422, "invalid_value", "/actions/0/id"),
    ({"actions": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, 422, "invalid_value", "/actions/2/id"),
    ({"actions": [{"id": "a", "features": {"x": 1e300}}]}, 422, "invalid_value", "/actions/0/features/x"),
    ({"actions": [{"id": "a", "features": [1]}]}, 422, "invalid_value", "/actions/0/features"),
    ({"actions": [{"id": "a", "weight": 1}]}, 422, "invalid_value", "/actions/0/weight"),
    ({"excluded_actions": ["a", "b", "c"]}, 422, "invalid_value", "/actions"),
    ({"excluded_actions": [""]}, 422, "invalid_value", "/excluded_actions/0"),
    ({"excluded_actions": "a"}, 422, "invalid_value", "/excluded_actions"),
    ({"experiment": "nowhere"}, 404, "unknown_experiment", ""),
    ({"experiment": "paused"}, 409, "not_running", ""),
    ({"experiment": "draft"}, 409, "not_running", ""),
    ({"experiment": "a b"}, 422, "invalid_value", "/experiment"),
    ({"experiment": "values\n"}, 422, "invalid_value", "/experiment"),
]


@pytest.mark.parametrize("number", range(len(DECIDES)))
def test_a_decide_with_an_impossible_value_is_refused_and_says_where(
    client: Client, database_url: str, number: int
) -> None:
    fields, status, code, path = DECIDES[number]
    before = counts(database_url)
    problem = _refused(client.post("/v1/decide", {"experiment": EXPERIMENT, "unit_id": "u"} | fields), status, code)
    if path:
        assert any(error["path"].startswith(path) for error in problem["errors"]), problem
    assert counts(database_url) == before
    assert client.decide(EXPERIMENT).status == 201


def test_ten_thousand_actions_are_refused_with_the_limit_named(client: Client) -> None:
    actions = [{"id": str(n)} for n in range(10_000)]
    problem = _refused(client.decide(EXPERIMENT, actions=actions), 422)
    assert "1,000" in problem["detail"]
    problem = _refused(client.post("/v1/experiments", definition("huge", actions=actions)), 422)
    assert "1,000" in problem["detail"]


REWARDS: list[tuple[dict[str, Any], int, str]] = [
    ({"value": "1"}, 422, "invalid_value"),
    ({"value": True}, 422, "invalid_value"),
    ({"value": None}, 422, "invalid_value"),
    ({"value": 1.01}, 422, "invalid_value"),
    ({"value": -0.01}, 422, "invalid_value"),
    ({"value": 1e308}, 422, "invalid_value"),
    ({"value": 2**63}, 422, "invalid_value"),
    ({"decision_id": "never-made"}, 404, "unknown_decision"),
    ({"decision_id": ""}, 422, "invalid_value"),
    ({"decision_id": 5}, 422, "invalid_value"),
    ({"reward_id": ""}, 422, "invalid_value"),
    ({"reward_id": "x" * 501}, 422, "invalid_value"),
    ({"reward_id": "😀" * 500}, 422, "invalid_value"),
    ({"metric": "two words"}, 422, "invalid_value"),
    ({"metric": ""}, 422, "invalid_value"),
    ({"occurred_at": 1_700_000_000}, 422, "invalid_value"),
    ({"occurred_at": "yesterday"}, 422, "invalid_value"),
    ({"occurred_at": "2026-01-31T12:00:00"}, 422, "invalid_value"),
    ({"occurred_at": "2026-13-01T12:00:00Z"}, 422, "invalid_value"),
    ({"occurred_at": "0001-01-01T00:00:00+14:00"}, 422, "invalid_value"),
    ({"occurred_at": "9999-12-31T23:59:59-14:00"}, 422, "invalid_value"),
    ({"occurred_at": "infinity"}, 422, "invalid_value"),
    ({"extra": 1}, 422, "invalid_value"),
]


@pytest.mark.parametrize("number", range(len(REWARDS)))
def test_an_impossible_reward_is_refused(client: Client, database_url: str, number: int) -> None:
    fields, status, code = REWARDS[number]
    decision_id = client.decide(EXPERIMENT).body["decision_id"]
    before = counts(database_url)
    _refused(client.post("/v1/reward", {"decision_id": decision_id, "value": 1.0} | fields), status, code)
    assert counts(database_url) == before
    assert client.reward(decision_id, 1).status == 201


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e400"])
def test_a_reward_that_is_no_number_is_refused(client: Client, value: bytes) -> None:
    decision_id = client.decide(EXPERIMENT).body["decision_id"].encode()
    answer = client.post("/v1/reward", b'{"decision_id": "' + decision_id + b'", "value": ' + value + b"}")
    _refused(answer, 400, "malformed_json")


def test_ids_as_long_as_allowed_work_together(client: Client) -> None:
    import random

    generator = random.Random(1)
    long = ["".join(chr(generator.randrange(0x10000, 0x20000)) for _ in range(250)) for _ in range(3)]
    assert client.decide(EXPERIMENT, unit_id=long[0], decision_id=long[1]).status == 201
    assert client.reward(long[1], 1, reward_id=long[2]).status == 201


@pytest.mark.parametrize(
    "unit", ["\u202eabc", "e\u0301", "é", "👩‍👩‍👧", "\ufeff", "\uffff", " ", "\n", "'; DROP TABLE x", "%s"]
)
def test_odd_units_work_and_are_told_apart(client: Client, database_url: str, unit: str) -> None:
    from tests.service import query

    decision_id = client.decide(EXPERIMENT, unit).body["decision_id"]
    assert query(database_url, "SELECT unit_id FROM decisions WHERE id = %s", decision_id) == [(unit,)]


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"key": "two words"}, "/key"),
    ({"key": ""}, "/key"),
    ({"key": 5}, "/key"),
    ({"name": "x" * 201}, "/name"),
    ({"arms": []}, "/arms"),
    ({"arms": [{"key": "a", "share": 0.5, "policy": {"type": "uniform"}}]}, "/arms"),
    ({"arms": [{"key": "a", "share": 1.5, "policy": {"type": "uniform"}}]}, "/arms/0/share"),
    ({"arms": [{"key": "a", "share": "1", "policy": {"type": "uniform"}}]}, "/arms/0/share"),
    ({"arms": [{"key": "a", "share": 0.5, "policy": {"type": "uniform"}}] * 2}, "/arms/1/key"),
    ({"arms": [{"key": "a", "share": 1.0, "policy": {"type": "best"}}]}, "/arms/0/policy/type"),
    ({"arms": [{"key": "a", "share": 1.0, "policy": {}}]}, "/arms/0/policy"),
    ({"arms": [{"key": "a", "share": 1.0, "policy": {"type": "fixed", "action": "z"}}]}, "/arms/0/policy/action"),
    ({"arms": bandit(arguments="-f /tmp/x")}, "/arms/0/policy/parameters/arguments"),
    ({"arms": bandit(learning_rate=1e9)}, "/arms/0/policy/parameters/learning_rate"),
    ({"arms": bandit(learning_rate="0.5 -f x")}, "/arms/0/policy/parameters/learning_rate"),
    ({"arms": bandit("epsilon_greedy --x")}, "/arms/0/policy/algorithm"),
    ({"arms": bandit(floor=0)}, "/arms/0/policy/exploration_floor"),
    ({"arms": bandit(interactions=["cc"])}, "/arms/0/policy/parameters/interactions"),
    ({"control_arm": "nobody"}, "/control_arm"),
    ({"actions": [{"id": "a"}, {"id": "a"}]}, "/actions/1/id"),
    ({"actions": [{"id": ""}]}, "/actions/0/id"),
    ({"reward": {"window_s": 0.5}}, "/reward/window_s"),
    ({"reward": {"window_s": "5"}}, "/reward/window_s"),
    ({"reward": {"min": 1, "max": 0}}, "/reward/max"),
    ({"reward": {"default": 2}}, "/reward/default"),
    ({"reward": {"aggregation": "median"}}, "/reward/aggregation"),
    ({"reward": {"min": -1e300, "max": 1e300}}, "/reward"),
    ({"surprise": 1}, "/surprise"),
]


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_an_impossible_experiment_is_refused_and_says_where(client: Client, database_url: str, number: int) -> None:
    fields, path = CONFIGS[number]
    before = counts(database_url)
    problem = _refused(client.post("/v1/experiments", definition("refused") | fields), 422)
    assert any(error["path"].startswith(path) for error in problem["errors"]), problem
    assert counts(database_url) == before


def test_every_wrong_field_is_named_at_once(client: Client) -> None:
    wrong = definition("refused", arms=bandit(learning_rate=99, bits=99), actions=[{"id": "a"}, {"id": "a"}])
    assert len(_refused(client.post("/v1/experiments", wrong), 422)["errors"]) == 3


SEPARATORS = ["|", ":", " ", "\n", "\t", "\r", "=", "%", "/", "*", "'", '"', "\\", "|a x", " |c y:3", "\u2028", "\x1f"]


def test_separators_in_names_and_values_work_and_do_not_leak_into_other_features(client: Client) -> None:
    """Each odd text must act like any other text in its position: a control with other names has the same distributions."""
    for experiment, texts in (("odd", SEPARATORS), ("control", [f"plain{n}" for n in range(len(SEPARATORS))])):
        actions = [{"id": f"{text}{n}", "features": {text: n, "f": text}} for n, text in enumerate(texts)]
        client.make(experiment, actions=actions, arms=bandit("softmax"))
        requests = [{"context": {text: 1, "v": text, "other": 2}, "unit_id": text} for text in texts]
        decided = client.decide_many(experiment, requests)
        chances = [[item["probability"] for item in decision["ranking"]] for decision in decided]
        assert chances == [[1 / len(texts)] * len(texts)] * len(texts)
        assert {item["id"] for item in decided[0]["ranking"]} == {action["id"] for action in actions}
