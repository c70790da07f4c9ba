"""Intervals of unit sums against their formulas, written down a second time: in milliseconds, with every edge."""

from math import exp, inf, log, sqrt

import numpy as np
import pytest
from scipy import optimize, stats

from experiments.off_policy import unit_sums
from experiments.off_policy.unit_sums import UNBOUNDED, UnitSums
from experiments.validation import DataError

Array = np.ndarray
UNIT = (0.0, 1.0)


def _units(seed: int, units: int = 40, scale: float = 1.0) -> UnitSums:
    rng = np.random.default_rng(seed)
    weight = scale * (1 + rng.pareto(4, units))
    return UnitSums(weight * rng.beta(2, 3, units), weight)


def _parts(sums: UnitSums) -> tuple[Array, Array, float]:
    """Each unit's pull, its jackknife factor, and the degrees of freedom."""
    total = sums.weight.sum()
    shares = sums.weight / total
    pulls = (sums.amount - sums.amount.sum() / total * sums.weight) / total
    unequal = (shares**2).sum() ** 2 / (shares**4).sum()
    kurtosis = (pulls**4).mean() / (pulls**2).mean() ** 2
    return pulls, 1 / (1 - shares) ** 2, min(2 * len(pulls) / (kurtosis - 1), unequal)


def _score(sums: UnitSums, value: float) -> float:
    z = sums.amount - value * sums.weight
    shares = sums.weight / sums.weight.sum()
    return abs(float(z.sum())) / sqrt(float(((z / (1 - shares)) ** 2).sum()))


def _mixture(units: int, alpha: float) -> tuple[float, float]:
    """The boundary of the normal mixture in standard errors, and n rho^2; narrowest at 500 units."""
    narrowest = optimize.brentq(lambda y: y - log(y) - 1 + 2 * log(alpha), 1.0, 100.0)
    mixed = units * (narrowest - 1) / 500
    return sqrt(2 * (mixed + 1) / mixed * log(sqrt(mixed + 1) / alpha)), mixed


def test_rows_are_summed_within_units_and_units_without_rows_are_left_out() -> None:
    made = unit_sums.unit_sums(np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0]), np.array([0, 0, 2]))
    assert [part.tolist() for part in made] == [[3.0, 4.0], [2.0, 3.0]]
    assert all(part.dtype == np.float64 for part in made)
    alone = unit_sums.mean_sums(np.array([1.0, 2.0]), None)
    assert [part.tolist() for part in alone] == [[1.0, 2.0], [1.0, 1.0]]


def test_the_value_is_a_ratio_and_there_is_none_without_weight() -> None:
    assert UnitSums(np.array([0.1, 0.1]), np.array([0.2, 0.2])).value == pytest.approx(0.5)
    assert UnitSums(np.zeros(2), np.zeros(2)).value is None


def test_kishs_size_counts_equal_units_at_any_scale() -> None:
    x = np.array([1.0, 2.0, 3.0])
    assert unit_sums.kish(x) == pytest.approx(36 / 14)
    assert unit_sums.kish(x * 1e-200) == pytest.approx(36 / 14)
    assert unit_sums.kish(x * 1e200) == pytest.approx(36 / 14)
    assert unit_sums.kish(np.array([0.0, 3.0, 0.0])) == 1.0
    assert unit_sums.kish(np.zeros(3)) == 0.0
    assert unit_sums.kish(np.zeros(0)) == 0.0


@pytest.mark.parametrize("scale", [1.0, 1e-3])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_error_and_freedom_are_the_jackknifes_and_satterthwaites(seed: int, scale: float) -> None:
    sums = _units(seed, scale=scale)
    pulls, factors, freedom = _parts(sums)
    n = len(pulls)
    assert unit_sums.standard_error(sums) == pytest.approx(sqrt((factors * pulls**2).sum() * (n - 1) / n))
    assert unit_sums.degrees_of_freedom(sums) == pytest.approx(freedom)


def test_the_fewer_degrees_of_freedom_count() -> None:
    heavy = UnitSums(np.array([5.0, *np.linspace(0, 1, 20)]), np.array([10.0, *np.ones(20)]))
    shares = heavy.weight / 30
    assert unit_sums.degrees_of_freedom(heavy) == pytest.approx((shares**2).sum() ** 2 / (shares**4).sum())
    alike = UnitSums(np.full(6, 0.5), np.ones(6))
    assert unit_sums.degrees_of_freedom(alike) == pytest.approx(6.0)
    two_values = UnitSums(np.tile([0.0, 1.0], 5), np.ones(10))  # a kurtosis of 1, the least there is
    assert unit_sums.degrees_of_freedom(two_values) == pytest.approx(10.0)
    sums = _units(1)
    faint = UnitSums(sums.amount * 1e-100, sums.weight)
    assert unit_sums.degrees_of_freedom(faint) == pytest.approx(_parts(sums)[2])
    rare = UnitSums(np.array([1.0, *np.zeros(19)]), np.ones(20))
    assert unit_sums.degrees_of_freedom(rare) == pytest.approx(_parts(rare)[2])
    assert (unit_sums.degrees_of_freedom(rare) or inf) < 3


