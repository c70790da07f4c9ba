"""The change of an effect over days: found when it is there, and about five times in a hundred when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.arms.novelty import days_since_first, trend


def test_a_fading_effect_has_a_slope_and_a_steady_one_has_not() -> None:
    rng = np.random.default_rng(1)
    days, errors = np.arange(14.0), rng.uniform(0.05, 0.2, 14)
    fading = trend(days, 1.0 - 0.06 * days + rng.normal(size=14) * errors, errors)
    assert fading.interval.covers(-0.06) and not fading.interval.covers(0.0)
    missed = 0
    for _ in range(2000):
        steady = trend(days, 0.3 + rng.normal(size=14) * errors, errors)
        missed += not steady.interval.covers(0.0)
    assert 0.01 < missed / 2000 < 0.06


def test_a_line_through_exact_points_is_that_line() -> None:
    found = trend([0, 1, 2, 3, 5], [1.0, 1.5, 2.0, 2.5, 3.5], [0.1, 0.2, 0.1, 0.3, 0.1])
    assert found.slope == pytest.approx(0.5)


def test_few_days_have_no_slope() -> None:
    found = trend([0, 1, 2, 3], [1.0, 1.5, 2.0, 2.5], [0.1] * 4)
    assert found.slope is None and "needs 5 days" in found.interval.reason


def test_days_are_counted_from_the_first_through_the_end_of_a_month() -> None:
    assert days_since_first(["2026-02-27", "2026-03-01", "2026-02-26"]) == [1.0, 3.0, 0.0]
