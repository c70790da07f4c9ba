"""Choosing a shrinkage threshold from data, for analysts who ask for it; nothing in Loopwise does it by itself.

With rare rewards neither rule can be trusted (both pick almost no shrinkage at click rates of 0.4%), and an interval
after selection ignores the selection. Defaults in reports are fixed beforehand instead. This module must never be
called by a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Literal

import numpy as np
from scipy import stats

from experiments.estimators import Estimate
from experiments.validation import DataError, FloatArray, fraction


def select(candidates: Sequence[Estimate], w: FloatArray, method: Literal["slope", "mse"], delta: float = 0.1) -> int:
    """Index of the candidate estimate (one estimator, several thresholds) that a rule prefers.

    slope: SLOPE++ (Tucker and Lee 2021), the narrowest candidate that agrees with all wider ones. mse: smallest
    estimated variance plus squared bias bound (Su et al. 2020); its concentration terms do not depend on the
    threshold, which is why it nearly always returns the least shrunk candidate. `w` are the unshrunk weights.
    """
    if not candidates:
        raise DataError("there are no candidates", fix="pass at least one estimate")
    fraction("delta", delta)
    return _slope(candidates, delta) if method == "slope" else _mse(candidates, w, delta)


def _slope(candidates: Sequence[Estimate], delta: float) -> int:
    widths = [_half_width(c, delta) for c in candidates]
    order = sorted(range(len(candidates)), key=lambda i: -widths[i])
    kept = order[0]
    for position, i in enumerate(order[1:], start=1):
        for j in order[:position]:
            gap = abs(candidates[i].value - candidates[j].value)
            if gap > widths[i] + (sqrt(6) - 1) * widths[j]:
                return kept
        kept = i
    return kept


def _half_width(estimate: Estimate, delta: float) -> float:
    n = len(estimate.influence)
    return float(stats.t.isf(delta, n - 1)) * float(np.std(estimate.influence, ddof=1)) / sqrt(n)


def _mse(candidates: Sequence[Estimate], w: FloatArray, delta: float) -> int:
    n = len(w)
    tail = log(2 / delta)
    slack = sqrt(2 * float(np.mean(w**2)) * tail / n) + 2 * float(w.max()) * tail / (3 * n)
    scores = [float(np.var(c.influence)) / n + (c.bias_bound + slack) ** 2 for c in candidates]
    return int(np.argmin(scores))
