"""Simulated with fixed seeds: slates and lists earn more than the same learner without the context, or without slots."""

import pytest

from benchmarks.slates_lists import COMPOSED, learner_of, mean_of, play_composed, play_lists

pytestmark = pytest.mark.slow

SEEDS = 5


def test_slates_beat_ignoring_the_context_and_one_action_per_combination() -> None:
    runs = {
        name: [play_composed(seed, policy, lines, 1200, contextual) for seed in range(SEEDS)]
        for name, (policy, lines, contextual) in COMPOSED.items()
        if name != "one action per combination, parts as its features"
    }
    for other in ("slates, context ignored", "one action per combination"):
        # The same worlds and people in the same order: the differences are paired.
        gain = mean_of([a - b for a, b in zip(runs["slates"], runs[other], strict=True)])
        assert gain.value > 2 * gain.std_error, (other, gain, runs)
        assert gain.value > 0.02, (other, gain, runs)


def test_lists_beat_a_ranking_that_ignores_the_context() -> None:
    with_context, without = (
        [play_lists(seed, learner_of(False), 300, contextual) for seed in range(SEEDS)] for contextual in (True, False)
    )
    gain = mean_of([a - b for a, b in zip(with_context, without, strict=True)])
    assert gain.value > 2 * gain.std_error, (gain, with_context, without)
    assert gain.value > 0.1, (gain, with_context, without)
