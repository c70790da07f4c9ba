"""Adjustment over strata: the same as CUPED in one stratum, unbiased through a ramp, and right about the relative lift."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.arms.adjustment import adjust_strata
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.comparison import arm_moments
from experiments.arms.cuped import cuped
from experiments.arms.strata import Level, compare_strata
from experiments.sums import moments
from experiments.validation import DataError, FloatArray


def cell(num: FloatArray, den: FloatArray, covariate: FloatArray) -> ArmCell:
    return ArmCell(moments(np.stack([num, den, covariate])), float(np.abs(num).mean()))


def test_in_one_stratum_it_is_cuped_for_means() -> None:
    rng = np.random.default_rng(1)
    x = [rng.normal(5, 2, n) for n in (900, 700)]
    y = [3 + 0.8 * x[arm] + 0.2 * arm + rng.normal(0, 1, len(x[arm])) for arm in (0, 1)]
    stratum = Stratum(*(cell(y[arm], np.ones_like(y[arm]), x[arm]) for arm in (0, 1)))
    adjusted = adjust_strata([stratum])
    found = compare_strata([stratum], adjusted=adjusted).comparison
    known = cuped(*(arm_moments(y[arm], None, x[arm]) for arm in (0, 1)))
    # CUPED takes theta from both arms together, this one from within them: with an effect of 0.2 they differ a little.
    assert adjusted.theta == pytest.approx(known.theta, rel=0.01)
    assert found.difference == pytest.approx(known.comparison.difference, abs=0.002)
    assert found.std_error == pytest.approx(known.comparison.std_error, rel=0.01)
    assert found.relative_interval[:2] == pytest.approx(known.comparison.relative_interval[:2], rel=0.02)
    plain = compare_strata([stratum]).comparison
    assert (found.std_error or 0) < 0.6 * (plain.std_error or 0)


def test_through_a_ramp_with_visits_that_differ_it_covers_the_truth() -> None:
    """Ratios per decision; the covariate says how good a unit is, and the base rate moves while shares change."""
    rng = np.random.default_rng(2)
    missed = narrower = 0
    runs = 300
    for _ in range(runs):
        strata = []
        for share, base in ((0.1, 1.0), (0.5, 3.0)):
            good = rng.normal(size=1500)
            den = 1.0 + rng.poisson(1.0, 1500)
            treated = rng.random(1500) < share
            num = den * (base + good + 0.1 * treated) + rng.normal(size=1500)
            cells = [cell(num[side], den[side], good[side] + 7) for side in (~treated, treated)]
            strata.append(Stratum(*cells))
        found = compare_strata(strata, adjusted=adjust_strata(strata)).comparison
        plain = compare_strata(strata).comparison
        missed += not found.interval.covers(0.1)
        narrower += (found.std_error or 0) < 0.8 * (plain.std_error or 0)
    assert 0.02 < missed / runs < 0.08
    assert narrower == runs


def test_the_relative_lift_counts_that_the_covariates_mean_is_estimated() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    runs = 400
    for _ in range(runs):
        x = rng.normal(0, 1, (2, 300))
        y = 10 + 3 * x + rng.normal(0, 0.5, (2, 300)) + np.array([[0.0], [10.0]])
        stratum = Stratum(*(cell(y[arm], np.ones(300), x[arm]) for arm in (0, 1)))
        found = compare_strata([stratum], adjusted=adjust_strata([stratum])).comparison
        covered += found.relative_interval.covers(1.0)
    assert covered / runs > 0.92, "with the mean taken as known it covers about 60%"


def test_a_constant_covariate_is_refused_in_words() -> None:
    y = np.arange(10.0)
    stratum = Stratum(*(cell(y, np.ones(10), np.full(10, 3.0)) for _ in (0, 1)))
    with pytest.raises(DataError, match="does not vary"):
        adjust_strata([stratum])


def test_the_simultaneous_interval_holds_for_all_comparisons_and_is_wider() -> None:
    rng = np.random.default_rng(4)
    cells = [cell(rng.normal(size=1000), np.ones(1000), np.zeros(1000)) for _ in (0, 1)]
    found = compare_strata([Stratum(*cells)], level=Level(comparisons=4))
    alone = compare_strata([Stratum(*cells)], level=Level(alpha=0.05 / 4))
    assert found.simultaneous == alone.always_valid.interval
    assert (found.simultaneous.high or 0) > (found.always_valid.interval.high or 0)
