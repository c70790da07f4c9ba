"""How much a model's predictions lean on one feature: the rise of their squared error when the feature is permuted.

Breiman (2001), on predictions of rows that the model had not learned. It describes the model, not causes: features that
say the same thing each look unimportant, and a feature that the model ignores has importance 0 though it may matter.
Units are independent; the permutation is one draw with a fixed seed. This module must never see a prediction of a row that
its model learned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.off_policy import unit_sums
from experiments.off_policy.unit_sums import UNBOUNDED, kish
from experiments.results import Interval, missing
from experiments.validation import ArrayLike, DataError, FloatArray, IntArray, same_length, vector

MIN_UNITS = 20.0
"""Effective units below which there is no interval."""


class Importance(NamedTuple):
    """Of one feature."""

    increase: float
    """Mean squared error with the feature permuted minus that without, in squared units of the reward."""
    interval: Interval
    """For every look, asymptotic in units."""
    p_value: float | None
    """For every look, of the hypothesis that predictions lose nothing; None where they do not change, or without an interval."""


def importance(
    rewards: ArrayLike, predicted: ArrayLike, permuted: ArrayLike, unit: IntArray, alpha: float = 0.05
) -> Importance:
    """From predictions of n rows as they are and with the feature permuted among the rows of one model. Shapes (n,).

    `unit` holds codes from 0. Raises `DataError` for lengths that differ, and for values that are not finite.
    """
    r, plain, mixed = vector("rewards", rewards), vector("predicted", predicted), vector("permuted", permuted)
    same_length(rewards=r, predicted=plain, permuted=mixed, unit=unit)
    rise = (r - mixed) ** 2 - (r - plain) ** 2
    sums = unit_sums.mean_sums(rise, unit)
    size = kish(sums.weight)
    if size < MIN_UNITS:
        return Importance(float(rise.mean()), missing(f"{size:.0f} effective units, {MIN_UNITS:.0f} wanted"), None)
    if not rise.any():
        return Importance(0.0, Interval(0.0, 0.0, note="the predictions do not use it"), None)
    interval = unit_sums.always_valid(sums, UNBOUNDED, alpha)
    return Importance(float(rise.mean()), interval, unit_sums.always_valid_p(sums, alpha))


def within(part: IntArray, seed: int) -> IntArray:
    """For each of n rows, the row of the same part whose value it takes: a permutation of each part. Shape (n,)."""
    if not len(part):
        raise DataError("there are no rows to permute", fix="pass at least one")
    random = np.random.default_rng(seed)
    taken = np.arange(len(part))
    for number in np.unique(part):
        rows = np.flatnonzero(part == number)
        taken[rows] = random.permutation(rows)
    return taken


def explained(rewards: FloatArray, predicted: FloatArray) -> float | None:
    """1 - squared error over that of the mean; below 0 where the mean predicts better. None where rewards are all alike."""
    spread = float(((rewards - rewards.mean()) ** 2).sum())
    return 1 - float(((rewards - predicted) ** 2).sum()) / spread if spread > 0 else None
