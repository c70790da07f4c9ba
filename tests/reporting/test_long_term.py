"""The long-term view: curves equal those of the raw rows, and the early reward is judged by what came later."""

from typing import Any

import numpy as np
import pytest

from app.reporting import long_term
from tests.lab import AB, Lab
from tests.page_client import Browser

DAYS = 6


@pytest.fixture(scope="module")
def course(lab: Lab) -> dict[str, Any]:
    """120 units come on the first day and return, each with a habit of its own; good ones earn early and late."""
    random = np.random.default_rng(1)
    lab.make("course", arms=AB, control_arm="control")
    good = random.random(120)
    seen: dict[int, set[int]] = {}
    for day in range(DAYS):
        there = [n for n in range(120) if day == 0 or random.random() < good[n]]
        seen[day] = set(there)
        lab.play(
            "course",
            [{"unit_id": f"u{n}"} for n in there],
            lambda body, _: float(random.random() < good[int(body["unit_id"][1:])]),
        )
        lab.age("course", 1.0)
    long_term.compute(lab.runtime.engine, "course")
    return {"seen": seen}


def test_the_share_of_each_day_is_that_of_the_log(lab: Lab, course: dict[str, Any]) -> None:
    view = long_term.get(lab.runtime.engine, "course")
    assert view.step_s == 86_400.0
    outcomes = lab.outcomes("course")
    for arm in view.arms:
        units = set(outcomes[outcomes.arm == arm.arm].unit_id)
        for step in arm.steps:
            came = {f"u{n}" for n in course["seen"][step.step]} & units
            assert (step.followed, step.seen) == (len(units), len(came))
            assert step.share_interval.low is not None and step.share_interval.low < step.share
    assert [step.step for step in view.arms[0].steps] == list(range(DAYS))


def test_units_with_a_better_first_day_do_better_later_and_the_interval_says_how_sure_it_is(
    lab: Lab, course: dict[str, Any]
) -> None:
    check = long_term.get(lab.runtime.engine, "course").surrogate
    assert check is not None and check.units == 120 and check.last == DAYS - 1
    assert check.interval.low is not None and check.correlation is not None
    assert 0 < check.interval.low < check.correlation < 1
    assert {arm.arm for arm in check.arms} == {"control", "treated"}


def test_the_page_shows_both_curves_and_says_what_the_first_day_tells(
    lab: Lab, course: dict[str, Any], viewer: Browser
) -> None:
    page = viewer.get("/admin/experiments/course/long-term")
    assert page.html.count("<figure") >= 2
    assert "are already visible in the first day" in page.text
    lab.make("young", arms=AB, control_arm="control")
    assert "This report needs users" in viewer.get("/admin/experiments/young/long-term").text


def test_a_young_experiment_says_that_it_is_too_early(lab: Lab) -> None:
    lab.make("hours", arms=AB, control_arm="control")
    lab.play("hours", [{"unit_id": f"u{n}"} for n in range(30)], lambda *_: 1.0)
    assert long_term.get(lab.runtime.engine, "hours").arms == []
    lab.age("hours", 2 / 24)
    view = long_term.get(lab.runtime.engine, "hours")
    assert view.step_s == 3600.0 and view.surrogate is None
