"""What becomes of an effect is named only where it is shown, and a shift between cohorts is never called novelty."""

import numpy as np
import pytest

from benchmarks.ageing import WORLDS, World, shares
from experiments.arms.ageing import Ageing, apart, judge, rules_calendar_out
from experiments.logs.surrogate import correlation_of_arms
from experiments.results import Interval, missing

UP, DOWN, OPEN = Interval(0.1, 0.3), Interval(-0.3, -0.1), Interval(-0.1, 0.1)


@pytest.mark.parametrize(
    ("first", "further", "cohorts", "name"),
    [
        (DOWN, OPEN, OPEN, "novelty"),
        (DOWN, UP, OPEN, "novelty"),
        (DOWN, DOWN, OPEN, "wear_out"),
        (OPEN, DOWN, OPEN, "wear_out"),
        (UP, OPEN, OPEN, "growth"),
        (OPEN, OPEN, DOWN, "cohorts"),
        (OPEN, OPEN, UP, "cohorts"),
        (DOWN, OPEN, DOWN, "calendar"),
        (UP, OPEN, UP, "calendar"),
        (DOWN, OPEN, UP, "novelty"),
        (OPEN, OPEN, OPEN, "steady"),
        (missing("early"), missing("early"), OPEN, "unknown"),
        (DOWN, OPEN, missing("one cohort"), "novelty"),
    ],
)
def test_each_combination_has_its_name(first: Interval, further: Interval, cohorts: Interval, name: str) -> None:
    assert judge(Ageing(first, further, cohorts)) == name


def test_the_calendar_is_ruled_out_only_by_cohorts_that_do_not_move_along() -> None:
    assert rules_calendar_out(Ageing(DOWN, OPEN, Interval(-0.05, 0.2)))
    assert not rules_calendar_out(Ageing(DOWN, OPEN, Interval(-0.2, 0.2)))
    assert rules_calendar_out(Ageing(UP, OPEN, Interval(-0.2, 0.05)))
    assert not rules_calendar_out(Ageing(OPEN, OPEN, OPEN))
    assert not rules_calendar_out(Ageing(DOWN, OPEN, missing("one cohort")))


def test_where_less_is_better_a_fall_of_the_effect_grows_it() -> None:
    assert judge(Ageing(DOWN, OPEN, OPEN), better=-1) == "growth"
    assert judge(Ageing(UP, OPEN, OPEN), better=-1) == "novelty"


def test_the_difference_of_two_effects_lies_where_both_intervals_say() -> None:
    assert apart(UP, DOWN) == Interval(pytest.approx(0.2), pytest.approx(0.6))
    assert apart(missing("few"), UP).reason == "few"


def test_the_correlation_over_arms_covers_a_planted_one() -> None:
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        early = random.normal(size=8)
        late = 0.6 * early + 0.8 * random.normal(size=8)
        _, ends = correlation_of_arms(early.tolist(), late.tolist())
        assert ends.low is not None and ends.high is not None
        covered += ends.low <= 0.6 <= ends.high
    assert 0.91 <= covered / 400 <= 0.98
    assert "needs 4 arms" in correlation_of_arms([1.0, 2.0], [1.0, 2.0])[1].reason
    assert "the same for all arms" in correlation_of_arms([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])[1].reason


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS, ids=[world.truth + " " + world.name for world in WORLDS])
def test_planted_worlds_get_their_name(world: World) -> None:
    """A small twin of ``python -m benchmarks.ageing``."""
    names = shares(world, 12, 2000)
    assert sum(share for name, share in names.items() if name.startswith(world.truth)) >= 9 / 12
    if world.truth in ("steady", "cohorts", "calendar"):
        assert not {"novelty", "wear_out"} & {*names}
