"""What a bound costs: the predicted cost covers the true one, a bound that changes nothing is free, errors say what to name."""

from typing import Any

import numpy as np
import pytest

from app.off_policy import evaluations
from app.off_policy.bounds.pricing import bounds
from benchmarks.prices import BOUNDS, covered, drift
from tests.lab import Lab, arm, sound
from tests.page_client import Browser, signed_in
from tests.service import Client, Web

BANDIT: dict[str, Any] = {"type": "bandit", "algorithm": "epsilon_greedy", "parameters": {"bits": 12}}
ACTIONS = [
    {"id": "a", "features": {"supplier": "north"}},
    {"id": "b", "features": {"supplier": "north"}},
    {"id": "c", "features": {"supplier": "south"}},
]
PAYS = {"a": 0.8, "b": 0.4, "c": 0.2}
PAGE = "/admin/experiments/priced/fairness"


@pytest.fixture(scope="module")
def priced(lab: Lab) -> str:
    """A learner that soon takes a, whose supplier is the north; it gets a bound for the last third of its log."""
    random = np.random.default_rng(1)
    lab.make(
        "priced",
        actions=ACTIONS,
        arms=[arm("learned", 0.6, BANDIT | {"exploration_floor": 0.1}), arm("control", 0.4)],
        control_arm="control",
    )
    for turn in range(6):
        if turn == 4:
            bounded = BANDIT | {"exploration_floor": 0.1, "exposure": {"by": "supplier", "least": 0.3}}
            lab.change("priced", arms=[arm("learned", 0.6, bounded), arm("control", 0.4)])
        bodies = [{"unit_id": f"{turn}-{n}", "context": {"n": n % 3}} for n in range(400)]
        lab.play("priced", bodies, lambda _, one: float(random.random() < PAYS[one["action"]["id"]]))
    return "priced"


def ask(client: Client, key: str, **question: Any) -> Any:
    return client.post(f"/v1/experiments/{key}/evaluations", {"candidates": [], "price": question})


def test_the_price_is_the_paired_difference_with_and_without(lab: Lab, priced: str, client: Client) -> None:
    asked = ask(client, priced, arm="learned", by="supplier")
    assert asked.status == 202
    assert evaluations.run_waiting(lab.runtime.engine, lab.settings) == 1
    done = sound(client.get(f"/v1/experiments/{priced}/evaluations/{asked.body['id']}").body)
    price = done["result"]["price"]
    free, *points = price["points"]
    assert free["bound"] is None and price["groups"] == 2
    assert [point["bound"] for point in points] == bounds("least", 2)
    assert free["smallest"] < 0.1, "without the bound that it ran with in the last third"
    assert points[-1]["smallest"] == pytest.approx(0.5)
    costs = [point["cost"] for point in points]
    assert costs == sorted(costs) and costs[0] >= 0
    true = (0.8 - 0.2) * (0.5 - free["smallest"])
    assert points[-1]["cost_interval"]["low"] < true < points[-1]["cost_interval"]["high"]
    for point in points:
        assert point["value"] == pytest.approx(free["value"] - point["cost"], abs=0.02)
        assert point["interval"]["low"] < point["value"] < point["interval"]["high"]


def test_a_bound_that_changes_nothing_costs_nothing_for_sure(lab: Lab, priced: str, client: Client) -> None:
    asked = ask(client, priced, arm="learned", by="action", bound="most", values=[0.999, 0.4])
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    done = client.get(f"/v1/experiments/{priced}/evaluations/{asked.body['id']}").body
    same, tight = done["result"]["price"]["points"][1:]
    assert same["cost"] == 0.0 and (same["cost_interval"]["low"], same["cost_interval"]["high"]) == (0.0, 0.0)
    assert tight["cost"] > 0


