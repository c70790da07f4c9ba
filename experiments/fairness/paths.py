"""How the range of what each person is shown changes from their first decisions to their last: the filter-bubble curve.

A person's decisions are cut into stages of equal length. In each stage the mean of the logged distributions over groups of
actions has an entropy: 1 when every group was equally likely, 0 when one was certain. It is exact, where the entropy of
what was drawn would be too small in short stages. This module must never compare stages of different lengths.
"""

from __future__ import annotations

from math import hypot, sqrt
from typing import NamedTuple

import numpy as np

from experiments.fairness.exposure import entropy
from experiments.results import Interval, missing
from experiments.sequences import mixture_tau, mixture_test
from experiments.validation import FloatArray, IntArray

STAGE = 5
"""Decisions of a person in a stage."""
ROUNDING = 1e-12
MIN_PEOPLE = 100
"""In each arm, before the comparison of changes has an interval."""


class Stage(NamedTuple):
    """What one person was shown in a stage."""

    entropy: float
    """Of the mean logged distribution over groups, between 0 and 1."""
    repeats: float
    """Share of the decisions whose group is that of the person's decision before; NaN if there is none before."""
    variety: float
    """Different groups that were drawn, divided by the most that the stage could hold."""


class Change(NamedTuple):
    """How much more an arm narrows what people see than the reference arm does."""

    change: float
    """Mean over people of the entropy of their last stage minus that of their first."""
    reference: float
    excess: float
    """The change minus the reference's: negative when the arm narrows more."""
    interval: Interval
    """Of the excess, for every look."""
    p_value: float | None


def stages(chances: FloatArray, drawn: IntArray) -> list[Stage]:
    """The full stages of a person with n decisions in their order.

    :param chances: logged probabilities of the G groups, shape (n, G); `drawn`: the group that was drawn, shape (n,).
    """
    groups = chances.shape[1]
    repeated = np.concatenate([[np.nan], (drawn[1:] == drawn[:-1]).astype(float)])
    out = []
    for start in range(0, len(drawn) - STAGE + 1, STAGE):
        part = slice(start, start + STAGE)
        seen = repeated[part]
        out.append(
            Stage(
                entropy(chances[part].mean(axis=0)),
                float(seen[~np.isnan(seen)].mean()),
                len(set(drawn[part].tolist())) / min(STAGE, groups),
            )
        )
    return out


def excess_change(arm: FloatArray, reference: FloatArray, *, alpha: float = 0.05) -> Change:
    """Compare the changes of the people of two arms, one number each, shapes (n,) and (m,); neither is empty.

    The people of an arm are a random sample; the asymptotic sequence makes the interval hold at every look. Where all of them
    change alike, their spread says nothing of people who were not seen. So the error is never below that of one more person
    in each arm whose change is 1 apart from theirs: 1 / n each.
    """
    means = float(arm.mean()), float(reference.mean())
    excess = means[0] - means[1]
    people = min(len(arm), len(reference))
    if people < MIN_PEOPLE:
        reason = f"opens at {MIN_PEOPLE} users with two stages in each arm, now {people}"
        return Change(*means, excess, missing(reason), None)
    error = sqrt(float(arm.var(ddof=1)) / len(arm) + float(reference.var(ddof=1)) / len(reference))
    if error < ROUNDING and abs(excess) < ROUNDING:
        return Change(*means, excess, missing("nothing changes for anybody"), None)
    error = max(error, hypot(1 / len(arm), 1 / len(reference)))
    tested = mixture_test(excess, error, mixture_tau(error, len(arm) + len(reference), alpha=alpha), alpha)
    return Change(*means, excess, tested.interval, tested.p_value)
