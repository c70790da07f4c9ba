"""Rewards as Vowpal Wabbit's costs. Only this module turns the sign: everywhere else, a higher reward is better."""

import math


def cost_of(reward: float, low: float, high: float) -> float:
    """Cost in [0, 1] of a reward in its own units: (high - reward) / (high - low), the reward clipped to [low, high].

    Raises `ValueError` when the bounds are not low < high or the reward is NaN.
    """
    if not low < high or math.isnan(reward):
        raise ValueError(f"needs low < high and a reward that is a number: {low!r}, {high!r}, {reward!r}")
    return (high - min(max(reward, low), high)) / (high - low)
