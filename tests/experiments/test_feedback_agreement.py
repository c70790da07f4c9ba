"""Agreement of explicit and implicit signals, and response bias: against other libraries, and against a known truth."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from experiments.logs.feedback_agreement import MIN_UNITS, answer_rate, rank_agreement, response_bias
from experiments.validation import DataError

pytestmark = pytest.mark.slow


def _clustered(seed: int, units: int = 80) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Units of one to six decisions, a lasting mood, a binary click, stars, and answering that depends on the mood."""
    rng = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), rng.integers(1, 7, size=units))
    mood = rng.normal(size=units)[unit]
    click = (mood + rng.normal(size=len(unit)) > 0.5).astype(float)
    stars = np.clip(np.round(3 + mood + 0.8 * rng.normal(size=len(unit))), 1, 5)
    answered = (0.7 * mood + rng.normal(size=len(unit)) > 0.3).astype(float)
    return unit, click, stars, answered


def test_the_correlation_is_scipys_spearman_ties_included() -> None:
    unit, click, stars, _ = _clustered(1)
    result = rank_agreement(click, stars, unit, seed=0)
    assert result.correlation == pytest.approx(stats.spearmanr(click, stars).statistic)
    assert result.interval.covers(result.correlation or 2.0)
    assert result == rank_agreement(click, stars, unit, seed=0)


def test_opposite_signals_give_minus_one_and_a_constant_signal_gives_none() -> None:
    unit = np.arange(50)
    result = rank_agreement(unit, -unit, unit, seed=0)
    assert result.correlation == pytest.approx(-1)
    assert result.interval.low == pytest.approx(-1)
    assert result.interval.high == pytest.approx(-1)
    flat = rank_agreement(np.ones(50), unit, unit, seed=0)
    assert flat.correlation is None
    assert "never varies" in flat.interval.reason


def test_the_bias_has_the_standard_error_of_a_clustered_regression() -> None:
    unit, click, _, answered = _clustered(2)
    result = response_bias(click, answered, unit)
    design = sm.add_constant(answered)
    groups = {"groups": unit, "use_correction": False}
    fitted = sm.OLS(click, design).fit(cov_type="cluster", cov_kwds=groups)
    assert result.difference == pytest.approx(fitted.params[1])
    units = len(np.unique(unit))
    fewest = min(len(np.unique(unit[answered > 0])), len(np.unique(unit[answered == 0])))
    half = stats.t.isf(0.025, fewest - 1) * fitted.bse[1] * np.sqrt(units / (units - 1))
    assert result.interval.high == pytest.approx(result.difference + half)


def test_the_rate_of_units_with_one_decision_is_wilsons() -> None:
    answered = np.r_[np.ones(30), np.zeros(4970)]
    result = answer_rate(answered, np.arange(5000))
    low, high = proportion_confint(30, 5000, method="wilson")
    assert (result.interval.low, result.interval.high) == (pytest.approx(low, rel=2e-3), pytest.approx(high, rel=2e-3))


def test_several_decisions_of_a_unit_count_as_one_observation() -> None:
    """Five copies of every row must not make the intervals narrower."""
    unit, click, stars, answered = _clustered(3)
    once, often = slice(None), np.repeat(np.arange(len(unit)), 5)
    for measure in (
        lambda at: answer_rate(answered[at], unit[at]).interval,
        lambda at: response_bias(click[at], answered[at], unit[at]).interval,
        lambda at: rank_agreement(click[at], stars[at], unit[at], seed=4).interval,
    ):
        narrow, wide = measure(once), measure(often)
        assert (wide.low, wide.high) == (pytest.approx(narrow.low, abs=1e-9), pytest.approx(narrow.high, abs=1e-9))


def test_rates_of_zero_and_one_have_intervals_that_depend_on_the_number_of_units() -> None:
    nobody = answer_rate(np.zeros(500), np.repeat(np.arange(100), 5))
    assert nobody.rate == 0
    assert nobody.interval.low == 0
    assert 0.03 < (nobody.interval.high or 0) < 0.05
    everybody = answer_rate(np.ones(500), np.repeat(np.arange(100), 5))
    assert everybody.interval.high == 1
    assert 0.95 < (everybody.interval.low or 0) < 0.97
    assert response_bias(np.ones(50), np.zeros(50), np.arange(50)).difference is None


def test_small_cells_give_a_reason_instead_of_an_interval() -> None:
    unit = np.arange(MIN_UNITS - 1)
    values = np.arange(MIN_UNITS - 1.0)
    for interval in (
        answer_rate(values % 2, unit).interval,
        rank_agreement(values, values, unit, seed=0).interval,
        response_bias(values, values % 2, unit).interval,
    ):
        assert not interval.exists
        assert "units" in interval.reason


def test_a_value_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(DataError):
        rank_agreement([1.0, np.nan], [1.0, 2.0], [0, 1], seed=0)
    with pytest.raises(DataError):
        response_bias([1.0, 2.0], [1.0], [0, 1])


def test_the_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """300 logs of 80 units with lasting moods; the truth from one log of 200,000 units."""
    unit, click, stars, answered = _clustered(0, units=200_000)
    rho = stats.spearmanr(click, stars).statistic
    gap = click[answered > 0].mean() - click[answered == 0].mean()
    rate = answered.mean()
    hits = np.zeros(3)
    for seed in range(1, 301):
        unit, click, stars, answered = _clustered(seed)
        hits += [
            rank_agreement(click, stars, unit, seed=seed, replicates=200).interval.covers(rho),
            response_bias(click, answered, unit).interval.covers(gap),
            answer_rate(answered, unit).interval.covers(rate),
        ]
    assert (hits / 300 >= 0.91).all(), hits / 300
    assert (hits / 300 <= 0.985).all(), hits / 300
