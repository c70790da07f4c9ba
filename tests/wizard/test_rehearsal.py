"""The button Rehearse: the draft played in a known world, in words, and the world as a file for the command."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.commands.main import main
from app.simulation.pages import rehearsal_form
from tests.wizard.drafting import Draft, complete

PLAN = {"/plan/value": "20", "/plan/effect": "30"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal_form, "SECONDS", 1.0)


def test_a_rehearsal_says_how_the_experiment_would_end(draft: Draft) -> None:
    complete(draft, "rehearsed")
    page = draft.save("plan", PLAN, "rehearse")
    assert re.search(r"Played \d+ times with 5,000 users each", page.text)
    assert "ship learned" in page.text and "They promise 95%" in page.text
    assert "learned has the effect on reward" in page.text
    assert page.html.count("<svg") >= 1
    assert "Rehearse" in draft.show("review").text
    assert "users in the control" not in page.text, "the other answer is not shown"


def test_the_world_can_be_downloaded_and_played(draft: Draft, tmp_path: Path) -> None:
    complete(draft, "downloaded")
    draft.save("plan", PLAN)
    answer = draft.browser.get(f"{draft.base}/world.json")
    assert answer.headers["Content-Disposition"] == "attachment; filename=world.json"
    file = tmp_path / "world.json"
    file.write_text(answer.html)
    shown = CliRunner().invoke(main, ["simulate", str(file), "--runs", "1", "--json"])
    document = json.loads(shown.stdout)
    assert document["units"] == 5000 and document["about"] == "A rehearsal of downloaded."


def test_what_is_missing_is_said_beside_its_field(draft: Draft) -> None:
    page = draft.save("plan", PLAN, "rehearse")
    assert "a rehearsal needs a draft without errors" in page.text.lower() and "Download" not in page.text
    complete(draft, "half")
    for wrong, words in (
        ({"/plan/value": ""}, "Say what the control"),
        ({"/plan/value": "90"}, "keep them between 0 and 1"),
        ({"/plan/value": "20", "/plan/source": "log"}, "needs typed values"),
        ({"/plan/source": "typed", "/plan/mode": "bandit"}, "answers the question about two arms"),
    ):
        page = draft.save("plan", PLAN | wrong, "rehearse")
        assert words in page.text and "mistake" in page.html
    assert draft.browser.get(f"{draft.base}/world.json").address.endswith("/plan?rehearsal=1")


def test_a_world_that_cannot_be_is_not_offered_as_a_file(draft: Draft) -> None:
    complete(draft, "impossible")
    draft.save("plan", {"/plan/value": "90", "/plan/effect": "30"})
    answer = draft.browser.get(f"{draft.base}/world.json")
    assert answer.status == 422 and "keep them between 0 and 1" in answer.text


def test_a_plan_with_fewer_users_than_the_rule_asks_for_is_a_warning_in_the_review(draft: Draft) -> None:
    complete(draft, "small-plan")
    draft.save("metrics", {"/decision_rule/planned_units": "250", "/decision_rule/min_units": "100"})
    words = "You plan 250 users, but the rule asks for 100 in each of 3 arms, 300 in all"
    assert words in draft.show("review").text
    draft.save("metrics", {"/decision_rule/planned_units": "300"})
    assert "You plan 300" not in draft.show("review").text
