"""Propensities are true, bounded below and the same on every machine."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bandits.distribution import DistributionError, assign, draw, mix_floor, sample, uniform

WEIGHTS = st.lists(st.floats(0, 1), min_size=1, max_size=50).filter(lambda p: sum(p) > 1e-6)


@given(WEIGHTS, st.floats(0, 1))
def test_mixing_the_floor_sums_to_one_and_bounds_every_probability_below(p: list[float], floor: float) -> None:
    mixed = mix_floor(p, floor)
    assert mixed.dtype == np.float64
    assert abs(math.fsum(mixed) - 1) < 1e-12
    assert (mixed >= floor / len(p) * (1 - 1e-12)).all()
    expected = (1 - floor) * np.array(p) / sum(p) + floor / len(p)
    np.testing.assert_allclose(mixed, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    "p", [[], [math.nan, 1], [-0.1, 1.1], [0, 0], [math.inf, 0], [math.inf, -math.inf], [0.5, math.inf, -math.inf]]
)
def test_an_invalid_distribution_is_refused(p: list[float]) -> None:
    with pytest.raises(DistributionError):
        mix_floor(p, 0.1)


def test_a_refusal_shows_the_first_ten_numbers() -> None:
    with pytest.raises(DistributionError, match=re.escape(f"not a distribution: {[-1.0] * 10}")):
        mix_floor([-1.0] * 12, 0.1)


def test_the_last_bit_of_the_sum_is_right() -> None:
    assert math.fsum(mix_floor([0.03, 0.84, 0.43], 0.1)) == 1.0


@pytest.mark.parametrize("floor", [-0.1, 1.1, math.nan])
def test_a_floor_outside_zero_to_one_is_refused(floor: float) -> None:
    with pytest.raises(DistributionError):
        mix_floor([0.5, 0.5], floor)


def test_uniform_needs_an_action() -> None:
    assert uniform(4).tolist() == [0.25] * 4
    assert uniform(1).tolist() == [1.0]
    with pytest.raises(DistributionError):
        uniform(0)


@given(WEIGHTS, st.floats(0, 1, exclude_max=True))
def test_sampling_inverts_the_cumulative_distribution_and_never_takes_a_zero(p: list[float], u: float) -> None:
    normal = mix_floor(p, 0.0)
    index = sample(normal, u)
    assert normal[index] > 0
    cumulative = np.cumsum(normal)
    assert u < cumulative[index] + 1e-12
    assert index == 0 or u >= cumulative[index - 1] - 1e-12


def test_sampling_near_one_takes_the_last_possible_action() -> None:
    almost_one = math.nextafter(1.0, 0.0)
    assert sample([0.1] * 10 + [0.0], almost_one) == 9
    assert sample([0.1] * 10, almost_one) == 9
    assert sample([0.9, 0.0, 0.0], 0.95) == 0
    assert sample([0.0, 1.0, 0.0], 0.0) == 1
    for p, u in (([0.0, 0.0], 0.5), ([1.0], 1.0), ([1.0], -0.1), ([1.0], math.nan)):
        with pytest.raises(DistributionError):
            sample(p, u)


def test_sampled_frequencies_match_the_logged_distribution() -> None:
    p = mix_floor([0.7, 0.2, 0.1, 0.0, 0.0], 0.1)
    counts = np.bincount([sample(p, draw(b"salt", f"d{i}")) for i in range(40_000)], minlength=5)
    assert stats.chisquare(counts, 40_000 * p).pvalue > 0.01


def test_draws_are_uniform_and_depend_on_salt_and_id() -> None:
    draws = [draw(b"salt", str(i)) for i in range(20_000)]
    assert min(draws) >= 0
    assert max(draws) < 1
    assert stats.kstest(draws, "uniform").pvalue > 0.01
    assert draw(b"salt", "0") == draws[0] != draw(b"other", "0")


def test_a_draw_is_the_first_53_bits_of_hmac_sha256() -> None:
    # printf 'draw\0abc' | openssl dgst -sha256 -hmac key
    digest = "b6d13fcc4d28b577f52677bcc247cb144936f502f4df90234610cbf4e05ac80e"
    assert draw(b"key", "abc") == (int(digest[:16], 16) >> 11) / 2**53


def test_arms_follow_their_shares_and_stay_with_the_unit() -> None:
    shares = {"a": 0.6, "b": 0.3, "c": 0.1, "d": 0.0}
    arms = [assign(b"salt", f"unit {i}", shares) for i in range(20_000)]
    counts = [arms.count(arm) for arm in shares]
    assert counts[3] == 0
    assert stats.chisquare(counts[:3], [12_000, 6_000, 2_000]).pvalue > 0.01
    again = dict(reversed(shares.items()))
    assert arms[:100] == [assign(b"salt", f"unit {i}", again) for i in range(100)]


def test_the_arms_of_known_units_never_change() -> None:
    shares = {"a": 1.0, "b": 1.0, "c": 2.0}
    assert "".join(assign(b"salt", f"unit {i}", shares) for i in range(12)) == "abbcbbccabbc"


def test_the_only_arm_with_a_share_gets_every_unit() -> None:
    assert {assign(b"salt", f"unit {i}", {"a": 0.0, "b": 0.3, "c": 0.0}) for i in range(50)} == {"b"}
    assert {assign(b"salt", f"unit {i}", {"a": 1.0}) for i in range(50)} == {"a"}


def test_a_new_arm_takes_units_from_the_others_and_moves_none_between_them() -> None:
    units = [f"unit {i}" for i in range(5000)]
    before = [assign(b"salt", unit, {"a": 0.7, "b": 0.3}) for unit in units]
    after = [assign(b"salt", unit, {"a": 0.56, "b": 0.24, "new": 0.2}) for unit in units]
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"new"}
    assert stats.binomtest(len(moved), len(units), 0.2).pvalue > 0.01


def test_the_arm_is_independent_of_the_draw() -> None:
    arms = np.array([assign(b"salt", str(i), {"a": 0.5, "b": 0.5}) == "a" for i in range(5000)])
    draws = np.array([draw(b"salt", str(i)) for i in range(5000)])
    assert stats.ks_2samp(draws[arms], draws[~arms]).pvalue > 0.01


def test_the_end_of_a_units_name_matters_for_its_arm() -> None:
    several = {f"{i}x": 1.0 for i in range(40)}
    assert len({assign(b"salt", unit, several) for unit in ("u", "u1", "u12", "u123")}) > 1


@pytest.mark.parametrize("shares", [{}, {"a": 0.0}, {"a": 1.5, "b": -0.5}, {"a": math.nan, "b": 1.0}, {"a": math.inf}])
def test_unusable_shares_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(DistributionError):
        assign(b"salt", "unit", shares)
