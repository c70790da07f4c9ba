"""Experiments: define, change, start, pause, conclude; and their models: list, roll back."""

from typing import Any

import pytest

from app.design.api.answers import ExperimentAnswer, ExperimentListAnswer, PolicyAnswer, RollbackAnswer
from tests.service import UNIFORM, Client, bandit, definition, engine_of, query, settings, wait_for


def _shown(answer: Any, status: int = 200) -> dict[str, Any]:
    assert answer.status == status, answer.raw
    ExperimentAnswer.model_validate(answer.body)
    return dict(answer.body)


def test_a_new_experiment_is_a_draft_with_its_defaults_written_out(client: Client) -> None:
    made = _shown(client.post("/v1/experiments", {"key": "fresh", "arms": UNIFORM}), 201)
    assert (made["status"], made["config_version"], made["started_at"]) == ("draft", 1, None)
    assert made["reward"] == {"window_s": 600.0, "default": 0.0, "aggregation": "sum", "min": 0.0, "max": 1.0}
    assert made["actions"] == []
    assert _shown(client.get("/v1/experiments/fresh")) == made


def test_a_key_can_be_taken_once(client: Client) -> None:
    client.make("taken")
    answer = client.post("/v1/experiments", definition("taken"))
    assert (answer.status, answer.body["code"]) == (409, "experiment_exists")


def test_the_life_of_an_experiment(client: Client) -> None:
    client.make("life", start=False)
    path = "/v1/experiments/life"
    assert client.post(f"{path}/pause").body["code"] == "wrong_status"
    started = _shown(client.post(f"{path}/start"))
    assert (started["status"], started["started_at"] is None) == ("running", False)
    assert _shown(client.post(f"{path}/start")) == started
    assert _shown(client.post(f"{path}/pause"))["status"] == "paused"
    assert client.decide("life").status == 409
    assert _shown(client.post(f"{path}/start"))["started_at"] == started["started_at"]
    assert client.decide("life").status == 201
    concluded = _shown(client.post(f"{path}/conclude", {"conclusion": "b wins"}))
    assert (concluded["status"], concluded["conclusion"]) == ("concluded", "b wins")
    assert client.post(f"{path}/start").body["code"] == "wrong_status"
    assert client.decide("life").body["code"] == "not_running"
    assert client.patch(path, {"name": "late"}).body["code"] == "concluded"


def test_every_change_is_in_the_trail_with_its_author(client: Client, database_url: str) -> None:
    client.make("trail")
    client.patch("/v1/experiments/trail", {"name": "new name"})
    trail = query(
        database_url,
        "SELECT c.kind, c.actor FROM changes c JOIN experiments e ON e.id = c.experiment_id WHERE e.key = 'trail'"
        " ORDER BY c.id",
    )
    assert [kind for kind, _ in trail] == ["experiment_created", "experiment_start", "experiment_changed"]
    assert {actor for _, actor in trail} == {client.key[:15]}


def test_a_draft_may_change_in_every_part_but_its_key(client: Client) -> None:
    client.make("draft", start=False)
    path = "/v1/experiments/draft"
    patched = _shown(client.patch(path, {"arms": bandit(), "reward": {"window_s": 5.0}, "hypothesis": "h"}))
    assert (patched["arms"][0]["key"], patched["reward"]["window_s"], patched["config_version"]) == ("learned", 5, 2)
    assert _shown(client.patch(path, {"hypothesis": "h"}))["config_version"] == 2
    assert client.patch(path, {"key": "renamed"}).status == 422


def test_after_the_start_only_words_shares_and_actions_may_change(client: Client) -> None:
    arms = [{"key": name, "share": 0.5, "policy": {"type": "uniform"}} for name in ("x", "y")]
    client.make("running", arms=arms, control_arm="x")
    path = "/v1/experiments/running"
    shares = [arms[0] | {"share": 0.1}, arms[1] | {"share": 0.9}]
    for patch in ({"arms": shares}, {"actions": [{"id": "new"}]}, {"name": "n"}, {"arms": [*arms, _arm("z", 0.0)]}):
        _shown(client.patch(path, patch))
    for patch in (
        {"reward": {"window_s": 7.0}},
        {"control_arm": "y"},
        {"arms": [arms[0] | {"share": 1.0}]},
        {"arms": [arms[0], arms[1] | {"policy": {"type": "fixed", "action": "new"}}, _arm("z", 0.0)]},
    ):
        answer = client.patch(path, patch)
        assert (answer.status, answer.body["code"]) == (409, "already_ran"), patch
    assert client.patch(path, {"arms": shares[:1]}).status == 422


def _arm(key: str, share: float) -> dict[str, Any]:
    return {"key": key, "share": share, "policy": {"type": "uniform"}}


def test_a_drafts_changed_policy_gets_a_fresh_model_and_decides_with_it(client: Client) -> None:
    client.make("redrafted", start=False, arms=bandit("softmax"))
    client.patch("/v1/experiments/redrafted", {"arms": bandit("squarecb", bits=14)})
    client.post("/v1/experiments/redrafted/start")
    (arm,) = client.get("/v1/experiments/redrafted/policy").body["arms"]
    serving = [version for version in arm["versions"] if version["serving"]]
    assert [version["manifest"]["policy"]["algorithm"] for version in serving] == ["squarecb"]
    assert arm["versions"][-1]["serving"]
    assert client.decide("redrafted").status == 201