def test_one_unit_and_no_weight_have_neither_error_nor_interval() -> None:
    for nothing in (UnitSums(np.ones(1), np.ones(1)), UnitSums(np.zeros(3), np.zeros(3))):
        assert unit_sums.standard_error(nothing) is None
        assert unit_sums.degrees_of_freedom(nothing) is None
        assert unit_sums.always_valid_p(nothing) is None
        for made in (unit_sums.one_look(nothing, UNIT), unit_sums.always_valid(nothing, UNIT)):
            assert made.reason == "there is only one independent unit, or no unit has weight"
    pair = UnitSums(np.array([0.2, 0.4]), np.ones(2))
    assert unit_sums.standard_error(pair) == pytest.approx(0.1 * sqrt(2) * sqrt(1 / 2))


def test_a_unit_with_all_of_the_weight_is_cut_at_a_billionth() -> None:
    sums = UnitSums(np.array([0.5, 1e-13]), np.array([1.0, 1e-13]))
    share = 1e-13 / (1 + 1e-13)
    pull = share * (1 - sums.amount.sum() / sums.weight.sum())
    assert unit_sums.standard_error(sums) == pytest.approx(sqrt((1e18 * pull**2 + pull**2) / 2), rel=1e-2)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("seed", [4, 5])
def test_both_intervals_are_the_values_that_the_score_does_not_reject(seed: int, alpha: float) -> None:
    sums = _units(seed)
    student = float(stats.t.isf(alpha / 2, _parts(sums)[2]))
    boundary = _mixture(len(sums.weight), alpha)[0] / float(stats.norm.isf(alpha / 2))
    value = float(sums.amount.sum() / sums.weight.sum())
    for made, quantile in (
        (unit_sums.one_look(sums, UNBOUNDED, alpha), student),
        (unit_sums.always_valid(sums, UNBOUNDED, alpha), boundary * student),
    ):
        ends = [
            optimize.brentq(lambda end, limit=quantile: _score(sums, end) - limit, *sorted((value, value + far)))
            for far in (-3.0, 3.0)
        ]
        assert made[:2] == pytest.approx(ends, rel=1e-9)
    if alpha == 0.05:
        assert unit_sums.one_look(sums, UNBOUNDED) == unit_sums.one_look(sums, UNBOUNDED, alpha)
        assert unit_sums.always_valid(sums, UNBOUNDED) == unit_sums.always_valid(sums, UNBOUNDED, alpha)


def test_ends_stay_within_the_possible_values() -> None:
    sums = UnitSums(np.tile([-0.3, 0.5], 15), np.ones(30))
    low, high, *_ = unit_sums.one_look(sums, UNBOUNDED)
    assert low is not None
    assert high is not None
    assert low < 0.0
    assert high > 0.2
    assert unit_sums.one_look(sums, (0.0, 0.2))[:2] == (0.0, 0.2)
    assert unit_sums.one_look(sums, UNIT)[:2] == pytest.approx((0.0, high))
    assert unit_sums.one_look(sums, (-inf, 0.01))[:2] == pytest.approx((low, 0.01))
    assert unit_sums.one_look(sums, (0.5, 0.9))[:2] == (0.5, 0.5), "an estimate outside of what is possible"
    assert unit_sums.one_look(sums, (-0.9, -0.5))[:2] == (-0.5, -0.5)


def test_too_few_units_leave_every_possible_value() -> None:
    two = UnitSums(np.array([1.0, 2.0]), np.array([4.0, 4.0]))
    made = unit_sums.one_look(two, (-1.0, 3.0))
    assert (*made[:2], made.note) == (-1.0, 3.0, unit_sums.TOO_FEW)
    six = unit_sums.one_look(UnitSums(np.tile([0.0, 1.0], 3), np.ones(6)), UNIT)
    assert six.note == unit_sums.TOO_FEW
    for bounds in (UNBOUNDED, (0.0, inf), (-inf, 1.0)):
        assert unit_sums.one_look(two, bounds).reason == unit_sums.TOO_FEW


