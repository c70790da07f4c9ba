"""Folds in time order, so that no reward model predicts a row that it has learned.

On the log of an adaptive policy a random split leaks: later choices depend on earlier rewards. So rows are cut into
folds by time, and fold k is predicted by a model fitted on the rows before it. The caller chooses the model (the
platform uses Vowpal Wabbit). A fold that few rows precede is predicted by `earlier_means` instead: a prediction of 0
there would make DR wider than no model at all. This module must never put a row into two folds, or shuffle rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from experiments.validation import DataError


def forward_folds(n: int, folds: int) -> list[slice]:
    """`folds` consecutive slices of n rows in time order, as equal as possible; fewer when n is small."""
    if n < 1 or folds < 2:
        raise DataError(f"{n} rows in {folds} folds", fix="pass at least one row and two folds")
    edges = np.linspace(0, n, min(folds, n) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def earlier_means(
    rewards: Sequence[float], actions: Sequence[str], eligible: Sequence[Sequence[str]]
) -> list[list[float]]:
    """For each row, the mean reward of each eligible action over EARLIER rows, in the unit of the reward.

    Each mean is shrunk by one row towards the mean of all earlier rows, which stands in for actions that were not taken
    yet. It is 0 in the first row only. All three lists have one entry per row, in time order.
    """
    if not len(rewards) == len(actions) == len(eligible):
        raise DataError("rewards, actions and eligible actions have different lengths", fix="pass one of each per row")
    total, rows = 0.0, 0
    sums: defaultdict[str, float] = defaultdict(float)
    counts: defaultdict[str, int] = defaultdict(int)
    means = []
    for reward, action, names in zip(rewards, actions, eligible, strict=True):
        overall = total / rows if rows else 0.0
        means.append([(sums[name] + overall) / (counts[name] + 1) for name in names])
        total, rows = total + float(reward), rows + 1
        sums[action] += float(reward)
        counts[action] += 1
    return means
