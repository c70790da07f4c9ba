"""Folds in time order, so that no reward model predicts a row that it has learned.

On the log of an adaptive policy a random split leaks: later choices depend on earlier rewards. So rows are cut into
folds by time, and fold k is predicted by a model fitted on the rows before it. The caller chooses the model (the
platform uses Vowpal Wabbit). This module must never put a row into two folds, or shuffle rows.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from experiments.validation import DataError


def forward_folds(n: int, folds: int) -> list[slice]:
    """`folds` consecutive slices of n rows in time order, as equal as possible; fewer when n is small."""
    if n < 1 or folds < 2:
        raise DataError(f"{n} rows in {folds} folds", fix="pass at least one row and two folds")
    edges = np.linspace(0, n, min(folds, n) + 1).astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]
