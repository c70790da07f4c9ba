"""The official SDK of Azure Personalizer, unmodified but for its endpoint and key."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from azure.cognitiveservices.personalizer import PersonalizerClient
from azure.cognitiveservices.personalizer.models import (
    ErrorResponse,
    ErrorResponseException,
    RankableAction,
    RankRequest,
)
from msrest.authentication import CognitiveServicesCredentials
from msrest.exceptions import HttpOperationError

from app.learning.training import train_round
from tests.service import Client, Web, bandit, engine_of, make_key, query, settings, wait_for

EXPERIMENT = "azure"
FEATURES = [{"timeOfDay": "morning", "weather": "sunny"}, {"device": {"kind": "mobile", "width": 390}}]


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Client) -> None:
    client.make(EXPERIMENT, actions=[], arms=bandit("squarecb"), reward={"window_s": 1.0})
    client.make("patient", actions=[], arms=bandit(), reward={"window_s": 600.0})


@pytest.fixture(scope="module")
def sdk(web: Web, database_url: str) -> Iterator[Any]:
    logging.getLogger("msrest").setLevel(logging.ERROR)
    return _sdk(web, make_key(database_url, "decide", "reward", experiment=EXPERIMENT))


def _sdk(web: Web, key: str) -> Any:
    client = PersonalizerClient(f"http://127.0.0.1:{web.port}", CognitiveServicesCredentials(key))
    client.config.retry_policy.policy.total = 0
    return client


def _request(event_id: str | None = None, **fields: Any) -> RankRequest:
    actions = [
        RankableAction(id=name, features=[{"taste": taste, "spiceLevel": "low"}, {"price": price}])
        for name, taste, price in (("pasta", "salty", 7.5), ("ice cream", "sweet", 3), ("salad", "fresh", 5.25))
    ]
    values = {"actions": actions, "context_features": FEATURES, "event_id": event_id, **fields}
    return RankRequest(**values)


def test_rank_gives_an_event_a_reward_action_and_every_probability(sdk: Any) -> None:
    answer = sdk.rank(_request())
    assert answer.event_id
    assert sorted(item.id for item in answer.ranking) == ["ice cream", "pasta", "salad"]
    assert answer.reward_action_id == answer.ranking[0].id
    assert sum(item.probability for item in answer.ranking) == pytest.approx(1)


def test_rank_answers_201_and_reward_and_activate_204(web: Web, database_url: str) -> None:
    key = make_key(database_url, "decide", "reward", experiment=EXPERIMENT)
    client = Client(web.port, headers={"Ocp-Apim-Subscription-Key": key})
    body = {"eventId": "raw", "actions": [{"id": "a", "features": [{"x": 1}]}], "deferActivation": True}
    answer = client.post("/personalizer/v1.0/rank", body)
    assert (answer.status, set(answer.body)) == (201, {"ranking", "eventId", "rewardActionId"})
    for call, data in (("activate", None), ("reward", {"value": 1})):
        answer = client.post(f"/personalizer/v1.0/events/raw/{call}", data)
        assert (answer.status, answer.raw) == (204, b"")


def test_the_same_event_id_gives_the_same_ranking(sdk: Any) -> None:
    first, second = sdk.rank(_request("again")), sdk.rank(_request("again"))
    assert first.event_id == "again"
    assert first.as_dict() == second.as_dict()


def test_the_same_event_id_with_other_features_is_409(sdk: Any) -> None:
    sdk.rank(_request("reused"))
    _refused(409, "Conflict", sdk.rank, _request("reused", context_features=[{"timeOfDay": "night"}]))


def test_an_event_id_of_another_experiment_is_free_and_shows_nothing_of_it(
    sdk: Any, web: Web, database_url: str
) -> None:
    sdk.rank(_request("ours"))
    other = _sdk(web, make_key(database_url, "decide", "reward", experiment="patient"))
    _refused(404, "ResourceNotFound", other.events.reward, "ours", 1.0)
    assert other.rank(_request("ours")).event_id == "ours"
    other.events.reward("ours", 1.0)
    assert query(database_url, "SELECT count(*) FROM rewards WHERE decision_id = 'ours'") == [(1,)]


def test_excluded_actions_keep_their_place_and_are_never_the_reward_action(sdk: Any) -> None:
    for _ in range(10):
        answer = sdk.rank(_request(excluded_actions=["ice cream"]))
        assert answer.ranking[1].id == "ice cream"
        assert answer.ranking[1].probability == 0
        assert answer.reward_action_id != "ice cream"


def test_reward_and_a_second_reward_with_the_same_value_are_taken(sdk: Any, database_url: str) -> None:
    event = sdk.rank(_request()).event_id
    sdk.events.reward(event_id=event, value=0.5)
    sdk.events.reward(event_id=event, value=0.5)
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = %s", event) == [(0.5,)]


@pytest.mark.parametrize("name", ["a/b", "ä ö", "a?b&c=d", "%2F", "x" * 256])
def test_event_ids_of_any_letters_work(sdk: Any, name: str) -> None:
    sdk.rank(_request(name, defer_activation=True))
    sdk.events.activate(event_id=name)
    sdk.events.reward(event_id=name, value=1.0)


def test_a_deferred_event_counts_from_its_activation(sdk: Any, database_url: str) -> None:
    sdk.rank(_request("deferred", defer_activation=True))
    state = "SELECT state FROM decisions WHERE id = 'deferred'"
    assert query(database_url, state) == [("deferred",)]
    sdk.events.activate(event_id="deferred")
    sdk.events.activate(event_id="deferred")
    assert query(database_url, state) == [("active",)]


def test_an_unknown_event_is_404(sdk: Any) -> None:
    _refused(404, "ResourceNotFound", sdk.events.reward, "never-ranked", 1.0)
    _refused(404, "ResourceNotFound", sdk.events.activate, "never-ranked")


def test_a_wrong_key_is_401_and_an_unbound_one_403(web: Web, database_url: str) -> None:
    for wrong in ("wrong", "lw_000000000000_" + "a" * 43):
        _refused(401, "Unauthorized", _sdk(web, wrong).rank, _request())
    _refused(403, "Forbidden", _sdk(web, make_key(database_url)).rank, _request())
    only_reward = _sdk(web, make_key(database_url, "reward", experiment=EXPERIMENT))
    _refused(403, "Forbidden", only_reward.rank, _request())


def test_impossible_ranks_and_rewards_are_400(sdk: Any) -> None:
    twice = [RankableAction(id="a", features=[]), RankableAction(id="a", features=[])]
    _refused(400, "BadRequest", sdk.rank, _request(actions=twice))
    _refused(400, "BadRequest", sdk.rank, _request(actions=[]))
    _refused(400, "BadRequest", sdk.rank, _request(excluded_actions=["pasta", "ice cream", "salad"]))
    _refused(400, "BadRequest", sdk.rank, _request(excluded_actions=["", "x" * 600]))
    event = sdk.rank(_request()).event_id
    _refused(400, "BadRequest", sdk.events.reward, event, 1.5)
    _refused(400, "BadRequest", sdk.events.reward, event, -1)


def _refused(status: int, code: str, call: Any, *arguments: Any) -> None:
    """The SDK gives rank's errors as models; those of reward and activate only as responses."""
    with pytest.raises(HttpOperationError) as caught:
        call(*arguments)
    assert caught.value.response.status_code == status
    model = ErrorResponse.deserialize(caught.value.response.json())
    assert (model.error.code, bool(model.error.message)) == (code, True)
    if isinstance(caught.value, ErrorResponseException):
        assert caught.value.error.error.message == model.error.message


