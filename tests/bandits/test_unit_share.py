"""No unit makes up more of what is learned than the bound says; where people merely differ, nothing is left out."""

from collections import Counter

import numpy as np
import pytest

from bandits.unit_share import AT_ONCE, LEAST, TYPICAL, kept, most_rows


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_the_most_rows_are_the_largest_bound_that_holds(share: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        counts = np.maximum(1, rng.pareto(0.8, rng.integers(150, 900)) * 30).astype(int).tolist()
        most = most_rows(counts, share)
        wide = max(share, TYPICAL / len(counts))
        left = sum(min(count, most) for count in counts)
        if most > LEAST and max(counts) > most:
            assert most <= wide * left + 1e-6
            assert most + 1.001 > wide * sum(min(count, most + 1) for count in counts), "a larger one does not hold"


def test_several_bots_share_no_more_than_the_bound_allows_each() -> None:
    units = [f"u{n}" for n in range(400)] + ["bot-1", "bot-2", "bot-3"] * 1000
    keep = Counter(unit for unit, keeps in zip(units, kept(units, 0.05), strict=True) if keeps)
    assert all(keep[f"u{n}"] == 1 for n in range(400))
    assert {keep["bot-1"], keep["bot-2"], keep["bot-3"]} == {23}


def test_the_newest_rows_are_kept_and_what_was_learned_lately_counts() -> None:
    units = ["bot"] * 100 + [f"u{n}" for n in range(100)]
    keep = kept(units, 0.05)
    assert keep[:100] == [False] * 80 + [True] * 20 and all(keep[100:])
    assert sum(kept(units, 0.05, {"bot": 17})[:100]) == 3
    assert sum(kept(units, 0.05, {"bot": 5000})[:100]) == 0


def test_one_round_is_bounded_by_itself() -> None:
    """A busy bot and a dozen of people in a round: the thousand decisions before it do not make its rows harmless."""
    before = {f"p{n}": 1 for n in range(1000)}
    for people, most in ((14, AT_ONCE), (200, 10)):
        units = ["bot"] * 130 + [f"u{n}" for n in range(people)]
        assert kept(units, 0.05, before) == [False] * (130 - most) + [True] * (most + people)
    assert sum(kept(["bot"] * 130 + [f"u{n}" for n in range(14)], 0.05)[:130]) == LEAST, "a rebuild has no rounds"


def test_nothing_is_left_out_without_a_bound_or_with_few_units() -> None:
    assert all(kept(["one"] * 5000, 0.05)) and all(kept(["one", "two", "three"] * 50 + ["one"] * 5000, 0.05))
    assert all(kept(["bot"] * 5000 + [f"u{n}" for n in range(500)], 1.0))
    assert kept([], 0.05) == [] and most_rows([], 0.05) == LEAST


@pytest.mark.parametrize("decisions", [300, 3000, 30_000])
def test_people_who_decide_alike_or_a_few_times_more_lose_nothing(decisions: int) -> None:
    rng = np.random.default_rng(2)
    for units in (30, 100, 300):
        assert all(kept([f"u{n}" for n in rng.integers(units, size=decisions)], 0.05))
        assert all(kept([f"u{n}" for n in rng.integers(units, size=60)], 0.05, {"u1": 3}))
    shares = 1.0 / np.arange(1, 2001) ** 0.6  # the busiest decides a hundred times as often as the least
    assert all(kept([f"u{n}" for n in rng.choice(2000, size=decisions, p=shares / shares.sum())], 0.05))
