"""The policy tab: versions, comparisons, and rollbacks."""

import pytest

from tests.page_client import Browser
from tests.service import Client, Loop, runtime_of

PAGE = "/admin/experiments/models/policy"


@pytest.fixture(scope="module", autouse=True)
def experiment(database_url: str) -> None:
    with runtime_of(database_url) as runtime:
        loop = Loop(runtime, database_url)
        made = loop.learn("models")
        loop.more("models", made)
        loop.make("fixed-only")
        races = loop.make("races", arms=[{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}])
        for _ in range(2):
            loop.more("races", races, 60)


def test_versions_with_what_they_learned_and_which_serves(viewer: Browser) -> None:
    page = viewer.get(PAGE)
    assert page.status == 200
    assert "2 version that serves" in page.text and "80 decisions it learned" in page.text
    assert "version 1" in page.text and "passed" in page.text and "40 decisions" in page.text
    assert "Roll back" not in page.text  # a viewer only reads


def test_two_versions_are_compared_on_newest_contexts(viewer: Browser) -> None:
    page = viewer.get(f"{PAGE}/compare?arm=learned&first=0&second=2")
    assert page.status == 200 and "On the 80 newest contexts of this arm" in page.text and "sha256" in page.text
    assert viewer.get(f"{PAGE}/compare?arm=learned&first=0&second=77").status == 404
    assert viewer.get(f"{PAGE}/compare").status == 404


def test_a_viewer_cannot_roll_back(viewer: Browser) -> None:
    assert viewer.get(f"{PAGE}/rollback?arm=learned&version=1").status == 403
    refused = viewer.post(f"{PAGE}/rollback", {"arm": "learned", "version": "1", "reason": "mine"})
    assert refused.status == 403 and "needs the role editor" in refused.text
    assert "2 version that serves" in viewer.get(PAGE).text


def test_an_editor_rolls_back_with_a_reason_that_stays_in_the_log(editor: Browser) -> None:
    confirmation = editor.get(f"{PAGE}/rollback?arm=learned&version=1")
    assert (
        confirmation.status == 200
        and "Learning goes on from it" in confirmation.text
        and "40 decisions) is not learned again" in confirmation.text
    )
    empty = editor.post(f"{PAGE}/rollback", {"arm": "learned", "version": "1", "reason": " "})
    assert empty.status == 422 and "Say why" in empty.text
    done = editor.post(f"{PAGE}/rollback", {"arm": "learned", "version": "1", "reason": "sales <fell>"})
    assert done.status == 200 and "Version 1 of arm learned serves now; before it was version 2." in done.text
    assert "1 version that serves" in done.text and "sales <fell>" in done.text and "<fell>" not in done.html
    assert "rolled a model back" in editor.get("/admin/experiments/models/log").text


def test_unknown_versions_and_arms_are_not_found(editor: Browser) -> None:
    for query in ("arm=learned&version=99", "arm=ghost&version=1", "arm=learned&version=x" + "9" * 30):
        assert editor.get(f"{PAGE}/rollback?{query}").status in (200, 404)
    assert editor.get(f"{PAGE}/rollback?arm=ghost&version=1").status == 404
    assert editor.get(f"{PAGE}?arm=ghost").status == 404


def test_an_experiment_without_a_learning_arm_says_so(viewer: Browser) -> None:
    assert "No arm of this experiment learns" in viewer.get("/admin/experiments/fixed-only/policy").text


def test_the_race_is_shown_with_its_reason_and_a_rebuild_can_be_asked_for(editor: Browser, viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/races/policy")
    assert page.status == 200 and "What decides, and why" in page.text and "It decides by" in page.text
    assert 'id="race"' in page.html and "line per action" in page.text and "regression" in page.text
    assert "Learn again from the whole log" not in page.text
    assert "What decides, and why" not in viewer.get(PAGE).text  # an algorithm of Vowpal Wabbit has no race
    assert viewer.post("/admin/experiments/races/policy/rebuild", {"arm": "learned"}).status == 403
    asked = editor.post("/admin/experiments/races/policy/rebuild", {"arm": "learned"})
    assert asked.status == 200 and "is learned again from its whole log" in asked.text
    assert "asked for a model to be rebuilt" in editor.get("/admin/experiments/races/log").text
    assert editor.post("/admin/experiments/races/policy/rebuild", {"arm": "ghost"}).status == 404


def test_which_learner_decides_can_be_pinned_and_given_back(editor: Browser, viewer: Browser, client: Client) -> None:
    races = "/admin/experiments/races/policy"
    assert "Which learner decides" not in viewer.get(races).text
    assert viewer.post(f"{races}/pin", {"arm": "learned", "candidate": "ca"}).status == 403
    assert "Which learner decides" in editor.get(races).text
    pinned = editor.post(f"{races}/pin", {"arm": "learned", "candidate": "ca"})
    assert pinned.status == 200 and "will decide by a regression on context times action" in pinned.text
    assert editor.post(f"{races}/pin", {"arm": "learned", "candidate": "magic"}).status == 422
    assert "pinned which learner decides" in editor.get("/admin/experiments/races/log").text
    body = {"arm": "learned", "candidate": None}
    answer = client.post("/v1/experiments/races/policy/pin", body)
    assert (answer.status, answer.body["candidate"]) == (202, None)
    wrong = client.post("/v1/experiments/races/policy/pin", {"arm": "learned", "candidate": "magic"})
    assert (wrong.status, wrong.body["errors"][0]["path"]) == (422, "/candidate")
    assert client.post("/v1/experiments/models/policy/pin", body | {"candidate": "ca"}).status == 422  # no race
    assert client.post("/v1/experiments/races/policy/pin", body | {"arm": "ghost"}).status == 404
