"""Lineages: learning arms with equal policies and shares, two or more, and the same ones for as long as the experiment runs."""

import copy
from typing import Any

import pytest

from app.design.definition_rules import checked, parse_config
from app.design.pages.definition_words import paragraph
from tests.service import Client

LEARNS = {"type": "bandit", "algorithm": "squarecb"}


def document(**changes: Any) -> dict[str, Any]:
    arms: list[dict[str, Any]] = [{"key": "base", "share": 0.4, "policy": {"type": "fixed", "action": "a"}}]
    arms += [{"key": key, "share": 0.3, "policy": LEARNS, "lineage_of": "learner"} for key in ("one", "two")]
    made = {"key": "lineages", "actions": [{"id": "a"}, {"id": "b"}], "arms": arms, "control_arm": "base"}
    return copy.deepcopy(made) | changes


@pytest.mark.parametrize(
    ("index", "change", "code"),
    [
        (1, {"lineage_of": "other"}, "lineage_alone"),
        (2, {"share": 0.2}, "lineage_differs"),
        (2, {"policy": LEARNS | {"exploration_floor": 0.2}}, "lineage_differs"),
        (2, {"policy": {"type": "uniform"}}, "lineage_learns_not"),
        (0, {"lineage_of": "learner", "policy": LEARNS, "share": 0.3}, "lineage_is_control"),
    ],
)
def test_what_is_no_lineage_is_refused(index: int, change: dict[str, Any], code: str) -> None:
    made = document()
    made["arms"][index] |= change
    _, problems = checked(made)
    assert (f"/arms/{index}/lineage_of", code) in [(problem.path, problem.code) for problem in problems]


def test_lineages_are_kept_and_arms_without_one_stay_as_they_were() -> None:
    config = parse_config(document())
    assert [arm.get("lineage_of") for arm in config.model_dump(mode="json")["arms"]] == [None, "learner", "learner"]
    assert "lineage_of" not in config.model_dump(mode="json")["arms"][0]
    assert "“one” and “two” are lineages of “learner”" in paragraph(config)


def test_once_they_ran_their_arms_stay_the_same_and_their_shares_change_together(client: Client) -> None:
    assert client.post("/v1/experiments", document()).status == 201
    assert client.post("/v1/experiments/lineages/start").status == 200
    arms = document()["arms"]
    shares = [arm | {"share": share} for arm, share in zip(arms, (0.2, 0.4, 0.4), strict=True)]
    assert client.patch("/v1/experiments/lineages", {"arms": shares}).status == 200
    late = [arm | {"share": 0.25} for arm in [*arms, arms[2] | {"key": "three"}]]
    answer = client.patch("/v1/experiments/lineages", {"arms": late})
    assert answer.status == 409 and answer.body["errors"][0]["code"] == "lineage_fixed"
    apart = [{name: value for name, value in arm.items() if name != "lineage_of"} for arm in arms]
    assert client.patch("/v1/experiments/lineages", {"arms": apart}).status == 409
    younger = [arms[1] | {"key": key, "lineage_of": "late"} for key in ("three", "four")]
    other = [arm | {"share": 0.2} for arm in [*arms, *younger]]
    assert client.patch("/v1/experiments/lineages", {"arms": other}).status == 200, (
        "new lineages have a name of their own"
    )
