"""The report of positions and parts on worlds whose truth is known, through the services, the worker's code, page and API."""

from typing import Any

import numpy as np
import pytest

from app.reporting.slots import positions, report
from app.reporting.slots.words import findings
from app.reporting.store.slots import Shown
from tests.lab import Lab, arm, sound
from tests.page_client import Browser
from tests.service import Client

LEARNS = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.1}
BY_POSITION = {1: 0.5, 2: 0.3, 3: 0.1}
TEXTS = {"subject": ("title", ("hello", "news")), "tone": ("body", ("warm", "brisk", "<b>")), "end": ("body", ("bye",))}
PARTS = {"hello": 0.2, "news": 0.6}  # the other slots do not matter
COMPOSITION = {
    "channel": "in_app",
    "allow_nothing": True,
    "slots": [
        {
            "name": slot,
            "place": place,
            "parts": [
                {"id": f"p{number}" if part == "<b>" else part, "texts": {"en": part}}
                for number, part in enumerate(parts)
            ],
        }
        for slot, (place, parts) in TEXTS.items()
    ],
    "forbidden": [[{"slot": "subject", "part": "hello"}, {"slot": "tone", "part": "brisk"}]],
}


@pytest.fixture(scope="module")
def listed(lab: Lab) -> dict[str, Any]:
    """Lists of three in two arms, in six rounds: the position decides what is earned."""
    lab.make(
        "by-position", arms=[arm("learned", 0.5, LEARNS), arm("even", 0.5)], control_arm="even", lists={"positions": 4}
    )
    random = np.random.default_rng(7)
    for turn in range(6):
        bodies = [{"unit_id": f"{turn}-{n // 2}", "slots": 4} for n in range(250)]
        rewards = [
            {"decision_id": at["decision_id"], "value": 1.0}
            for answer in lab.play("by-position", bodies, settled=False)
            for at in answer["positions"]
            if random.random() < BY_POSITION[at["position"]]
        ]
        lab.report(rewards)
        lab.settle("by-position")
    assert "by-position" in report.compute_due(lab.runtime.engine, lab.settings)
    return dict(sound(report.stored(lab.runtime.engine, "by-position").as_json()))


def test_positions_are_near_the_truth_of_the_world(listed: dict[str, Any]) -> None:
    assert listed["window"]["decisions"] == 1500 * 3  # the lab's three actions fill three of four positions
    assert [(line["arm"], line["position"]) for line in listed["positions"]] == [
        (name, position) for name in ("even", "learned") for position in (1, 2, 3)
    ]
    for line in listed["positions"]:
        truth = BY_POSITION[line["position"]]
        assert line["interval"]["low"] < truth < line["interval"]["high"]
        assert line["interval"]["high"] - line["interval"]["low"] < 0.25
        assert line["reported"] == pytest.approx(line["value"])  # each report is 1, and a missing one counts as 0
        assert sum(action["share"] for action in line["actions"]) == pytest.approx(1.0)
    assert sum(line["shown"] for line in listed["positions"] if line["position"] == 1) == 1500


def test_whole_lists_are_the_sum_of_their_positions(listed: dict[str, Any]) -> None:
    assert sum(line["lists"] for line in listed["lists"]) == 1500
    for line in listed["lists"]:
        own = [at["value"] for at in listed["positions"] if at["arm"] == line["arm"]]
        assert line["value"] == pytest.approx(sum(own))
        assert line["interval"]["low"] < sum(BY_POSITION.values()) < line["interval"]["high"]


def test_the_page_and_the_api_have_the_positions(listed: dict[str, Any], viewer: Browser, client: Client) -> None:
    page = viewer.get("/admin/experiments/by-position/slots")
    assert page.status == 200 and page.html.count("<figure") == 3
    for sentence in listed["findings"] + listed["assumptions"]:
        assert " ".join(sentence.split()) in page.text
    assert "In arm even, the first position earned most: 0." in page.text
    assert ">Positions</a>" in page.html and "Most often there" in page.text
    answer = client.get("/v1/experiments/by-position/slots")
    assert answer.status == 200 and answer.body["positions"] == listed["positions"]