def test_a_target_over_a_window_costs_no_more_than_its_bound_in_every_decision(
    lab: Lab, priced: str, client: Client
) -> None:
    points = []
    for window in ({}, {"window": 200}):
        asked = ask(client, priced, arm="learned", by="supplier", values=[0.2, 0.4], **window)
        evaluations.run_waiting(lab.runtime.engine, lab.settings)
        price = client.get(f"/v1/experiments/{priced}/evaluations/{asked.body['id']}").body["result"]["price"]
        assert price["window"] == window.get("window")
        points.append(price["points"][1:])
    for every, over in zip(*points, strict=True):
        assert 0 < over["cost"] <= every["cost"] + 1e-9
        assert over["smallest"] == pytest.approx(over["bound"], abs=0.03), "the target is reached by expectation"
        assert over["cost_interval"]["low"] <= (0.8 - 0.2) * (over["bound"] - 0.05) <= over["cost_interval"]["high"]


@pytest.mark.parametrize(
    ("question", "path"),
    [
        ({"arm": "control", "by": "supplier"}, "/price/arm"),
        ({"arm": "nobody", "by": "supplier"}, "/price/arm"),
        ({"arm": "learned", "by": "supplier", "values": [0.7]}, "/price/values/0"),
        ({"arm": "learned", "by": "supplier", "bound": "most", "values": [0.9, 0]}, "/price/values/1"),
        ({"arm": "learned", "by": ""}, "/price/by"),
        ({"arm": "learned", "by": "supplier", "bound": "all"}, "/price/bound"),
        ({"arm": "learned", "by": "supplier", "values": []}, "/price/values"),
        ({"arm": "learned", "by": "supplier", "window": 99}, "/price/window"),
    ],
)
def test_a_wrong_question_names_its_field(priced: str, client: Client, question: dict[str, Any], path: str) -> None:
    answer = ask(client, priced, **question)
    assert answer.status == 422 and [error["path"] for error in answer.body["errors"]] == [path]


def test_a_feature_that_no_action_has_fails_with_a_sentence(lab: Lab, priced: str, client: Client) -> None:
    asked = ask(client, priced, arm="learned", by="colour")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    done = client.get(f"/v1/experiments/{priced}/evaluations/{asked.body['id']}").body
    assert done["status"] == "failed" and "no action has a text feature 'colour'" in done["error"]


def test_the_page_asks_and_draws_the_frontier(lab: Lab, priced: str, web: Web, viewer: Browser) -> None:
    analyst = signed_in(web, lab.database_url, "analyst")
    assert "Price it" in analyst.get(PAGE).text and "Price it" not in viewer.get(PAGE).text
    wrong = analyst.post(
        f"{PAGE}/price", {"arm": "control", "by": "supplier", "bound": "least"}, token=analyst.token(PAGE)
    )
    assert wrong.status == 422 and "Nobody has asked for this yet" in wrong.text
    asked = analyst.post(
        f"{PAGE}/price", {"arm": "learned", "by": "supplier", "bound": "parity"}, token=analyst.token(PAGE)
    )
    assert asked.status == 200 and "Computing" in asked.text
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    page = viewer.get(PAGE)
    assert "frontier" in page.html and "With the tightest bound, equal shares, give or take 0.0%" in page.text


def test_the_page_asks_over_a_window_and_says_what_is_wrong_with_one(
    lab: Lab, priced: str, web: Web, viewer: Browser
) -> None:
    analyst = signed_in(web, lab.database_url, "analyst")
    asked = {"arm": "learned", "by": "supplier", "bound": "least"}
    for window in ("7", "many"):
        wrong = analyst.post(f"{PAGE}/price", asked | {"window": window}, token=analyst.token(PAGE))
        assert wrong.status == 422 and f'value="{window}"' in wrong.html
    assert (
        analyst.post(f"{PAGE}/price", asked | {"window": "300"}, token=analyst.token(PAGE)).text.count("Computing") == 1
    )
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    assert "With the tightest bound, each group gets at least 50.0% of the last 300 decisions" in viewer.get(PAGE).text


def test_predicted_costs_cover_the_true_ones_and_a_floor_holds_exactly() -> None:
    """The small twin of ``python -m benchmarks.prices``."""
    hits = covered(12, 7)
    assert set(hits) == set(BOUNDS)
    assert all(len(each) >= 10 for each in hits.values())
    assert sum(len(each) - sum(each) for each in hits.values()) <= 4
    assert drift(3) < 1e-12
