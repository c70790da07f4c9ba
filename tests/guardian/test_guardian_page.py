"""The page Health: what happened, what decides, and the way back in one click; and the same over the API."""

from typing import Any

import pytest

from app.guardian import context, thresholds
from tests.guardian.world import TURNED, World
from tests.lab import Lab
from tests.page_client import Browser
from tests.service import Client

ONE = "/admin/experiments/watched"


@pytest.fixture(scope="module")
def world(lab: Lab) -> World:
    """An experiment whose world turned over."""
    world = World(lab, "watched", 1)
    world.turn(8)
    world.best = TURNED
    world.turn(2)
    context.look(lab.runtime.engine, "watched")
    return world


def _fallen_back(client: Client) -> bool:
    arms: list[dict[str, Any]] = client.get("/v1/experiments/watched").body["arms"]
    return bool(next(arm for arm in arms if arm["key"] == "learned").get("fallen_back"))


def test_the_page_tells_what_happened_and_what_decides(world: World, viewer: Browser) -> None:
    page = viewer.get(f"{ONE}/health")
    assert page.status == 200
    for words in (
        "learned earned",
        "noticed",
        "the model is learned again (guardian)",
        "Falls back to: always a",
        "open",
        "Context field mood",
        "Share of the decisions of the API key lw_test with a reward event",
    ):
        assert words in page.text, words
    assert "learned policy decides" in page.text and "Fall back now" not in page.text, "a viewer reads"
    assert "Reward per decision" in page.text and "<svg" in page.html
    assert "learned earned" in viewer.get("/admin/health").text
    assert "Incident: learned earned" in viewer.get("/admin/").text


def test_an_editor_falls_back_and_comes_back_in_one_click(world: World, editor: Browser, client: Client) -> None:
    page = editor.post(f"{ONE}/health/turn", {"arm": "learned", "do": "fall_back"})
    assert page.status == 200 and "The fallback of learned decides now." in page.text and _fallen_back(client)
    again = editor.post(f"{ONE}/health/turn", {"arm": "learned", "do": "fall_back"})
    assert again.status == 409 and "decides already" in again.text
    page = editor.post(f"{ONE}/health/turn", {"arm": "learned", "do": "restore"})
    assert page.status == 200 and not _fallen_back(client)
    assert "let an arm's fallback decide" in editor.get(f"{ONE}/log").text
    assert editor.post(f"{ONE}/health/turn", {"arm": "learned", "do": "dance"}).status == 422
    assert editor.post(f"{ONE}/health/turn", {"arm": "ghost", "do": "restore"}).status == 404


def test_a_viewer_changes_nothing(world: World, viewer: Browser) -> None:
    assert viewer.post(f"{ONE}/health/turn", {"arm": "learned", "do": "fall_back"}).status == 403
    assert viewer.post(f"{ONE}/health/close", {"incident": "1"}).status == 403


def test_the_api_says_the_same(world: World, client: Client) -> None:
    guarded = client.get("/v1/experiments/watched/guardian").body
    assert guarded["observations_between_false_alarms"] == thresholds.BETWEEN
    assert {(watch["arm"], watch["stream"]) for watch in guarded["watched"]} == {
        ("control", "value"),
        ("control", "rewarded"),
        ("control", "once"),
        ("learned", "once"),
        ("learned", "value"),
        ("learned", "rewarded"),
        ("learned", "fallback"),
    }
    (incident,) = guarded["incidents"]
    assert (incident["kind"], incident["arm"], incident["closed_at"]) == ("value_fell", "learned", None)
    body = {"arm": "learned", "fallback": True, "reason": "a drill"}
    assert client.post("/v1/experiments/watched/guardian", body).status == 200 and _fallen_back(client)
    twice = client.post("/v1/experiments/watched/guardian", body)
    assert (twice.status, twice.body["code"]) == (409, "fallback_unchanged")
    assert client.post("/v1/experiments/watched/guardian", body | {"fallback": False}).status == 200
    control = client.post("/v1/experiments/watched/guardian", body | {"arm": "control"})
    assert (control.status, control.body["code"]) == (409, "no_fallback")
    assert client.post("/v1/experiments/watched/guardian", body | {"reason": ""}).status == 422


def test_the_metrics_count_open_incidents_and_fallbacks(world: World, client: Client) -> None:
    text = client.get("/metrics").raw.decode()
    assert 'loopwise_incidents_open{experiment="watched",kind="value_fell"} 1.0' in text
    assert 'loopwise_fallback_decides{arm="learned",experiment="watched"} 0.0' in text


def test_an_incident_is_closed_once_seen(world: World, editor: Browser, client: Client) -> None:
    (incident,) = client.get("/v1/experiments/watched/guardian").body["incidents"]
    page = editor.post(f"{ONE}/health/close", {"incident": str(incident["id"])})
    assert page.status == 200 and "All is well" in page.text and "Earlier incidents" in page.text
    again = client.post(f"/v1/experiments/watched/incidents/{incident['id']}/close")
    assert again.status == 200 and again.body["actions"][-1]["code"] == "closed"
    assert client.post("/v1/experiments/watched/incidents/999999/close").status == 404
    assert editor.post(f"{ONE}/health/close", {"incident": "none"}).status == 404


@pytest.mark.parametrize(
    ("fallback", "path", "code"),
    [
        ({"to": {"type": "bandit"}}, "/arms/1/fallback/to", "fallback_learns"),
        ({"to": {"type": "fixed", "action": "ghost"}}, "/arms/1/fallback/to/action", "unknown_action"),
        ({"margin": -1}, "/arms/1/fallback/margin", "too_small"),
        ({"probe": 0}, "/arms/1/fallback/probe", "too_small"),
    ],
)
def test_a_fallback_that_cannot_be_trusted_is_refused(
    client: Client, fallback: dict[str, Any], path: str, code: str
) -> None:
    arms = [
        {"key": "control", "share": 0.5, "policy": {"type": "uniform"}},
        {"key": "learned", "share": 0.5, "policy": {"type": "bandit"}, "fallback": fallback},
    ]
    answer = client.post("/v1/experiments", {"key": "refused", "actions": [{"id": "a"}, {"id": "b"}], "arms": arms})
    assert (path, code) in [(error["path"], error["code"]) for error in answer.body["errors"]]


def test_only_a_learning_arm_falls_back_and_nobody_sets_the_state(client: Client) -> None:
    arms = [
        {"key": "control", "share": 0.5, "policy": {"type": "uniform"}, "fallback": {}},
        {"key": "learned", "share": 0.5, "policy": {"type": "bandit"}, "fallen_back": True},
    ]
    body = {"key": "stated", "actions": [{"id": "a"}, {"id": "b"}], "arms": arms}
    refused = client.post("/v1/experiments", body)
    assert [(error["path"], error["code"]) for error in refused.body["errors"]] == [
        ("/arms/0/fallback", "fallback_learns_not")
    ]
    del arms[0]["fallback"]
    made = client.post("/v1/experiments", body)
    assert made.status == 201 and "fallen_back" not in made.body["arms"][1]
