"""The effect of a way of learning from its lineages: Welch's formula, and coverage where single runs cover too rarely."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from experiments.arms.comparison import ArmEstimate, compare_estimates
from experiments.arms.lineages import lineages_effect
from experiments.validation import DataError

EXACT = ArmEstimate(1.0, 0.0, 1000)


def pairs(values: list[float], control: ArmEstimate = EXACT) -> list[tuple[ArmEstimate, ArmEstimate]]:
    return [(ArmEstimate(value, 0.01, 100), control) for value in values]


def test_beside_an_exact_control_it_is_students_interval_of_the_lineages() -> None:
    values = [1.2, 1.5, 0.9, 1.3]
    effect = lineages_effect(pairs(values), alpha=0.1)
    low, high = stats.t.interval(0.9, 3, loc=np.mean(values) - 1, scale=stats.sem(values))
    assert effect.freedom == pytest.approx(3)
    assert (effect.interval.low, effect.interval.high) == pytest.approx((low, high))
    assert effect.spread == pytest.approx(np.std(values, ddof=1))


def test_with_a_noisy_control_it_is_welchs_interval_of_two_means() -> None:
    random = np.random.default_rng(1)
    lineages, control = random.normal(0.3, 1.0, 6), random.normal(0.0, 2.0, 50)
    estimate = ArmEstimate(float(control.mean()), float(control.var(ddof=1)) / 50, 50)
    effect = lineages_effect(pairs(lineages.tolist(), estimate))
    expected = stats.ttest_ind(lineages, control, equal_var=False).confidence_interval()
    assert (effect.interval.low, effect.interval.high) == pytest.approx((expected.low, expected.high))


def test_one_lineage_and_lineages_without_any_spread_have_no_interval() -> None:
    with pytest.raises(DataError, match="1 lineages show no spread"):
        lineages_effect(pairs([1.0]))
    effect = lineages_effect(pairs([2.0, 2.0]))
    assert effect.difference == 1.0 and not effect.interval.exists and effect.freedom is None
    assert "do not differ at all" in effect.interval.reason


def test_it_covers_the_way_of_learning_and_the_interval_of_one_run_does_not() -> None:
    """Four runs whose true values have a spread of .05 around .1, each measured with an error of .02."""
    random, covered, single = np.random.default_rng(2), 0, 0
    for _ in range(1000):
        control = ArmEstimate(random.normal(0, 0.01), 0.01**2, 10_000)
        runs = [ArmEstimate(random.normal(0.1, sqrt(0.05**2 + 0.02**2)), 0.02**2, 2500) for _ in range(4)]
        covered += lineages_effect([(run, control) for run in runs]).interval.covers(0.1)
        single += compare_estimates(control, runs[0]).interval.covers(0.1)
    assert 0.93 <= covered / 1000 <= 0.975
    assert single / 1000 < 0.7
