"""The feedback page: the schema in force, who answers, agreement, comments; and the same over the API."""

from typing import Any

import numpy as np
import pytest

from app.reporting import feedback_report
from tests.lab import AB, Lab
from tests.learning.feedback_support import apply, say
from tests.page_client import Browser
from tests.service import Client, query

HOSTILE = "<script>alert(1)</script>\u202eevil"
SCHEMA = {
    "thumbs": {"up": 1.0, "down": 0.0},
    "reasons": {"too <i>long</i>": 0.25},
    "not_interested": 0.0,
    "confidence": 0.5,
    "limit": 10_000,
}
PAGE = "/admin/experiments/heard/feedback"


@pytest.fixture(scope="module")
def heard(lab: Lab) -> str:
    """Units that click when they are content, and then answer more, thumbs up."""
    lab.make("heard", arms=AB, feedback=SCHEMA, segments=["plan"], name="Heard")
    rng = np.random.default_rng(3)
    bodies = [{"unit_id": f"heard-{n % 90}", "context": {"plan": ("free", "pro")[n % 2]}} for n in range(360)]
    events, answers = [], []
    for n, one in enumerate(lab.play("heard", bodies, settled=False)):
        content = n % 90 % 3 > 0
        if content and rng.random() < 0.8:
            events.append({"decision_id": one["decision_id"], "value": 1.0})
        if rng.random() < (0.7 if content else 0.35):
            thumb = "up" if rng.random() < (0.85 if content else 0.2) else "down"
            answers.append({"decision_id": one["decision_id"], "kind": "thumbs", "value": thumb})
    answers[0]["comment"] = HOSTILE
    lab.report(events)
    say(lab, answers)
    lab.settle("heard")
    feedback_report.compute(lab.runtime.engine, "heard")
    return "heard"


def test_the_page_says_who_answers_and_whether_the_signals_agree(heard: str, viewer: Browser) -> None:
    page = viewer.get(PAGE)
    assert page.status == 200
    for words in (
        "what people say and what they do go the same way",
        "Those who answer do better than the rest",
        "Version 1 of the feedback schema",
        "plan = free",
        "arm control",
        "settled decisions of 90 units",
    ):
        assert words in page.text, words
    assert page.html.count("chart fluid") == 2
    assert "Confidence 50%" in page.text


def test_what_people_wrote_is_shown_as_text(heard: str, viewer: Browser) -> None:
    page = viewer.get(PAGE)
    assert "<script>alert" not in page.html and HOSTILE in page.text
    assert "too <i>long</i>" in page.text and "<i>long" not in page.html


def test_a_newer_schema_is_announced_until_it_is_computed(heard: str, viewer: Browser, lab: Lab) -> None:
    lab.change("heard", feedback=SCHEMA | {"thumbs": {"up": 0.9, "down": 0.1}})
    assert "Version 2 of the feedback schema is being computed" in viewer.get(PAGE).text
    apply(lab)
    text = viewer.get(PAGE).text
    assert "is being computed" not in text and "Version 2 of the feedback schema, in force since" in text


def test_without_answers_the_page_says_how_they_come(viewer: Browser, lab: Lab) -> None:
    lab.make("unheard", arms=AB)
    text = viewer.get("/admin/experiments/unheard/feedback").text
    assert "Nobody answered yet" in text and "has no feedback schema" in text
    lab.make("ready", arms=AB, feedback=SCHEMA)
    assert "Once decisions are settled" in viewer.get("/admin/experiments/ready/feedback").text
    assert viewer.get("/admin/experiments/nothing/feedback").status == 404


def test_answers_before_anything_is_settled(viewer: Browser, lab: Lab) -> None:
    lab.make("early", arms=AB, feedback=SCHEMA)
    (one,) = lab.play("early", [{"unit_id": "u"}], settled=False)
    say(lab, [{"decision_id": one["decision_id"], "kind": "not_interested"}])
    feedback_report.compute(lab.runtime.engine, "early")
    assert "1 answer arrived; no decision is settled yet" in viewer.get("/admin/experiments/early/feedback").text


def test_the_api_gives_the_same_figures_with_their_age(heard: str, client: Client, database_url: str) -> None:
    answer = client.get("/v1/experiments/heard/feedback")
    assert answer.status == 200
    body: dict[str, Any] = answer.body
    assert body["groups"][0]["bias"]["interval"]["low"] > 0 and body["age_s"] >= 0 and body["assumptions"]
    query(database_url, "DELETE FROM latest WHERE kind = 'feedback'")
    assert client.get("/v1/experiments/heard/feedback").body["groups"] == body["groups"]
    assert client.get("/v1/experiments/nothing/feedback").body["code"] == "unknown_experiment"
