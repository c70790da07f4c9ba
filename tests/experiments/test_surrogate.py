"""The correlation of early and late values within arms: covers, and is not made by a difference between arms."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.logs.surrogate import PairSums, surrogate
from experiments.validation import FloatArray


def sums(short: FloatArray, late: FloatArray) -> PairSums:
    return PairSums(len(short), float(short.var()), float(late.var()), float(np.cov(short, late, ddof=0)[0, 1]))


def test_it_covers_the_correlation_within_arms_whatever_the_arms_means_are() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1000):
        arms = []
        for shift in (0.0, 5.0):
            short = rng.normal(size=60)
            late = 0.5 * short + np.sqrt(0.75) * rng.normal(size=60)
            arms.append(sums(short + shift, late - shift))
        covered += surrogate(arms).interval.covers(0.5)
    assert 0.93 < covered / 1000 < 0.97


def test_one_arm_equals_numpys_correlation() -> None:
    rng = np.random.default_rng(2)
    short, late = rng.normal(size=50), rng.normal(size=50)
    assert surrogate([sums(short, late)]).correlation == pytest.approx(np.corrcoef(short, late)[0, 1])


def test_reasons_are_given_where_it_cannot_be_told() -> None:
    few = surrogate([PairSums(5, 1.0, 1.0, 0.5)])
    assert few.correlation is None and "now 5" in few.interval.reason
    assert "same for all units" in surrogate([PairSums(50, 0.0, 1.0, 0.0)]).interval.reason
    assert "same figure" in surrogate([PairSums(50, 1.0, 1.0, 1.0)]).interval.reason
