"""Where a draft says that users decide more than once, its reward begins per user; who removes that keeps decisions."""

from typing import Any

import pytest

from app.wizard.form import begun, decides_often
from tests.service import Client
from tests.wizard.drafting import Draft, complete

KEPT = {"/profile:kept": "yes"}


@pytest.mark.parametrize(
    ("document", "often"),
    [
        ({}, False),
        ({"fatigue": {"caps": [], "min_distance_s": " "}, "profile:kept": ""}, False),
        ({"fatigue": {"caps": [{"limit": "3"}]}}, True),
        ({"fatigue": {"caps": [], "min_distance_s": "2"}}, True),
        ({"profile:kept": "yes"}, True),
    ],
)
def test_caps_distances_and_pasts_say_that_users_decide_often(document: dict[str, Any], often: bool) -> None:
    assert decides_often(document) is often
    assert ("metrics" in begun(document)) is often
    assert begun(document | {"metrics": []})["metrics"] == [], "a saved step stays as it is"


def test_the_reward_begins_per_user_and_is_made_so(draft: Draft, client: Client) -> None:
    draft.save("people", KEPT)
    page = draft.show("metrics")
    assert "each has one voice" in page.text
    assert draft.fields("metrics")["/metrics/0/source/per"] == "unit"
    complete(draft, "one-voice")
    draft.save("review", do="publish")
    (metric,) = client.get("/v1/experiments/one-voice").body["metrics"]
    assert (metric["key"], metric["role"], metric["source"]) == ("reward", "primary", {"type": "reward", "per": "unit"})


def test_a_metrics_step_that_was_saved_before_stays_as_it_is(draft: Draft, client: Client) -> None:
    complete(draft, "decisions")
    draft.save("people", KEPT)
    assert "one voice" not in draft.show("metrics").text and "/metrics/0/key" not in draft.fields("metrics")
    draft.save("review", do="publish")
    assert client.get("/v1/experiments/decisions").body["metrics"] == []
