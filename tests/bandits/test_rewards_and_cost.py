"""The reward of a decision does not depend on the order of arrival; its cost has the opposite sign."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandits.cost import cost_of
from bandits.rewards import AGGREGATIONS, Aggregation, RewardEvent, join

START = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS = st.lists(
    st.builds(
        RewardEvent,
        st.floats(-1e12, 1e12),
        st.integers(0, 3).map(lambda s: START + timedelta(seconds=s)),
        st.text(max_size=4),
    ),
    max_size=8,
    unique_by=lambda event: event.reward_id,
)


def event(value: float, second: int, reward_id: str) -> RewardEvent:
    return RewardEvent(value, START + timedelta(seconds=second), reward_id)


@given(EVENTS, st.randoms(use_true_random=False), st.sampled_from(AGGREGATIONS))
def test_every_order_of_arrival_joins_to_the_same_bits(
    events: list[RewardEvent], shuffler: object, aggregation: Aggregation
) -> None:
    other = list(events)
    shuffler.shuffle(other)  # type: ignore[attr-defined]
    joined = [join(order, aggregation, 0.5, -1e6, 1e6) for order in (events, other, events[::-1])]
    assert joined[0] == joined[1] == joined[2]
    assert -1e6 <= joined[0] <= 1e6


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("sum", 6.0), ("max", 3.0), ("mean", 2.0), ("first", 2.0), ("last", 1.0)]
)
def test_each_aggregation_does_what_its_name_says(aggregation: Aggregation, expected: float) -> None:
    events = [event(3.0, 1, "c"), event(1.0, 1, "d"), event(2.0, 0, "z")]
    assert join(events, aggregation, 0.0, -10.0, 10.0) == expected


def test_no_event_gives_the_default_and_everything_is_clipped() -> None:
    assert join([], "sum", 0.25, 0.0, 1.0) == 0.25
    assert join([], "sum", 7.0, 0.0, 1.0) == 1.0
    assert join([event(-3.0, 0, "a")], "last", 0.0, 0.0, 1.0) == 0.0


def test_ties_in_time_are_broken_by_the_reward_id() -> None:
    assert join([event(1.0, 0, "b"), event(2.0, 0, "a")], "first", 0.0, 0.0, 9.0) == 2.0
    assert join([event(1.0, 0, "b"), event(2.0, 0, "a")], "last", 0.0, 0.0, 9.0) == 1.0


def test_infinite_rewards_and_unknown_aggregations_are_refused() -> None:
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            join([event(wrong, 0, "a")], "sum", 0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="aggregation"):
        join([], "median", 0.0, 0.0, 1.0)  # type: ignore[arg-type]


def test_cost_is_zero_for_the_best_reward_and_one_for_the_worst() -> None:
    assert [cost_of(reward, -1.0, 3.0) for reward in (-5.0, -1.0, 0.0, 3.0, 9.0)] == [1.0, 1.0, 0.75, 0.0, 0.0]


@pytest.mark.parametrize("arguments", [(math.nan, 0.0, 1.0), (0.0, 1.0, 1.0), (0.0, 2.0, 1.0), (0.0, math.nan, 1.0)])
def test_a_cost_needs_bounds_and_a_number(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="low < high"):
        cost_of(*arguments)