def test_after_rewards_and_a_training_round_the_rewarded_action_is_preferred(sdk: Any, database_url: str) -> None:
    for _ in range(120):
        answer = sdk.rank(_request())
        sdk.events.reward(event_id=answer.event_id, value=float(answer.reward_action_id == "ice cream"))
    ((experiment_id,),) = query(database_url, "SELECT id FROM experiments WHERE key = %s", EXPERIMENT)
    waiting = "SELECT count(*) FROM awaiting_outcome WHERE experiment_id = %s"
    with engine_of(database_url) as engine:

        def learned() -> bool:
            train_round(engine, settings(database_url), experiment_id, "learned")
            return query(database_url, waiting, experiment_id) == [(0,)]

        wait_for(learned, 20, "training")
    chance = "ice cream"
    wait_for(lambda: {i.id: i.probability for i in sdk.rank(_request()).ranking}[chance] > 0.8, 20, "the better policy")


def test_declared_context_fields_are_kept_as_on_the_own_routes(web: Web, client: Client, database_url: str) -> None:
    fields = [{"name": "timeOfDay"}, {"name": "device", "hashed": True}]
    client.make("declared", actions=[], arms=bandit("squarecb"), context_fields=fields)
    sdk = _sdk(web, make_key(database_url, "decide", "reward", experiment="declared"))
    event = sdk.rank(_request()).event_id
    (context,) = query(database_url, "SELECT context FROM decisions WHERE id = %s", event)[0]
    assert context["timeOfDay"] == "morning" and set(context) == {"timeOfDay", "device"}
    assert isinstance(context["device"], str)
