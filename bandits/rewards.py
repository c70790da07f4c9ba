"""Joins the reward events of a decision into a single value, whatever the order in which they arrived."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

Aggregation = Literal["sum", "max", "mean", "first", "last"]
AGGREGATIONS: Final[tuple[Aggregation, ...]] = ("sum", "max", "mean", "first", "last")


class RewardEvent(NamedTuple):
    """A reported reward of a decision."""

    value: float  # reward units, finite
    occurred_at: datetime  # when it happened; all events of a call are timezone-aware, or none is
    reward_id: str  # breaks ties of occurred_at, so that the order is total


def join(
    events: Sequence[RewardEvent],
    aggregation: Aggregation,
    default: float,
    low: float,
    high: float,
) -> float:
    """The decision's reward, clipped to [low, high]; `default` (clipped too) when there is no event.

    "first" and "last" go by (occurred_at, reward_id), never by arrival. Sums are correctly rounded (`math.fsum`), so
    that no order of the events changes a bit. Raises `ValueError` on an unknown aggregation or a non-finite value.
    """
    if aggregation not in AGGREGATIONS:
        raise ValueError(f"aggregation must be one of {', '.join(AGGREGATIONS)}")
    if not all(math.isfinite(event.value) for event in events):
        raise ValueError("reward values must be finite")
    value = _aggregate(events, aggregation) if events else default
    return min(max(value, low), high)


def _aggregate(events: Sequence[RewardEvent], aggregation: Aggregation) -> float:
    if aggregation == "max":
        return max(event.value for event in events)
    if aggregation in ("sum", "mean"):
        total = math.fsum(event.value for event in events)
        return total if aggregation == "sum" else total / len(events)
    pick = min if aggregation == "first" else max
    return pick(events, key=lambda event: (event.occurred_at, event.reward_id)).value
