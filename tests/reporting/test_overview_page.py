"""The overview: what it says before anything happened, the figures of a log, and that it changes only when they do."""

import re
from typing import Any

import numpy as np
import pytest

from app.design import experiments
from app.reporting import activity, results
from tests.lab import AB, Lab
from tests.page_client import Browser, Page
from tests.service import bandit, definition, query

HOSTILE = "<script>alert(1)</script>\"'\u202e"
LEARNING = [AB[0], bandit()[0] | {"share": 0.5}]


def units(count: int, name: str = "u") -> list[dict[str, Any]]:
    return [{"unit_id": f"{name}{number}"} for number in range(count)]


def compute(lab: Lab, key: str) -> None:
    activity.compute(lab.runtime.engine, key)
    results.compute(lab.runtime.engine, key)


def live(browser: Browser, key: str, etag: str = "") -> Page:
    headers = {"If-None-Match": etag} if etag else {}
    return browser.get(f"/admin/experiments/{key}/live?fragment=1", **headers)


@pytest.fixture(scope="module")
def coin(lab: Lab) -> str:
    """A learning arm that is better than the control."""
    lab.make("coin", arms=LEARNING, control_arm="control", name=HOSTILE)
    random = np.random.default_rng(1)
    lab.play("coin", units(1200), lambda _, one: float(random.random() < (0.3 if one["arm"] == "control" else 0.6)))
    compute(lab, "coin")
    return "coin"


def test_a_draft_says_how_to_begin(lab: Lab, editor: Browser, viewer: Browser) -> None:
    experiments.create(lab.runtime.engine, lab.settings, definition("begun"), "test")
    assert "Start it with the button above" in editor.get("/admin/experiments/begun/").text
    page = viewer.get("/admin/experiments/begun/")
    assert "An editor starts it" in page.text and "data-poll" not in page.html


def test_a_running_experiment_without_decisions_leads_to_the_integration(lab: Lab, viewer: Browser) -> None:
    lab.make("silent")
    page = viewer.get("/admin/experiments/silent/")
    assert "Waiting for the first decision" in page.text
    assert "/admin/experiments/silent/integration" in page.html and "data-poll" in page.html


def test_the_verdict_names_the_figures_of_the_results(coin: str, lab: Lab, viewer: Browser) -> None:
    line = lab.results("coin", fresh=False)["metrics"][0]["comparisons"][0]
    text = viewer.get("/admin/experiments/coin/").text
    given = line["always_valid"]["relative_interval"]
    lift, low, high = (f"{value * 100:+.0f}%" for value in (line["relative_lift"], given["low"], given["high"]))
    assert re.search(r"learned beats control on .*: \+.* 0\.\d+ against 0\.\d+ per decision\.", text)
    assert f"{lift} ({low} to {high})" in text
    assert "The decision rule says: ship learned." in text


