"""Peek-safe inference: identities, the cap and the gate."""

from __future__ import annotations

from math import e, exp, log

import numpy as np
import pytest
from scipy import integrate, stats

from experiments import sequences


def test_tuned_rho_makes_the_asymptotic_sequence_narrowest_where_it_was_tuned() -> None:
    best = sequences.asymptotic_half_width(1.0, 700, sequences.tuned_rho(700), 0.05)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert sequences.asymptotic_half_width(1.0, 700, factor * sequences.tuned_rho(700), 0.05) > best


def test_tuned_rho_solves_its_defining_equation_and_is_close_to_the_usual_approximation() -> None:
    x = sequences.tuned_rho(1000.0, 0.05) ** 2 * 1000
    assert (x + 1) * exp(-(x + 1)) == pytest.approx(0.05**2 / e, rel=1e-9)
    approximate = -2 * log(0.05) + log(1 - 2 * log(0.05))
    assert x == pytest.approx(approximate, rel=0.1)


def test_the_mixture_test_equals_the_asymptotic_sequence() -> None:
    n, error = 800, 0.03
    tau = sequences.mixture_tau(error, n)
    result = sequences.mixture_test(0.0, error, tau).interval
    half = sequences.asymptotic_half_width(error, n, sequences.tuned_rho(5000.0))
    assert result[1] == pytest.approx(half, rel=1e-12)


def test_the_mixture_likelihood_ratio_equals_its_integral_and_agrees_with_its_interval() -> None:
    difference, error, tau = 0.4, 0.2, 0.7

    def integrand(d: float) -> float:
        return float(stats.norm.pdf(difference, d, error) * stats.norm.pdf(d, 0, tau))

    ratio = integrate.quad(integrand, -6, 6)[0] / stats.norm.pdf(difference, 0, error)
    result = sequences.mixture_test(difference, error, tau)
    assert exp(result.log_evidence) == pytest.approx(ratio, rel=1e-7)
    edge = result.interval[1]
    assert edge is not None
    at_edge = sequences.mixture_test(edge - difference, error, tau)
    assert at_edge.p_value == pytest.approx(0.05, rel=1e-9)
    assert sequences.mixture_test(1.0, 0.0, 1.0).interval.reason


def test_the_asymptotic_sequence_has_no_interval_before_the_gate() -> None:
    shut = sequences.asymptotic(0.5, 0.01, 1000, effective=99.0, gate=100.0)
    assert not shut.exists
    assert "100" in shut.reason
    assert sequences.asymptotic(0.5, 0.01, 1000, effective=100.0, gate=100.0).exists


def test_predictions_are_capped_at_one_as_the_proof_requires() -> None:
    w, r = np.full(50, 50.0), np.ones(50)
    capped = sequences.advance(sequences.START, w, r, (0, 1))
    loose = sequences.advance(sequences.START, w, r, (0, 1), cap=False)
    assert capped.low_spread == pytest.approx(49.5**2 + 49 * 49.0**2)
    assert loose.low_spread < capped.low_spread


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_expected_wealth_at_the_truth_is_at_most_one(rate: float) -> None:
    """Exact expectation over all logs of 12 rounds: the betting capital is a fair game, here even in closed form."""
    heavy, light, chance = 4.0, 0.5, 1 / 7
    total = 0.0
    current = {(0.0, 0.0): 1.0}
    for t in range(6):
        following: dict[tuple[float, float], float] = {}
        for (s, v), p in current.items():
            prediction = min(1.0, (s + 0.5) / (t + 1))
            for x, q in ((heavy, chance * rate), (light, (1 - chance) * rate), (0.0, 1 - rate)):
                key = (s + x, v + (x - prediction) ** 2)
                following[key] = following.get(key, 0.0) + p * q
        current = following
    mean = rate * (heavy * chance + light * (1 - chance))
    for (s, v), p in current.items():
        total += p * exp(float(sequences.log_wealth(s - 6 * mean, v)))
    assert sum(current.values()) == pytest.approx(1.0)
    assert total <= 1.0 + 1e-9


def test_the_confidence_sequence_reflects_and_scales_with_rewards() -> None:
    rng = np.random.default_rng(0)
    w, r = rng.choice([0.3, 1.7], 3000), rng.random(3000)
    plain = sequences.gamma_exponential(sequences.advance(sequences.START, w, r, (0, 1)), (0, 1))
    moved = sequences.gamma_exponential(sequences.advance(sequences.START, w, 4 * r - 1, (-1, 3)), (-1, 3))
    mirrored = sequences.gamma_exponential(sequences.advance(sequences.START, w, 1 - r, (0, 1)), (0, 1))
    assert moved[:2] == pytest.approx([4 * (x or 0) - 1 for x in plain[:2]], rel=1e-9)
    assert mirrored[:2] == pytest.approx([1 - (plain[1] or 0), 1 - (plain[0] or 0)], rel=1e-9)
    assert sequences.gamma_exponential(sequences.START, (0, 1)).reason
