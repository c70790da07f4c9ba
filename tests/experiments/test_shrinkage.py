"""Shrunk effects of segments: nearer to the truth than the raw ones, and intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.arms.shrinkage import shrink
from experiments.validation import DataError


@pytest.mark.parametrize(("spread", "least"), [(0.0, 0.95), (0.1, 0.9), (0.5, 0.93)])
def test_intervals_cover_and_the_largest_is_no_lie(spread: float, least: float) -> None:
    rng = np.random.default_rng(1)
    covered, raw, of_largest = [], [], []
    for _ in range(400):
        truth, errors = 0.2 + spread * rng.normal(size=20), rng.uniform(0.1, 0.4, 20)
        seen = truth + errors * rng.normal(size=20)
        shrunk = shrink(seen, errors)
        values = np.array([one.value for one in shrunk])
        covered += [one.interval.covers(float(own)) for one, own in zip(shrunk, truth, strict=True)]
        raw.append(np.mean((values - truth) ** 2) / np.mean((seen - truth) ** 2))
        top = int(np.argmax(values))
        of_largest.append(values[top] - truth[top])
    assert np.mean(covered) > least
    assert np.mean(raw) < 0.9
    assert abs(np.mean(of_largest)) < 0.06, "the winner's curse is gone"


def test_effects_that_differ_beyond_their_errors_are_kept() -> None:
    shrunk = shrink([0.0, 5.0, 10.0], [0.1, 0.1, 0.1])
    assert [one.value for one in shrunk] == pytest.approx([0.0, 5.0, 10.0], abs=0.01)


def test_two_segments_are_too_few() -> None:
    with pytest.raises(DataError, match="fewer than three"):
        shrink([1.0, 2.0], [0.1, 0.1])