def test_listing_pages_through_everything_newest_first(client: Client) -> None:
    for number in range(5):
        client.make(f"page-{number}", start=False)
    seen: list[str] = []
    path = "/v1/experiments?limit=2"
    after = ""
    while True:
        page = client.get(path + after).body
        ExperimentListAnswer.model_validate(page)
        seen += [item["key"] for item in page["experiments"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [key for key in seen if key.startswith("page-")] == [f"page-{n}" for n in (4, 3, 2, 1, 0)]
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PATCH", ""), ("POST", "/start"), ("GET", "/policy")])
def test_an_unknown_experiment_is_404(client: Client, method: str, path: str) -> None:
    answer = client.call(method, f"/v1/experiments/nowhere{path}", {} if method == "PATCH" else None)
    assert (answer.status, answer.body["code"]) == (404, "unknown_experiment")


def test_models_are_listed_and_a_rollback_serves_within_two_seconds(client: Client, database_url: str) -> None:
    from app.learning.training import train_round

    experiment_id = _learn_from(client, database_url, "rolled")
    with engine_of(database_url) as engine:
        wait_for(lambda: train_round(engine, settings(database_url), experiment_id, "learned"), 10)
    path = "/v1/experiments/rolled/policy"
    shown = client.get(path)
    PolicyAnswer.model_validate(shown.body, strict=True, extra="forbid")
    (arm,) = shown.body["arms"]
    assert [version["number"] for version in arm["versions"]] == [0, 1]
    assert (arm["serving"], arm["versions"][1]["parent"], arm["versions"][1]["trained_on"]) == (1, 0, 40)
    wait_for(lambda: client.decide("rolled").body["policy_version"] == 1, 20)
    for wrong, status in (({"version": 9}, 404), ({"arm": "nobody"}, 404), ({"reason": " "}, 422)):
        body = {"arm": "learned", "version": 0, "reason": "worse"} | wrong
        assert client.post(f"{path}/rollback", body).status == status
    done = client.post(f"{path}/rollback", {"arm": "learned", "version": 0, "reason": "worse"})
    assert RollbackAnswer.model_validate(done.body, strict=True, extra="forbid").before == 1
    wait_for(lambda: client.decide("rolled").body["policy_version"] == 0, 20)
    ((before, after, reason),) = query(
        database_url, "SELECT before, after, reason FROM changes WHERE kind = 'model_rollback'"
    )
    assert (before["serving"], after["serving"], reason) == (1, 0, "worse")


def _learn_from(client: Client, database_url: str, key: str) -> int:
    client.make(key, arms=bandit(), reward={"window_s": 1.0})
    decided = client.decide_many(key, [{} for _ in range(40)])
    client.reward_many({decision["decision_id"]: float(decision["action"]["id"] == "b") for decision in decided})
    return int(query(database_url, "SELECT id FROM experiments WHERE key = %s", key)[0][0])


def test_every_part_of_a_definition_can_be_changed() -> None:
    from app.design.api.experiments import Patch
    from app.design.experiment_config import ExperimentConfig

    platforms_own = {"shipped", "ramp"}
    assert set(Patch.model_fields) - {"version"} == set(ExperimentConfig.model_fields) - platforms_own


def test_a_change_that_began_from_an_older_version_overwrites_nothing(client: Client) -> None:
    client.make("raced")
    path = "/v1/experiments/raced"
    seen = client.get(path)
    assert seen.headers["ETag"] == f'"{seen.body["config_version"]}"'
    faster = client.patch(path, {"name": "faster", "version": seen.body["config_version"]})
    assert (faster.status, faster.headers["ETag"]) == (200, f'"{seen.body["config_version"] + 1}"')
    for slower in (
        client.patch(path, {"name": "slower", "version": seen.body["config_version"]}),
        client.call("PATCH", path, {"name": "slower"}, **{"If-Match": seen.headers["ETag"]}),
        client.call("PATCH", path, {"name": "slower"}, **{"If-Match": '"something else"'}),
    ):
        assert (slower.status, slower.body["code"]) == (409, "experiment_changed")
    assert client.get(path).body["name"] == "faster"
    for tag in ("*", None):
        newest = tag or client.get(path).headers["ETag"]
        assert client.call("PATCH", path, {"name": f"with {newest}"}, **{"If-Match": newest}).status == 200


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"reward": {"window_s": 3 * 86_400.0}}, "/reward/window_s"),
        (
            {"metrics": [{"key": "bought", "role": "primary", "source": {"type": "reward"}, "window_s": 3 * 86_400.0}]},
            "/metrics/0/window_s",
        ),
    ],
)
def test_a_window_longer_than_the_experiment_is_refused(client: Client, fields: dict[str, Any], path: str) -> None:
    rule = {"max_days": 2.0, "min_days": 0.0}
    refused = client.post("/v1/experiments", definition("too-long", decision_rule=rule, **fields))
    assert refused.status == 422
    assert ("window_longer_than_rule", path) in [(error["code"], error["path"]) for error in refused.body["errors"]]
    longer = definition(f"just-right-{len(path)}", decision_rule=rule | {"max_days": 3.0}, **fields)
    assert client.post("/v1/experiments", longer).status == 201
