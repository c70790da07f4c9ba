"""An id is unique within its experiment: two experiments may have the same, and nothing of one reaches the other."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.service import BOTH_FRONTS, Answer, Client, Web, make_key, query

FRONTS = BOTH_FRONTS
SHOP = "order-4711"
STATES = """
    SELECT e.key, d.state FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE d.id = %s ORDER BY e.key
"""
REWARDS = """
    SELECT e.key, r.value FROM rewards r JOIN experiments e ON e.id = r.experiment_id
    WHERE r.decision_id = %s ORDER BY e.key, r.value
"""


@pytest.fixture(scope="module", autouse=True)
def experiments(client: Client) -> None:
    client.make("shop")
    client.make("shop-consent", consent={})  # its decisions are planned by the log's writer
    client.make("page")


@pytest.fixture
def page(web: Web, database_url: str) -> Client:
    """A caller whose key is bound to one experiment."""
    return web.client(make_key(database_url, "decide", "reward", "read", experiment="page"))


def _different(answers: list[Answer]) -> set[tuple[int, str]]:
    """Status and body of answers, without what names the call itself."""
    same = set()
    for answer in answers:
        body = {name: value for name, value in answer.body.items() if name not in ("instance", "request_id")}
        same.add((answer.status, repr(sorted(body.items()))))
    return same


def test_the_id_of_another_experiment_is_free(client: Client, page: Client, database_url: str) -> None:
    """A key of one experiment cannot take the ids that another's server gives."""
    assert page.decide("page", decision_id=SHOP).status == 201
    for experiment in ("shop", "shop-consent"):
        first = client.decide(experiment, decision_id=SHOP)
        again = client.decide(experiment, decision_id=SHOP)
        assert (first.status, again.status) == (201, 200) and first.body == again.body
        other = client.decide(experiment, "somebody else", decision_id=SHOP)
        assert (other.status, other.body["code"]) == (409, "decision_id_reused")
    assert query(database_url, "SELECT count(*) FROM decisions WHERE id = %s", SHOP) == [(3,)]
    assert query(database_url, "SELECT count(DISTINCT draw) FROM decisions WHERE id = %s", SHOP) == [(3,)]


def test_one_call_may_use_an_id_once_for_each_experiment(client: Client) -> None:
    asked = [
        {"experiment": name, "unit_id": "u", "decision_id": "both"} for name in ("shop", "shop-consent", "page", "shop")
    ]
    assert client.post("/v1/decide/batch", {"decisions": asked[:3]}).status == 201
    repeated = client.post("/v1/decide/batch", {"decisions": asked})
    assert repeated.status == 422 and "/decisions/3/decision_id" in repeated.body["detail"]


def test_lists_of_two_experiments_share_an_id_and_nothing_else(client: Client) -> None:
    lists = [client.decide(name, decision_id="list", slots=3).body for name in ("shop", "shop-consent", "page")]
    for name, stored in zip(("shop", "shop-consent", "page"), lists, strict=True):
        assert [position["decision_id"] for position in stored["positions"]] == ["list", "list#2", "list#3"]
        assert client.decide(name, decision_id="list", slots=3).body == stored


def test_a_key_means_the_decision_of_its_experiment(client: Client, page: Client, database_url: str) -> None:
    for experiment in ("shop", "page"):
        assert client.decide(experiment, decision_id="mine", defer_activation=True).status == 201
    assert page.post("/v1/decisions/mine/activate").body["activated"] is True
    assert query(database_url, STATES, "mine") == [("page", "active"), ("shop", "deferred")]
    assert page.reward("mine", 1).status == 201
    assert page.post("/v1/rewards/batch", {"rewards": [{"decision_id": "mine", "value": 0.5}]}).status == 201
    assert page.post("/v1/feedback", {"decision_id": "mine", "kind": "thumbs", "value": "up"}).status == 201
    assert query(database_url, REWARDS, "mine") == [("page", 0.5), ("page", 1)]
    told = "SELECT e.key FROM feedback f JOIN experiments e ON e.id = f.experiment_id WHERE decision_id = 'mine'"
    assert query(database_url, told) == [("page",)]


def _rewarded(experiment: str | None) -> Callable[[Client, str], Answer]:
    named = {} if experiment is None else {"experiment": experiment}
    return lambda client, id_: client.reward(id_, 1, **named)


def _answered(experiment: str | None) -> Callable[[Client, str], Answer]:
    named = {} if experiment is None else {"experiment": experiment}
    return lambda client, id_: client.post(
        "/v1/feedback", {"decision_id": id_, "kind": "thumbs", "value": "up", **named}
    )


