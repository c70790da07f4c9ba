"""Fixed-n intervals against their formulas, written down a second time: in milliseconds, with every edge."""

from __future__ import annotations

from math import inf, log, nan, sqrt

import numpy as np
import pytest
from scipy import stats

from experiments.off_policy import intervals
from experiments.off_policy.intervals import WeightSums, weight_sums
from experiments.results import Interval
from experiments.sums import WR, Moments, W
from experiments.validation import DataError

Array = np.ndarray
WEIGHTS = np.array([0.0, 0.5, 1.0, 2.0, 2.5])
REWARDS = np.array([0.0, 1.0, 0.5, 1.0, 0.25])
SUMS = WeightSums(5, 6.0, 11.5, 3.625, 6.3125, 4.890625)


def test_weight_sums_are_sums_over_rows() -> None:
    assert weight_sums(WEIGHTS, REWARDS) == SUMS
    assert all(type(value) is float for value in weight_sums(WEIGHTS, REWARDS)[1:])


def test_weight_sums_come_from_moments_too() -> None:
    columns = np.zeros((5, max(W, WR) + 1))
    columns[:, W], columns[:, WR] = WEIGHTS, WEIGHTS * REWARDS
    mean = columns.mean(axis=0)
    moments = Moments(5, mean, (columns - mean).T @ (columns - mean))
    assert intervals.weight_sums_of(moments) == pytest.approx(SUMS)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 2.0), (0.25, 1.5)])
def test_effective_rewards_are_kishs_size_of_the_rarer_side(low: float, high: float) -> None:
    sides = [WEIGHTS * (REWARDS - low), WEIGHTS * (high - REWARDS)]
    assert intervals.effective_rewards(SUMS, (low, high)) == pytest.approx(min(x.sum() ** 2 / (x @ x) for x in sides))


def test_a_side_without_information_has_no_effective_rewards() -> None:
    assert intervals.effective_rewards(weight_sums(np.ones(4), np.zeros(4)), (0.0, 1.0)) == 0.0
    assert intervals.effective_rewards(weight_sums(np.ones(4), np.ones(4)), (0.0, 1.0)) == 0.0
    assert intervals.effective_rewards(weight_sums(np.zeros(4), np.ones(4)), (0.0, 1.0)) == 0.0
    rare = weight_sums(np.full(4, 10.0), np.array([1e-6, 0.0, 0.0, 0.0]))
    assert intervals.effective_rewards(rare, (0.0, 1.0)) == pytest.approx(1.0)
    light = weight_sums(np.full(4, 1e-6), np.array([1.0, 0.0, 0.0, 0.0]))
    assert intervals.effective_rewards(light, (0.0, 1.0)) == pytest.approx(1.0)


def test_a_standard_error_is_of_rows_or_of_units() -> None:
    x = np.array([1.0, 2.0, 4.0, 9.0])
    assert intervals.standard_error(x) == pytest.approx(np.std(x, ddof=1) / 2)
    units = np.array([0, 1, 1, 2])
    assert intervals.standard_error(x, units) == pytest.approx(sqrt(3) * np.std([1.0, 6.0, 9.0], ddof=1) / 4)
    assert intervals.standard_error(x[:2]) == pytest.approx(0.5)
    for one in (x[:1], x[:0]):
        with pytest.raises(DataError, match=r"only one independent unit.*at least two"):
            intervals.standard_error(one)


def test_a_normal_interval_is_a_quantile_of_standard_errors_and_the_bias() -> None:
    assert intervals.normal_quantile(0.05) == pytest.approx(1.959963984540054)
    assert intervals.normal(1.0, 0.5).note == ""
    assert intervals.normal(1.0, 0.5)[:2] == pytest.approx((1 - 0.979982, 1 + 0.979982), abs=1e-6)
    made = intervals.normal(1.0, 0.5, 0.1, bias=0.25, note="n")
    half = stats.norm.isf(0.05) * 0.5 + 0.25
    assert made[:2] == pytest.approx((1 - half, 1 + half))
    assert made[2:] == ("", "n")
    for value, error in ((nan, 1.0), (inf, 1.0), (1.0, nan), (1.0, inf)):
        reason = "the value or its standard error is not a finite number"
        assert intervals.normal(value, error) == Interval(None, None, reason)