def test_tiles_learning_and_charts_show_the_log(coin: str, viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/coin/")
    assert "1,200 decisions" in page.text and "1,200 rewards today" in page.text
    assert "100.0% of settled decisions had a reward" in page.text
    assert "Is it learning?" in page.text
    assert re.search(r"Version \d+ serves, trained less than a minute ago on \d+ decisions", page.text)
    for caption in ("Reward per decision by arm over time", "Decisions by arm in each stretch", "What learned chooses"):
        assert caption in page.text
    assert page.html.count("The figures as a table") == 4  # rewards step by step and cumulative
    assert page.html.count("style=") == 0


def test_it_changes_only_when_a_figure_changed(coin: str, lab: Lab, viewer: Browser) -> None:
    shown = viewer.get("/admin/experiments/coin/").html
    etag = re.search(r'data-etag="&#34;(\w+)&#34;"', shown)
    assert etag
    page = live(viewer, "coin", f'"{etag[1]}"')
    assert (page.status, page.raw) == (304, b"")
    lab.play("coin", units(50, "later"), lambda *_: 1.0)
    activity.compute(lab.runtime.engine, "coin")
    page = live(viewer, "coin", f'"{etag[1]}"')
    assert page.status == 200 and "1,250" in page.text and "<html" not in page.html


def test_the_fragment_tells_who_is_signed_out_instead_of_showing_a_sign_in_page(coin: str, web: Any) -> None:
    assert live(Browser(web.port), "coin").status == 401


def test_names_show_as_text(coin: str, viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/coin/")
    assert "<script>alert" not in page.html and HOSTILE in page.text.replace("\u202e", "\u202e")


def test_what_is_wrong_stands_first(lab: Lab, viewer: Browser) -> None:
    lab.make("lost", arms=AB, control_arm="control")
    lab.play("lost", units(900), lambda *_: 1.0)
    query(
        lab.database_url,
        "DELETE FROM outcomes o USING experiments e WHERE e.id = o.experiment_id AND e.key = 'lost'"
        " AND o.arm = 'treated' AND hashtext(o.unit_id) % 2 = 0",
    )
    compute(lab, "lost")
    text = viewer.get("/admin/experiments/lost/").text
    assert text.index("Sample ratio mismatch") < text.index("The decision rule says: stop.")


def test_figures_without_results_say_when_they_come(lab: Lab, viewer: Browser) -> None:
    lab.make("young")
    lab.play("young", units(5), settled=False)
    activity.compute(lab.runtime.engine, "young")
    text = viewer.get("/admin/experiments/young/").text
    assert "No result yet." in text and "the first results follow within a minute" in text
    assert "5 wait for rewards" in text


def test_the_decision_of_a_concluded_experiment_stands_on_top(lab: Lab, viewer: Browser) -> None:
    lab.make("over", arms=AB, control_arm="control")
    experiments.move(lab.runtime.engine, "over", "conclude", "test", "We keep <b>a</b>.")
    text = viewer.get("/admin/experiments/over/").text
    assert "What was decided: We keep <b>a</b>." in text
    assert re.search(r"UTC ?·? ?concluded [\d-]+ [\d:]+ UTC ?·? ?configuration 1", text)


def test_a_concluded_experiment_gives_no_advice_that_cannot_be_followed(lab: Lab, viewer: Browser) -> None:
    lab.make("ended", arms=LEARNING, control_arm="control", decision_rule={"min_days": 7.0})
    lab.play("ended", units(300), lambda *_: 1.0)
    compute(lab, "ended")
    before = viewer.get("/admin/experiments/ended/").text
    assert "The decision rule says: keep running." in before and "They are updated" in before
    experiments.move(lab.runtime.engine, "ended", "conclude", "test", "Enough.")
    for tab in ("", "results", "ship", "integration", "policy", "health", "feedback", "off-policy", "report?show=1"):
        text = viewer.get(f"/admin/experiments/ended/{tab}").text
        for advice in ("launch says", "The rule says", "They are updated", "start it", "Start it", "run longer"):
            assert advice not in text, (tab, advice)
    assert "When the experiment was concluded, the decision rule said" in viewer.get("/admin/experiments/ended/").text


def test_a_single_arm_has_nothing_to_compare_with(lab: Lab, viewer: Browser) -> None:
    lab.make("single")
    lab.play("single", units(5), lambda *_: 1.0)
    compute(lab, "single")
    assert "there is nothing to compare" in viewer.get("/admin/experiments/single/").text


def test_yesterdays_counts_are_not_todays(lab: Lab, viewer: Browser) -> None:
    lab.make("old")
    lab.play("old", units(5), lambda *_: 1.0)
    compute(lab, "old")
    query(
        lab.database_url,
        """UPDATE latest SET body = body || '{"day": "2026-01-01"}' FROM experiments e"""
        " WHERE e.id = experiment_id AND e.key = 'old' AND kind = 'activity'",
    )
    assert "0 rewards today" in viewer.get("/admin/experiments/old/").text


def test_an_experiment_that_does_not_exist_is_a_page_that_says_so(viewer: Browser) -> None:
    for address in ("/admin/experiments/nowhere/", "/admin/experiments/nowhere/live"):
        page = viewer.get(address)
        assert page.status == 404 and "There is no experiment 'nowhere'." in page.text