def _activated(experiment: str | None) -> Callable[[Client, str], Answer]:
    query = "" if experiment is None else f"?experiment={experiment}"
    return lambda client, id_: client.post(f"/v1/decisions/{id_}/activate{query}")


CALLS = (_rewarded, _answered, _activated)


@pytest.mark.parametrize("call", CALLS)
def test_a_key_of_every_experiment_names_one_if_several_have_the_id(client: Client, call: Any) -> None:
    name = f"several-{call.__name__}"
    assert client.decide("shop", decision_id=name).status == 201
    assert call(None)(client, name).status in (200, 201)  # so far it is the only one
    assert client.decide("page", decision_id=name).status == 201
    ambiguous = call(None)(client, name)
    assert (ambiguous.status, ambiguous.body["code"]) == (409, "decision_id_ambiguous")
    assert "`experiment`" in ambiguous.body["detail"]
    assert call("page")(client, name).status in (200, 201)
    assert call("shop")(client, name).status == 200  # the same as before it was ambiguous
    for experiment in ("shop-consent", "nowhere"):
        unknown = call(experiment)(client, name)
        assert (unknown.status, unknown.body["code"]) == (404, "unknown_decision")
    assert call("x" * 101)(client, name).status == 422


@pytest.mark.parametrize("call", CALLS)
def test_a_decision_that_a_key_may_not_see_is_one_that_is_not_there(client: Client, page: Client, call: Any) -> None:
    assert client.decide("shop", decision_id="hidden").status in (200, 201)
    hidden, absent = ([call(named)(page, id_) for named in (None, "shop", "nowhere")] for id_ in ("hidden", "absent"))
    ((status, text),) = _different(absent)
    assert _different(hidden) == {(404, text.replace("absent", "hidden"))} and status == 404


def test_rewards_of_one_batch_belong_to_the_experiments_that_they_name(client: Client, database_url: str) -> None:
    for experiment in ("shop", "page"):
        client.decide(experiment, decision_id="batched")
    rewards = [{"decision_id": "batched", "value": value, "reward_id": "r"} for value in (0.25, 0.75)]
    rewards = [reward | {"experiment": name} for reward, name in zip(rewards, ("shop", "page"), strict=True)]
    answer = client.post("/v1/rewards/batch", {"rewards": rewards})
    assert answer.status == 201 and [receipt["value"] for receipt in answer.body["rewards"]] == [0.25, 0.75]
    assert client.post("/v1/rewards/batch", {"rewards": rewards}).status == 200
    assert query(database_url, REWARDS, "batched") == [("page", 0.75), ("shop", 0.25)]
    nameless = [*rewards, {"decision_id": "batched", "value": 1}]
    refused = client.post("/v1/rewards/batch", {"rewards": nameless})
    assert (refused.status, refused.body["code"]) == (409, "decision_id_ambiguous")


def test_which_experiments_there_are_is_not_told_to_a_key_of_one(page: Client) -> None:
    """The same answer for an experiment of others and for none."""
    for method, path, body in (
        ("POST", "/v1/decide", {"experiment": "{}", "unit_id": "u"}),
        ("GET", "/v1/experiments/{}", None),
        ("GET", "/v1/experiments/{}/results", None),
    ):
        answers = [
            page.call(method, path.format(name), body and {**body, "experiment": name}) for name in ("shop", "nowhere")
        ]
        assert len(_different(answers)) == 1 and answers[0].status == 403, [answer.raw for answer in answers]


def test_personalizer_s_events_are_those_of_the_key_s_experiment(client: Client, web: Web, database_url: str) -> None:
    ranked = {"eventId": "event", "actions": [{"id": "a"}, {"id": "b"}], "deferActivation": True}
    for experiment, value in (("shop", 0.25), ("page", 0.75)):
        caller = web.client("")
        caller.headers["Ocp-Apim-Subscription-Key"] = make_key(database_url, "decide", "reward", experiment=experiment)
        assert caller.post("/personalizer/v1.0/rank", ranked).status == 201
        assert caller.post("/personalizer/v1.0/events/event/activate").status == 204
        assert caller.post("/personalizer/v1.0/events/event/reward", {"value": value}).status == 204
    assert query(database_url, REWARDS, "event") == [("page", 0.75), ("shop", 0.25)]
    assert query(database_url, STATES, "event") == [("page", "active"), ("shop", "active")]
