"""A small twin of `python -m benchmarks.predicted`: the log of `auto` can value another policy."""

import pytest

from benchmarks.predicted import NAMES, TARGET, agrees, bandit, collect, weights


@pytest.mark.slow
def test_prediction_from_its_log_agrees_with_what_is_then_earned() -> None:
    found = [agrees(collect(bandit(), seed, 300), seed) for seed in range(12)]
    assert sum(found) >= 10  # 95% of many; fewer than 10 of 12 would happen to a right method in one of 50 worlds


def test_its_largest_weights_keep_to_the_bound_of_the_floor_as_those_of_squarecb_do() -> None:
    for name in ("auto", "squarecb"):
        largest = max(
            float(weights(collect(bandit(algorithm=name, exploration_floor=0.05), seed, 300)).max())
            for seed in range(4)
        )
        assert largest <= TARGET.max() * len(NAMES) / 0.05 * (1 + 1e-9), name
