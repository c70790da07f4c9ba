"""The small twin of `python -m benchmarks noise`: models that learned noise, by the platform's own evaluation."""

import pytest

from benchmarks.noise import said

RUNS = 120


@pytest.mark.slow
@pytest.mark.parametrize("rows_of_a_unit", [1, 4])
def test_on_noise_few_logs_have_a_winner_and_what_runs_is_worth_what_it_is(rows_of_a_unit: int) -> None:
    found = said(RUNS, rows_of_a_unit=rows_of_a_unit)
    assert found.promoted <= 0.05
    assert found.shown > 0.95
    assert abs(found.mean - 0.5) < 0.01
    assert 0.90 <= found.covered <= 1  # 95% within two and a half standard errors of so few logs
    assert found.always >= 0.97


@pytest.mark.slow
def test_scored_on_what_it_learned_noise_would_look_like_skill() -> None:
    found = said(40, in_sample=True)
    assert found.mean > 0.52 and found.covered < 0.85 and found.promoted > 0.05
