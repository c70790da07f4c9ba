"""Predictions for DM and DR that have never seen the row they predict.

On a log of an adaptive policy a random split leaks: later choices depend on earlier rewards. So rows are cut into folds
by time, fold k is predicted by a model fitted on folds 1..k-1, and the first fold by a constant. Which model is the
caller's affair (the platform plugs Vowpal Wabbit in); a per-action mean is here as the fallback. This module must
never hand a model a row of its own fold or of a later one.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from experiments.validation import ArrayLike, DataError, FloatArray, codes, distributions, matrix, vector

Model = TypeVar("Model")
FOLDS = 5


class ModelColumns(NamedTuple):
    """What DR needs of a reward model."""

    q: FloatArray
    """Shape (n,): prediction for the logged action."""
    v: FloatArray
    """Shape (n,): average prediction under the target policy."""


def forward_folds(n: int, folds: int = FOLDS) -> list[slice]:
    """`folds` consecutive slices of n rows in time order, as equal as possible; fewer when n is small."""
    if n < 1 or folds < 2:
        raise DataError(f"{n} rows in {folds} folds", fix="pass at least one row and two folds")
    edges = np.linspace(0, n, min(folds, n) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def forward_cross_fit(
    n: int,
    actions: ArrayLike,
    target: ArrayLike,
    fit: Callable[[slice], Model],
    predict: Callable[[Model, slice], FloatArray],
    *,
    folds: int = FOLDS,
    first: float = 0.0,
) -> ModelColumns:
    """q and v by forward cross-fitting. Rows must be in time order.

    fit(slice(0, stop)) trains on rows before `stop`; predict(model, slice) returns predictions (rows, actions) for a
    later fold. The first fold is predicted by the constant `first` (0 turns DR into IPS there). target (n, actions).
    """
    pi = distributions("the target distribution", target)
    a = codes("action", actions, pi.shape[1])
    if not n == len(a) == len(pi):
        raise DataError("actions and target have another length than the log", fix="pass one row per decision")
    q, v = np.full(n, float(first)), np.full(n, float(first))
    for fold in forward_folds(n, folds)[1:]:
        table = matrix("predictions", predict(fit(slice(0, fold.start)), fold), pi.shape[1])
        rows = np.arange(fold.stop - fold.start)
        if len(table) != len(rows):
            raise DataError("predict returned another number of rows than asked", fix="return one row per decision")
        q[fold], v[fold] = table[rows, a[fold]], (table * pi[fold]).sum(axis=1)
    return ModelColumns(q, v)


def action_means(
    actions: ArrayLike,
    rewards: ArrayLike,
    target: ArrayLike,
    *,
    folds: int = FOLDS,
    prior_weight: float = 1.0,
) -> ModelColumns:
    """The fallback model: each action's mean reward in earlier folds, shrunk to the overall one by `prior_weight`."""
    pi = distributions("the target distribution", target)
    a, r = codes("action", actions, pi.shape[1]), vector("reward", rewards)

    def fit(past: slice) -> FloatArray:
        counts = np.bincount(a[past], minlength=pi.shape[1])
        sums = np.bincount(a[past], weights=r[past], minlength=pi.shape[1])
        return np.asarray((sums + prior_weight * r[past].mean()) / (counts + prior_weight))

    def predict(means: FloatArray, fold: slice) -> FloatArray:
        return np.broadcast_to(means, (fold.stop - fold.start, len(means)))

    return forward_cross_fit(len(r), a, pi, fit, predict, folds=folds)