def test_an_empirical_bernstein_interval_is_maurers_and_pontils() -> None:
    for n, alpha in ((2, 0.05), (100, 0.2)):
        tail = log(4 / alpha)
        half = 0.3 * sqrt(2 * tail / n) + 7 * 5.0 * tail / (3 * (n - 1))
        assert intervals.empirical_bernstein(0.5, 0.3, n, 5.0, alpha)[:2] == pytest.approx((0.5 - half, 0.5 + half))
    default = intervals.empirical_bernstein(0.5, 0.3, 100, 5.0)
    assert default == intervals.empirical_bernstein(0.5, 0.3, 100, 5.0, 0.05)
    assert intervals.empirical_bernstein(0.5, 0.3, 1, 5.0) == (None, None, "one row has no variance", "")
    assert "was not declared" in intervals.empirical_bernstein(0.5, 0.3, 100, inf).reason


# Cressie-Read: the same problem, solved by projection


def _weighed(w: Array, f: Array, unseen: float) -> tuple[Array, Array, Array]:
    """The log with one unseen row; and the smallest change of row factors that brings both means to 1."""
    w, f = np.append(w, unseen), np.append(f, 0.0)
    constraints = np.stack([np.ones_like(w), w])
    change = np.linalg.pinv(constraints) @ np.array([0.0, len(w) - w.sum()])
    off = f - np.linalg.pinv(constraints) @ (constraints @ f)
    return f, change, off


def _least(w: Array, f: Array, bounds: tuple[float, float], radius: float) -> float:
    """Smallest mean of f over both ends of the unseen weight; 0 if no end is within reach."""
    reached = []
    for unseen in bounds:
        shifted, change, off = _weighed(w, f, unseen)
        left = radius - change @ change
        if left >= 0:
            reached.append((shifted.sum() + shifted @ change - sqrt(left) * np.linalg.norm(off)) / len(shifted))
    return min(reached, default=0.0)


def _expected(w: Array, r: Array, ends: tuple[float, float], bounds: tuple[float, float], alpha: float) -> list[float]:
    _, change, _ = _weighed(w, w, bounds[1] if w.sum() < len(w) else bounds[0])
    radius = change @ change + stats.f.isf(alpha, 1, len(w))
    low = ends[0] + _least(w, w * (r - ends[0]), bounds, radius)
    high = ends[1] - _least(w, w * (ends[1] - r), bounds, radius)
    return [min(ends[1], max(ends[0], end)) for end in (low, high)]


def _log(seed: int, n: int = 40, scale: float = 0.5) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2, scale, n), rng.uniform(0, 1, n)


FAR = 1e7  # in place of an infinite weight, whose limit the closed form takes


@pytest.mark.parametrize("alpha", [0.05, 0.5, 0.999])
@pytest.mark.parametrize("bounds", [(0.0, inf), (0.0, 7.0), (0.2, 7.0), (0.2, inf)])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (-1.0, 2.0)])
@pytest.mark.parametrize("scale", [0.4, 0.5, 0.6])
def test_cressie_read_is_the_worst_reweighting_by_projection(
    alpha: float, bounds: tuple[float, float], ends: tuple[float, float], scale: float
) -> None:
    w, r = _log(round(10 * scale), scale=scale)
    made = intervals.cressie_read(weight_sums(w, r), ends, bounds[1], alpha, min_weight=bounds[0])
    expected = _expected(w, r, ends, (bounds[0], min(bounds[1], FAR)), alpha)
    assert made[:2] == pytest.approx(expected, abs=1e-5 if bounds[1] == inf else 1e-9)


def test_cressie_reads_defaults_are_five_percent_and_no_bounds_of_weights() -> None:
    sums = weight_sums(*_log(1))
    assert intervals.cressie_read(sums, (0, 1)) == intervals.cressie_read(sums, (0, 1), inf, 0.05, min_weight=0.0)


def test_ends_never_leave_the_range_of_rewards() -> None:
    for seed in range(20):
        w, r = _log(seed, 3, 2.0)
        made = intervals.cressie_read(weight_sums(w, r), (0, 1), 1000.0)
        assert 0.0 <= (made.low or 0.0) <= (made.high or 0.0) <= 1.0


