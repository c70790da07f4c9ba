"""The newer Python SDK of Personalizer (``azure-ai-personalizer``), unmodified: every operation works, or is refused in words."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from azure.ai.personalizer import PersonalizerAdministrationClient, PersonalizerClient
from azure.ai.personalizer.aio import PersonalizerClient as AsyncPersonalizerClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.transport import AsyncioRequestsTransport

from app.off_policy.evaluations import run_waiting
from app.verification.audit import audit_experiment
from tests.service import Client, Loop, Web, bandit, engine_of, make_key, query, settings
from tests.web.personalizer import ACTIONS, ALL, CONTEXT, make


class Sdk(NamedTuple):
    """The clients of one experiment."""

    events: Any
    admin: Any


def _sdk(web: Web, database_url: str, experiment: str) -> Sdk:
    key = make_key(database_url, *ALL, experiment=experiment)
    kinds = (PersonalizerClient, PersonalizerAdministrationClient)
    clients = [kind(f"http://127.0.0.1:{web.port}", AzureKeyCredential(key), retry_total=0) for kind in kinds]
    return Sdk(*clients)


@pytest.fixture(scope="module")
def sdk(web: Web, client: Client, database_url: str) -> Any:
    make(client, "newer")
    return _sdk(web, database_url, "newer")


@pytest.fixture
def draft(web: Web, client: Client, database_url: str) -> Any:
    """An SDK whose experiment has not run."""
    key = f"draft-{len(client.get('/v1/experiments').body['experiments'])}"
    make(client, key, start=False, segments=[])
    return _sdk(web, database_url, key)


def _refused(call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **more)
    caught.value.response.read()  # type: ignore[union-attr]
    body = caught.value.response.json()["error"]  # type: ignore[union-attr]
    assert (caught.value.status_code, body["code"], body["target"]) == (400, "BadRequest", "not_in_loopwise")
    return str(body["message"])


def test_events_with_one_slot(sdk: Any, database_url: str) -> None:
    body = {"contextFeatures": CONTEXT, "actions": ACTIONS, "eventId": "one", "deferActivation": True}
    answer = sdk.events.rank(body)
    assert answer["eventId"] == "one" and answer["rewardActionId"] == answer["ranking"][0]["id"]
    sdk.events.activate("one")
    sdk.events.reward("one", {"value": 0.5})
    assert query(database_url, "SELECT value FROM rewards WHERE decision_id = 'one'") == [(0.5,)]


def test_events_with_several_slots(sdk: Any, database_url: str) -> None:
    slots = [{"id": name, "baselineAction": first} for name, first in (("a", "pasta"), ("b", "salad"))]
    answer = sdk.events.rank_multi_slot({"actions": ACTIONS, "slots": slots, "eventId": "two", "deferActivation": True})
    assert [slot["id"] for slot in answer["slots"]] == ["a", "b"]
    sdk.events.activate_multi_slot("two")
    sdk.events.reward_multi_slot("two", {"reward": [{"slotId": "b", "value": 1.0}]})
    assert query(database_url, "SELECT decision_id FROM rewards WHERE decision_id LIKE 'two%%'") == [("two#2",)]


def test_the_client_for_asyncio(web: Web, sdk: Sdk, database_url: str) -> None:
    async def decide() -> Any:
        credential = AzureKeyCredential(make_key(database_url, *ALL, experiment="newer"))
        transport = AsyncioRequestsTransport()  # its own default needs one more package
        async with AsyncPersonalizerClient(f"http://127.0.0.1:{web.port}", credential, transport=transport) as client:
            answer = await client.rank({"actions": ACTIONS})
            await client.reward(answer["eventId"], {"value": 1.0})
            return answer

    with ThreadPoolExecutor(1) as thread:  # a browser of other tests may leave a loop running in this one
        assert thread.submit(lambda: asyncio.run(decide())).result()["rewardActionId"]


def test_the_service_configuration_is_the_experiment(draft: Any) -> None:
    before = draft.admin.get_service_configuration()
    assert (before["rewardWaitTime"], before["rewardAggregation"], before["explorationPercentage"]) == (
        "PT10M",
        "sum",
        0.05,
    )
    assert (before["logRetentionDays"], before["learningMode"]) == (-1, "Online")
    wanted = {
        "rewardWaitTime": "PT1H",
        "defaultReward": 0.25,
        "rewardAggregation": "earliest",
        "explorationPercentage": 0.2,
        "logRetentionDays": 90,
    }
    after = draft.admin.update_service_configuration(before | wanted)
    assert after == draft.admin.get_service_configuration() == before | wanted


def test_an_experiment_that_has_run_keeps_its_reward_and_what_loopwise_has_not_is_said(sdk: Any) -> None:
    sdk.events.rank({"actions": ACTIONS})
    before = sdk.admin.get_service_configuration()
    assert sdk.admin.update_service_configuration(before) == before
    with pytest.raises(ResourceExistsError, match="reward"):
        sdk.admin.update_service_configuration({**before, "rewardWaitTime": "PT2H"})
    for name, value in (
        ("learningMode", "LoggingOnly"),
        ("isAutoOptimizationEnabled", True),
        ("logMirrorEnabled", True),
        ("modelExportFrequency", "PT1M"),
    ):
        said = _refused(sdk.admin.update_service_configuration, {**before, name: value})
        assert (name if name != "learningMode" else "LoggingOnly") in said


def test_the_learning_mode_is_the_apprentice_of_the_arm_both_ways(sdk: Any, database_url: str) -> None:
    before = sdk.admin.get_service_configuration()
    after = sdk.admin.update_service_configuration({**before, "learningMode": "Apprentice"})
    assert after == before | {"learningMode": "Apprentice"} == sdk.admin.get_service_configuration()
    for number, first in enumerate(ACTIONS):
        others = [action for action in ACTIONS if action is not first]
        answer = sdk.events.rank({"actions": [first, *others], "eventId": f"apprentice-{number}"})
        assert answer["rewardActionId"] == first["id"]
        assert [action["probability"] for action in answer["ranking"]] == [1.0, 0.0, 0.0]
    slots = [{"id": name, "baselineAction": first} for name, first in (("a", "salad"), ("b", "pasta"), ("c", "salad"))]
    answer = sdk.events.rank_multi_slot({"actions": ACTIONS, "slots": slots, "eventId": "baselines"})
    assert [slot["rewardActionId"] for slot in answer["slots"]] == ["salad", "pasta", "ice cream"]
    rows = query(database_url, "SELECT eligible FROM decisions WHERE id LIKE 'baselines%%' ORDER BY id")
    assert rows == [(["salad", "ice cream", "pasta"],), (["pasta", "ice cream"],), (["ice cream"],)]
    on = sdk.admin.update_service_configuration({**before, "learningMode": "Online"})
    assert on == before
    answer = sdk.events.rank({"actions": ACTIONS, "eventId": "switched-on"})
    assert all(action["probability"] < 1.0 for action in answer["ranking"])
    with engine_of(database_url) as engine:
        assert audit_experiment(engine, settings(database_url), "newer").findings == []


def test_an_experiment_in_which_nothing_learns_only_logs(web: Web, client: Client, database_url: str) -> None:
    make(client, "logs-only", arms=[{"key": "all", "share": 1.0, "policy": {"type": "first_action"}}])
    sdk = _sdk(web, database_url, "logs-only")
    before = sdk.admin.get_service_configuration()
    assert (before["learningMode"], before["explorationPercentage"]) == ("LoggingOnly", 0.0)
    assert sdk.admin.get_policy()["name"] == "first action"
    assert "LoggingOnly" in _refused(sdk.admin.update_service_configuration, {**before, "learningMode": "Apprentice"})
    assert sdk.events.rank({"actions": ACTIONS})["rewardActionId"] == "pasta"


def test_the_policy_is_read_replaced_and_reset_in_words_of_vowpal_wabbit(draft: Any) -> None:
    before = draft.admin.get_policy()
    assert before["name"] == "squarecb" and "--squarecb" in before["arguments"]
    assert draft.admin.update_policy(before) == before
    theirs = "--cb_explore_adf --epsilon 0.20000000298023224 --power_t 0 -l 0.001 --cb_type mtr -q ::"
    after = draft.admin.update_policy({"name": "theirs", "arguments": theirs})
    assert after["name"] == "epsilon_greedy"
    for word in (
        "--epsilon 0.20000000298023224",
        "--power_t 0.0",
        "-l 0.001",
        "--interactions ca",
        "--interactions aa",
    ):
        assert word.replace("-l ", "--learning_rate ") in after["arguments"]
    assert draft.admin.update_policy(after) == after
    assert (
        draft.admin.reset_policy()
        == draft.admin.get_policy()
        == {"name": "auto", "arguments": "--loopwise auto --exploration 0.1"}
    )


@pytest.mark.parametrize(
    "word", ["--final_regressor /tmp/x", "-f /tmp/x", "--cb_type dr", "--epsilon lots", "'", "--loopwise x"]
)
def test_no_other_word_of_vowpal_wabbit_is_taken(draft: Any, word: str) -> None:
    assert "Usable are" in _refused(draft.admin.update_policy, {"name": "x", "arguments": f"--cb_explore_adf {word}"})


def test_the_policy_of_an_experiment_that_has_run_stays(sdk: Any) -> None:
    sdk.events.rank({"actions": ACTIONS})
    assert sdk.admin.update_policy(sdk.admin.get_policy()) == sdk.admin.get_policy()
    with pytest.raises(ResourceExistsError, match="policy"):
        sdk.admin.reset_policy()


def test_models_have_properties_are_reset_and_neither_given_away_nor_taken(sdk: Any, database_url: str) -> None:
    times = sdk.admin.get_model_properties()
    assert times["creationTime"] <= times["lastModifiedTime"]
    assert "loopwise export" in _refused(lambda: list(sdk.admin.export_model()))
    assert "loopwise import" in _refused(sdk.admin.import_model, io.BytesIO(b"model"))
    sdk.admin.reset_model()
    changes = "SELECT after FROM changes WHERE kind = 'model_rollback'"
    assert query(database_url, changes) == [({"arm": "learned", "serving": 0},)]


def test_logs_have_properties_and_stay(web: Web, sdk: Any, client: Client, database_url: str) -> None:
    sdk.events.rank({"actions": ACTIONS})
    span = sdk.admin.get_log_properties()["dateRange"]
    assert span["from"] <= span["to"] and span["to"].startswith(str(datetime.now(UTC).year))
    assert "/v1/erasure" in _refused(sdk.admin.delete_logs)
    make(client, "silent")
    with pytest.raises(ResourceNotFoundError, match="Nothing was decided"):
        _sdk(web, database_url, "silent").admin.get_log_properties()


def test_evaluations_are_counterfactual_values_of_policies_on_the_log(
    web: Web, loop: Loop, sdk: Any, database_url: str
) -> None:
    loop.learn("evaluated", 200)
    ours, now = _sdk(web, database_url, "evaluated"), datetime.now(UTC)
    span = {"startTime": (now - timedelta(days=1)).isoformat(), "endTime": (now + timedelta(days=1)).isoformat()}
    policies = [{"name": "softer ones", "arguments": "--cb_explore_adf --softmax --lambda 5"}]
    assert list(ours.admin.list_evaluations()) == []
    ours.admin.create_evaluation("mine/1", {"name": "Softmax?", "policies": policies, **span})
    with pytest.raises(ResourceExistsError):
        ours.admin.create_evaluation("mine/1", {"name": "again", **span})
    between = {"start_time": now, "end_time": now}
    waiting = ours.admin.get_evaluation("mine/1", **between)
    assert (waiting["status"], waiting["name"], "content" in waiting) == ("NotSubmitted", "Softmax?", False)
    with engine_of(database_url) as engine:
        run_waiting(engine, settings(database_url))
    (done,) = ours.admin.list_evaluations()
    assert (done["id"], done["status"], done["evaluationType"]) == ("mine/1", "Succeeded", "Manual")
    lines = {line["name"]: line for line in ours.admin.get_evaluation("mine/1", **between)["content"]["value"]}
    assert lines["uniform"]["policySource"] == "Random" and lines["running"]["policySource"] == "Online"
    assert lines["softer-ones"]["policySource"] == "Custom"
    low, high = lines["uniform"]["summary"]["confidenceInterval"]
    assert low < lines["uniform"]["summary"]["expectedReward"] < high
    assert "stage" in _refused(
        ours.admin.apply_from_evaluation, {"evaluationId": "mine/1", "policyName": "softer-ones"}
    )
    ours.admin.delete_evaluation("mine/1")
    with pytest.raises(ResourceNotFoundError):
        ours.admin.get_evaluation("mine/1", **between)
    assert list(ours.admin.list_evaluations()) == []


def test_feature_importances_are_refused_in_words(sdk: Any) -> None:
    assert "what-works-for-whom" in _refused(lambda: list(sdk.admin.list_feature_importances()))
    assert "what-works-for-whom" in _refused(sdk.admin.get_feature_importance, "x")
    assert "what-works-for-whom" in _refused(sdk.admin.delete_feature_importance, "x")
    body = {"name": "x", "startTime": "2026-01-01", "endTime": "2026-01-02"}
    assert "what-works-for-whom" in _refused(sdk.admin.create_feature_importance, "x", body)


def test_segments_of_the_context_split_the_results(web: Web, loop: Loop, client: Client, database_url: str) -> None:
    experiment_id = loop.make("split", actions=[], arms=bandit(), segments=["timeOfDay"])
    ours = _sdk(web, database_url, "split")
    for number in range(20):
        context = [{"timeOfDay": "morning" if number % 2 else "night"}]
        ours.events.rank({"actions": ACTIONS, "contextFeatures": context})
    loop.close_windows(experiment_id)
    loop.train(experiment_id)
    answer = client.get("/v1/experiments/split/results?segment=timeOfDay&max_age_s=0")
    assert answer.status == 200 and "morning" in answer.raw.decode() and "night" in answer.raw.decode()
