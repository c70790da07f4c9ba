"""Exact Thompson probabilities, compared with simulation, with SciPy's integration, and at the limits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from bandits.distribution import DistributionError, FloatArray
from bandits.learner.thompson import best_probabilities, thompson

DRAWS = 1_000_000


def _simulated(mean: FloatArray, deviation: FloatArray) -> FloatArray:
    generator = np.random.default_rng(5)
    counts = np.zeros(mean.size)
    for _ in range(10):
        drawn = mean + deviation * generator.standard_normal((DRAWS // 10, mean.size))
        counts += np.bincount(drawn.argmax(axis=1), minlength=mean.size)
    return counts / DRAWS


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [
        ([0.1, 0.2], [0.1, 0.3]),
        ([0.5] * 7, [0.1] * 7),
        ([0.1, 0.11, 0.12, 0.05], [1e-4, 0.01, 1.0, 30.0]),
        ([0.3, 0.3001, 0.2, 0.29], [1e-5, 1e-4, 0.1, 1e-2]),
        ([0.0, 0.0, 0.0], [0.0, 0.1, 1e-6]),
        (list(np.linspace(0, 1, 12)), list(np.geomspace(1, 1e-3, 12))),
    ],
)
def test_simulation_agrees(mean: list[float], deviation: list[float]) -> None:
    p = best_probabilities(mean, deviation)
    simulated = _simulated(np.array(mean), np.array(deviation))
    standard_error = np.sqrt(np.maximum(p * (1 - p), 1e-9) / DRAWS)
    assert (np.abs(p - simulated) < 4 * standard_error + 1e-6).all()


def test_integration_by_scipy_agrees() -> None:
    generator = np.random.default_rng(1)
    for k in (2, 5, 40):
        mean, deviation = generator.normal(0, 0.2, k), generator.uniform(0.01, 0.6, k)
        p = best_probabilities(mean, deviation)
        for a in (0, k - 1, int(mean.argmax())):
            others = np.arange(k) != a

            def integrand(t: float, a: int = a, others: FloatArray = others) -> float:
                below = norm.cdf((t - mean[others]) / deviation[others])  # noqa: B023
                return float(norm.pdf(t, mean[a], deviation[a]) * below.prod())  # noqa: B023

            low, high = mean[a] - 9 * deviation[a], mean[a] + 9 * deviation[a]
            exact, _ = quad(integrand, low, high, limit=400, epsabs=1e-12, points=[mean[a]])
            assert p[a] == pytest.approx(exact, abs=1e-8)


def test_two_actions_have_a_closed_form_at_any_ratio_of_deviations() -> None:
    for narrow in (1.0, 1e-2, 1e-5, 1e-9, 1e-14, 0.0):
        for gap in (-0.3, 0.0, 0.7, 5.0):
            p = best_probabilities([gap, 0.0], [narrow, 1.0])
            assert p[0] == pytest.approx(norm.cdf(gap / math.hypot(narrow, 1.0)), abs=1e-8)


@pytest.mark.parametrize("k", [200, 1000])
def test_many_equal_actions_share_equally(k: int) -> None:
    p = best_probabilities(np.full(k, 0.25), np.full(k, 0.03))
    assert p == pytest.approx(np.full(k, 1 / k), abs=1e-12)
    assert abs(math.fsum(p) - 1) < 1e-12
    spread = best_probabilities(np.linspace(0, 1, k), np.geomspace(0.001, 10, k))
    assert abs(math.fsum(spread) - 1) < 1e-12 and (spread >= 0).all()


def test_points() -> None:
    assert best_probabilities([0.3], [0.0]).tolist() == [1.0]
    assert best_probabilities([0.3], [2.0]).tolist() == [1.0]
    assert best_probabilities([0.3, 0.3, 0.1], [0.0, 0.0, 0.0]).tolist() == [0.5, 0.5, 0.0]
    assert best_probabilities([5.0, 0.0, 0.1], [0.0, 1e-3, 1e-3]).tolist() == [1.0, 0.0, 0.0]


def test_the_floor_is_mixed_in() -> None:
    p = thompson([0.9, 0.1], [1e-6, 1e-6], 0.02)
    assert p == pytest.approx([0.99, 0.01])


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [([], []), ([1.0], [1.0, 2.0]), ([math.nan, 0.0], [1.0, 1.0]), ([0.0, 0.0], [-1.0, 1.0]), ([0.0], [math.inf])],
)
def test_unusable_beliefs_are_refused(mean: list[float], deviation: list[float]) -> None:
    with pytest.raises(DistributionError):
        best_probabilities(mean, deviation)


_number = st.floats(-1e6, 1e6, allow_subnormal=False)
_width = st.one_of(st.just(0.0), st.floats(1e-9, 1e4))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_number, _width), min_size=1, max_size=20))
def test_any_beliefs_give_a_distribution(beliefs: list[tuple[float, float]]) -> None:
    mean, deviation = zip(*beliefs, strict=True)
    p = best_probabilities(mean, deviation)
    assert np.isfinite(p).all() and (p >= 0).all() and abs(math.fsum(p) - 1) < 1e-12