def test_equal_weights_have_no_variance_to_divide_by() -> None:
    ones = weight_sums(np.ones(20), np.linspace(0, 1, 20))
    made = intervals.cressie_read(ones, (0, 1), 4.0, min_weight=0.5)
    assert made[:2] == pytest.approx(_expected(np.ones(20), np.linspace(0, 1, 20), (0, 1), (0.5, 4.0), 0.05))
    assert intervals._least_divergence(ones._replace(w=20.0, ww=20.0), 1.0, 1.0) == 0.0
    assert intervals._least_mean(ones, intervals._Measured(10.0, 10.0, 6.8), 1.0, 1.0) is None


def test_weights_that_average_one_exactly_are_moved_least_by_the_smallest_weight() -> None:
    w, r = np.tile([0.5, 1.5], 10), np.linspace(0, 1, 20)
    made = intervals.cressie_read(weight_sums(w, r), (0, 1), 4.0, min_weight=0.25)
    assert made[:2] == pytest.approx(_expected(w, r, (0, 1), (0.25, 4.0), 0.05))


def test_two_rows_are_the_least() -> None:
    assert intervals.MIN_UNITS == 2
    assert intervals.cressie_read(weight_sums(np.ones(1), np.ones(1)), (0, 1)).reason == "one row cannot bound a value"
    assert intervals.cressie_read(weight_sums(np.ones(2), np.ones(2)), (0, 1)).exists


@pytest.mark.parametrize("bounds", [(-0.1, 2.0), (1.0, 2.0), (0.0, 1.0), (nan, 2.0)])
def test_bounds_of_weights_surround_one(bounds: tuple[float, float]) -> None:
    with pytest.raises(DataError, match=r"the weight bounds are .* below 1 and the upper one above"):
        intervals.check_weight_bounds(SUMS, *bounds)


def test_bounds_may_be_as_wide_as_zero_to_infinity_and_weights_reach_the_largest() -> None:
    intervals.check_weight_bounds(SUMS, 0.0, inf)
    intervals.check_weight_bounds(SUMS._replace(n=0), 0.5, 1.1)
    intervals.check_weight_bounds(SUMS._replace(n=2, w=4.0), 0.5, 2.0)
    intervals.check_weight_bounds(SUMS._replace(n=2, w=4.0 * (1 + 9e-10)), 0.5, 2.0)
    with pytest.raises(DataError, match=r"weights exceed .* POSSIBLE weight"):
        intervals.check_weight_bounds(SUMS._replace(n=2, w=4.0 * (1 + 2e-9)), 0.5, 2.0)
    with pytest.raises(DataError, match="weights exceed"):
        intervals.check_weight_bounds(SUMS._replace(n=1, w=4.0), 0.5, 2.0)
    with pytest.raises(DataError, match="weights exceed"):
        intervals.cressie_read(SUMS, (0, 1), 1.1)
    intervals.check_weight_bounds(SUMS._replace(n=2, w=4.0 * (1 + 1e-9)), 0.5, 2.0)  # exactly at the tolerance


def test_a_constraint_that_takes_the_whole_radius_leaves_the_drift() -> None:
    measured = intervals._Measured(2.0, 2.0, 3.0)
    assert intervals._least_mean(SUMS, measured, inf, 1 / 5) == pytest.approx(2.0 / 5)
    assert intervals._least_mean(SUMS, measured, inf, 1 / 6) is None
    assert intervals._shortfall(SUMS, 0.0, 1.0, (inf, inf), 1 / 6) == 0.0  # no end is within reach
    rounded = intervals._Measured(1.0, 1.0, 0.0)  # a residual below 0, as rounding leaves it
    assert intervals._least_mean(SUMS, rounded, inf, 1.0) == pytest.approx(1.0 / 5)


def test_a_wrong_alpha_is_named() -> None:
    for wrong in (
        lambda: intervals.normal_quantile(1.5),
        lambda: intervals.empirical_bernstein(0.5, 0.1, 10, 1.0, 1.5),
        lambda: intervals.cressie_read(SUMS, (0, 1), alpha=1.5),
    ):
        with pytest.raises(DataError, match=r"^alpha is 1\.5"):
            wrong()
