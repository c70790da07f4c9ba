"""The player in memory: who comes as planned, sums as the database would give them, and the truth."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from app.reporting.comparison.stretches import Ends
from app.simulation.course import Course, course_of
from app.simulation.learner import choose
from app.simulation.people import Log, draw_log
from app.simulation.player import play
from app.simulation.policies import PolicyAnswer, evaluate
from app.simulation.tally import tally, visitors
from app.simulation.world import World
from app.simulation.world_files import load, parsed
from experiments.validation import FloatArray

RETURNING: dict[str, Any] = {
    "looks": 6,
    "stretches": [
        {"units": 400, "shares": {"control": 0.8, "treated": 0.2}},
        {"units": 300, "shares": {"control": 0.5, "treated": 0.3, "new": 0.2}},
        {"units": 300, "shares": {"control": 0.5, "treated": 0.0, "new": 0.5}},
    ],
    "metrics": [{"key": "m", "level": 0.3}],
    "visits": {"kind": "pareto", "shape": 1.5, "most": 40},
    "lost": {"exposures": {"new": 0.2}},
}


@pytest.mark.parametrize("per_unit", ["", "mean", "sum"])
@pytest.mark.parametrize("look", [1, 4, 7])
def test_sums_are_those_of_a_plain_loop_over_the_decisions(per_unit: str, look: int) -> None:
    course = course_of(parsed(RETURNING, "returning"))
    random = np.random.default_rng(5)
    log = draw_log(course, random)
    values = random.random(len(log.unit))
    sums = tally(course, visitors(course, log), values, values, None, per_unit)
    for ends in ((1, 0, 0), (2, 2, 0), (3, 3, 3)):
        for arm in range(2):
            expected = _by_hand(course, log, values, _Asked(look, arm, ends, per_unit))
            rows = {row.stretch: row for row in sums.rows(min(look, len(course.ends) - 1), (arm,), Ends(ends))}
            assert set(rows) == set(expected)
            for stretch, units in expected.items():
                num, den = np.array(units).T
                row = rows[stretch]
                assert row.units == len(num)
                assert (row.mean_num, row.mean_den) == pytest.approx((num.mean(), den.mean()))
                assert (row.var_num, row.var_den) == pytest.approx((num.var(), den.var()))
                assert row.cov == pytest.approx(np.cov(num, den, ddof=0)[0, 1])


class _Asked(NamedTuple):
    look: int
    arm: int
    ends: tuple[int, ...]
    per_unit: str


def _by_hand(course: Course, log: Log, values: FloatArray, asked: _Asked) -> dict[int, list[tuple[float, float]]]:
    """Numerator and denominator of each unit that counts, by the stretch in which it was first seen."""
    look, arm, ends, per_unit = asked
    found: dict[int, list[tuple[float, float]]] = {}
    for unit in np.unique(log.unit[log.look <= look]).tolist():
        mine = np.flatnonzero((log.unit == unit) & (log.look <= look))
        first = int(course.stretch_of_look[log.look[mine[0]]])
        home = int(log.arm[mine[0]])
        moved = any(int(log.homes[later, unit]) != home for later in range(first + 1, ends[first]))
        if home != arm or moved or ends[first] == 0:
            continue
        counted = [n for n in mine.tolist() if course.stretch_of_look[log.look[n]] < ends[first] and log.arm[n] == home]
        total, count = float(values[counted].sum()), len(counted)
        pair = {"": (total, count), "mean": (total / count, 1.0), "sum": (total, 1.0)}[per_unit]
        found.setdefault(first, []).append(pair)
    return found


def test_units_get_their_arms_in_proportion_and_a_change_moves_few() -> None:
    world = load("ramp")
    log = draw_log(course_of(world), np.random.default_rng(1))
    assert log.homes[0].mean() == pytest.approx(0.1, abs=0.02) and log.homes[1].mean() == pytest.approx(0.5, abs=0.02)
    assert (log.homes[0] != log.homes[1]).mean() == pytest.approx(0.4, abs=0.02), "nobody moves from treated to control"


def test_the_truth_is_the_effect_on_values_that_arrive() -> None:
    *_, last = play(course_of(load("lost_rewards")), np.random.default_rng(1))
    assert last.truths["converted", "treated"].difference == pytest.approx(0.05 * 0.9 * 0.9)
    assert last.truths["converted", "treated"].lift == pytest.approx(0.25)


def test_a_staged_arm_has_no_comparison_before_it_gets_units() -> None:
    looks = list(play(course_of(load("staged_arm")), np.random.default_rng(1)))
    first, last = looks[0].results.metrics[0].comparisons[0], looks[-1].results.metrics[0].comparisons[0]
    assert first.difference is None and "no unit was ever assigned" in first.interval.reason
    assert last.difference is not None and last.units is not None and last.units["control"] < 9000


def test_a_world_with_an_effect_is_not_null() -> None:
    nulls = {name for name in ("clean", "real_effect", "learning", "noise_log") if load(name).is_null}
    assert nulls == {"clean", "noise_log"}
    assert World.model_validate(RETURNING).treatments == ["treated", "new"]


def test_an_arm_learns_what_pays_and_a_new_action_is_chosen_only_once_it_is_there() -> None:
    course = course_of(load("new_action"))
    random = np.random.default_rng(1)
    learned = choose(course, draw_log(course, random), random)
    before, late = learned.log.look < 10, (learned.log.look == 19) & (learned.log.arm == 1)
    assert not (learned.chosen[before] == 3).any() and not learned.chances[:10, :, 3].any()
    assert np.bincount(learned.chosen[before & (learned.log.arm == 1)], minlength=4).argmax() == 1, (
        "b pays most at first"
    )
    assert (learned.chosen[late] == 3).mean() == pytest.approx(0.85, abs=0.1), "all but the exploration of the others"
    assert not learned.chosen[learned.log.arm == 0].any()
    assert learned.chances.sum(axis=2) == pytest.approx(1.0)


def test_values_of_policies_cover_the_truth_and_are_refused_where_choices_are_missing() -> None:
    sound = _evaluated("noise_log")
    assert set(sound) == {"greedy", "second", "always a", "always b", "always c", "always d"}
    assert all(answer.every_look and not answer.refused for answer in sound.values())
    broken = _evaluated("learning")
    assert set(broken) == {"always b"} and broken["always b"].refused and broken["always b"].every_look is None
    assert "always d" not in _evaluated("new_action"), "it was not there from the start"


def _evaluated(name: str) -> dict[str, PolicyAnswer]:
    course, random = course_of(load(name)), np.random.default_rng(1)
    return {answer.policy: answer for answer in evaluate(course, choose(course, draw_log(course, random), random))}


def test_an_evaluation_sees_a_propensity_that_is_wrong() -> None:
    """A check of the check: with the learner's chances swapped no value may be shown as covering the truth."""
    course, random = course_of(load("new_action")), np.random.default_rng(1)
    learned = choose(course, draw_log(course, random), random)
    wrong = learned._replace(chances=learned.chances[..., [0, 2, 1, 3]])
    answers = [answer for answer in evaluate(course, wrong) if answer.policy in ("always b", "always c")]
    assert len(answers) == 2 and all(answer.refused or not answer.every_look for answer in answers)