def test_units_that_are_alike_at_an_end_bound_the_share_of_others() -> None:
    reach = 4.0 * (1 - 0.05 ** (1 / 20))
    for value, ends in ((-1.0, (-1.0, -1.0 + reach)), (3.0, (3.0 - reach, 3.0)), (0.5, (-1.0, 3.0))):
        made = unit_sums.one_look(UnitSums(np.full(20, 2 * value), np.full(20, 2.0)), (-1.0, 3.0), 0.1)
        assert made[:2] == pytest.approx(ends)
        assert made.note == unit_sums.NO_DIFFERENCE
    alike = UnitSums(np.full(20, 0.5), np.ones(20))
    for bounds in ((0.0, inf), (-inf, 1.0)):
        assert unit_sums.one_look(alike, bounds).reason == unit_sums.NO_DIFFERENCE
    for off, ends in ((3e-9, (-1.0, 3.0)), (5e-9, (-1.0, 3.0))):  # a billionth of the range is 4e-9
        near = off < 4e-9
        made = unit_sums.one_look(UnitSums(np.full(20, -1.0 + off), np.ones(20)), (-1.0, 3.0), 0.1)
        assert made[:2] == pytest.approx((-1.0, -1.0 + reach) if near else ends)
        made = unit_sums.one_look(UnitSums(np.full(20, 3.0 - off), np.ones(20)), (-1.0, 3.0), 0.1)
        assert made[:2] == pytest.approx((3.0 - reach, 3.0) if near else ends)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_a_difference_is_welchs_with_these_errors_and_freedoms(alpha: float) -> None:
    first, second = _units(6), _units(7, 25)
    errors = [unit_sums.standard_error(x) or 0.0 for x in (first, second)]
    variances = [error**2 for error in errors]
    freedoms = [_parts(x)[2] for x in (first, second)]
    freedom = sum(variances) ** 2 / sum(v**2 / df for v, df in zip(variances, freedoms, strict=True))
    gap = (first.value or 0.0) - (second.value or 0.0)
    half = float(stats.t.isf(alpha / 2, freedom)) * sqrt(sum(variances))
    made = unit_sums.independent_difference(first, second, alpha)
    assert made[:2] == pytest.approx((gap - half, gap + half))
    if alpha == 0.05:
        assert unit_sums.independent_difference(first, second) == made
    alike = UnitSums(np.ones(5), np.ones(5))
    assert unit_sums.independent_difference(alike, alike).reason == unit_sums.NO_DIFFERENCE
    for broken in (UnitSums(np.ones(1), np.ones(1)), UnitSums(np.zeros(2), np.zeros(2))):
        for pair in ((first, broken), (broken, second)):
            made = unit_sums.independent_difference(*pair)
            assert made.reason == "one side has only one independent unit, or no weight"


@pytest.mark.parametrize("shift", [0.0, -0.35, -0.45])
def test_the_p_value_is_the_mixtures_evidence_and_agrees_with_the_interval(shift: float) -> None:
    units = _units(8)
    sums = UnitSums(units.amount + shift * units.weight, units.weight)
    student = float(stats.t.isf(0.025, _parts(sums)[2])) / float(stats.norm.isf(0.025))
    squared, mixed = (_score(sums, 0.0) / student) ** 2, _mixture(40, 0.05)[1]
    p = unit_sums.always_valid_p(sums)
    assert p == pytest.approx(min(1.0, sqrt(mixed + 1) * exp(-squared * mixed / (2 * (mixed + 1)))))
    assert p is not None
    low, high, *_ = unit_sums.always_valid(sums, UNBOUNDED)
    assert low is not None
    assert high is not None
    assert (p <= 0.05) is not (low <= 0.0 <= high)
    if p < 1:
        assert unit_sums.always_valid_p(sums, 0.2) != p
        assert unit_sums.always_valid_p(sums, 0.05) == p


def test_a_wrong_alpha_is_named() -> None:
    sums = _units(9)
    for wrong in (
        lambda: unit_sums.one_look(sums, UNIT, 1.5),
        lambda: unit_sums.one_look(UnitSums(np.zeros(3), np.ones(3)), UNIT, 1.5),
        lambda: unit_sums.always_valid(sums, UNIT, 1.5),
        lambda: unit_sums.always_valid_p(sums, 1.5),
        lambda: unit_sums.independent_difference(sums, sums, 1.5),
    ):
        with pytest.raises(DataError, match=r"^alpha is 1\.5"):
            wrong()


def test_a_value_without_spread_has_no_p_value() -> None:
    assert unit_sums.always_valid_p(UnitSums(np.zeros(5), np.ones(5))) is None
    faint = UnitSums(np.array([1e-13, -1e-13, 0.0]), np.ones(3))
    assert unit_sums.always_valid_p(faint) is None


def test_the_sequence_opens_at_ten_units_and_fifteen_with_rewards_and_with_shortfalls() -> None:
    def of(rewarded: float, others: float) -> UnitSums:
        amount = np.r_[np.full(int(rewarded), 6.0), np.full(int(others), -2.0)]
        return UnitSums(amount, np.full(len(amount), 2.0))

    bounds = (-1.0, 3.0)
    assert unit_sums.shut(of(15, 15), bounds) == ""
    assert unit_sums.shut(of(5, 4), bounds) == "needs 10 effective units, has 9.0"
    words = "needs 15 effective units with rewards (and with less than the best), has 14.0"
    assert unit_sums.shut(of(14, 30), bounds) == words
    assert unit_sums.shut(of(30, 14), bounds) == words
    ten = UnitSums(np.zeros(10), np.ones(10))
    assert unit_sums.shut(ten, bounds).startswith("needs 15"), "ten units are enough, and too few have rewards"