@pytest.fixture(scope="module")
def composed(lab: Lab) -> dict[str, Any]:
    lab.make(
        "by-part",
        actions=[],
        composition=COMPOSITION,
        arms=[arm("learned", 0.6, {"type": "bandit"}), arm("even", 0.4)],
        control_arm="even",
    )
    random = np.random.default_rng(8)

    def earned(_: dict[str, Any], answer: dict[str, Any]) -> float:
        chance = next((chance for part, chance in PARTS.items() if f"={part}" in answer["action"]["id"]), 0.4)
        return float(random.random() < chance)

    for turn in range(3):
        lab.play("by-part", [{"unit_id": f"{turn}-{n}"} for n in range(700)], earned)
    report.compute(lab.runtime.engine, lab.settings, "by-part")
    return dict(sound(report.stored(lab.runtime.engine, "by-part").as_json()))


def part_of(composed: dict[str, Any], slot: str, part: str) -> dict[str, Any]:
    (own,) = [line for line in composed["slots"] if line["slot"] == slot]
    return next(line for line in own["parts"] if line["part"] == part)


def test_values_of_parts_are_near_the_truth_although_a_learner_chose_them(composed: dict[str, Any]) -> None:
    assert [line["slot"] for line in composed["slots"]] == ["say", "subject", "tone", "end"]
    for part, truth in PARTS.items():
        line = part_of(composed, "subject", part)
        assert line["interval"]["low"] < truth < line["interval"]["high"], line
    nothing = part_of(composed, "say", "nothing")
    assert nothing["interval"]["low"] < 0.4 < nothing["interval"]["high"]
    news, hello = part_of(composed, "subject", "news"), part_of(composed, "subject", "hello")
    assert news["differs"] and news["difference"] > 0 and hello["differs"] and hello["difference"] < 0
    assert composed["slots"][1]["parts"][0]["part"] == "news"


def test_a_slot_with_one_part_has_nothing_to_compare(composed: dict[str, Any]) -> None:
    line = part_of(composed, "end", "bye")
    assert line["difference"] is None and line["difference_interval"]["reason"] == "both choose alike"
    assert any(sentence.startswith("Saying nothing ") for sentence in composed["findings"])
    assert "Slot end has one part, so there is nothing to compare." in composed["findings"]


def test_the_page_and_the_api_have_the_parts(composed: dict[str, Any], viewer: Browser, client: Client) -> None:
    page = viewer.get("/admin/experiments/by-part/slots")
    assert page.status == 200 and page.html.count("<figure") == 4
    assert "In slot subject, news earns 0." in page.text and "more per decision than what is chosen now" in page.text
    assert "news (earns more)" in page.text and ">Parts</a>" in page.html
    assert client.get("/v1/experiments/by-part/slots").body["slots"] == composed["slots"]


def test_without_data_the_report_says_so_in_words(client: Client, viewer: Browser) -> None:
    client.make("parts-without-data", actions=[], composition=COMPOSITION)
    client.make("lists-without-data", lists={"positions": 50})
    client.make("single-decisions")
    for key in ("parts-without-data", "lists-without-data", "single-decisions"):
        page = viewer.get(f"/admin/experiments/{key}/slots")
        assert page.status == 200 and "Figures appear here once decisions are settled" in page.text
        answer = client.get(f"/v1/experiments/{key}/slots")
        assert answer.status == 200 and answer.body["positions"] == answer.body["slots"] == []
    assert (
        "There is too little data yet: the log has fewer than 100"
        in viewer.get("/admin/experiments/parts-without-data/slots").text
    )
    assert ">Positions</a>" not in viewer.get("/admin/experiments/single-decisions/results").html
    assert client.get("/v1/experiments/unknown/slots").status == 404


def test_two_thousand_rewards_of_one_unit_count_as_one_observation() -> None:
    heavy = [Shown("a", 1, "x", "heavy", 2000, 2000.0, 2000)]
    (line,) = positions.earned(heavy, (0.0, 1.0))
    assert line.value == 1.0 and line.interval.low is None and "effective units" in line.interval.reason
    assert findings([line], []) == ["The 2,000 settled decisions of arm a are too few to compare its positions."]
    light = [Shown("a", 1, "x", f"u{n}", 1, float(n % 2), n % 2) for n in range(200)]
    (line,) = positions.earned(heavy + light, (0.0, 1.0))
    assert line.units == 201 and (line.interval.low is None or line.interval.low < 0.5)


def test_a_list_whose_top_was_not_read_is_no_whole_list() -> None:
    rows = [
        Shown("a", 2, "x", "cut", 1, 1.0, 1),
        Shown("a", 1, "y", "whole", 1, 0.0, 0),
        Shown("a", 2, "x", "whole", 1, 1.0, 1),
    ]
    (line,) = positions.lists(rows, (0.0, 1.0))
    assert (line.lists, line.units, line.value) == (1, 1, 1.0)
