"""Corrections for many comparisons: Holm for primary metrics, Benjamini-Hochberg for exploratory metrics.

This module must never drop a p-value. A comparison without a p-value (None) keeps its position and does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from statsmodels.stats import multitest

from experiments.validation import DataError, FloatArray

Method = Literal["holm", "fdr_bh", "fdr_by", "bonferroni", "sidak", "holm-sidak", "simes-hochberg", "hommel"]


def adjust(p_values: Sequence[float | None], method: Method = "holm") -> list[float | None]:
    """Adjusted p-values in the given order (Holm our own, the others statsmodels `multipletests`); None stays None.

    holm: family-wise error (Holm 1979), for primary metrics x arms. fdr_bh: false discovery rate (Benjamini and
    Hochberg 1995), for exploratory metrics.
    """
    present = [(index, p) for index, p in enumerate(p_values) if p is not None]
    if not present:
        return [None] * len(p_values)
    raw = np.array([p for _, p in present])
    if np.isnan(raw).any() or (raw < 0).any() or (raw > 1).any():
        raise DataError("a p-value lies outside 0 to 1", fix="pass p-values, or None where there is none")
    # statsmodels' Holm runs the garbage collector at each call: 60 ms in a worker with a large heap.
    adjusted = _holm(raw) if method == "holm" else multitest.multipletests(raw, method=method)[1]
    out: list[float | None] = [None] * len(p_values)
    for (index, _), value in zip(present, adjusted, strict=True):
        out[index] = min(float(value), 1.0)
    return out


def _holm(p: FloatArray) -> FloatArray:
    """The i-th smallest p (from 0) times K - i, never below a smaller one's. Shape (K,)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return adjusted
