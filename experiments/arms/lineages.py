"""The effect of a way of learning, from several independent runs of it beside one control.

A learning arm's interval is about its own run: another run would learn from other units and end elsewhere. Where a way of
learning ran k times at once, each lineage on its own units, the spread between the lineages' values holds both, the noise
of units and the luck of learning. This module must never be given lineages that learn from each other's units.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy import stats

from experiments.arms.comparison import ArmEstimate
from experiments.results import Interval, missing
from experiments.validation import DataError, fraction


class LineagesEffect(NamedTuple):
    """The mean of the lineages' differences to the control, at one look that was declared beforehand."""

    difference: float
    """Mean over lineages, in the metric's unit; every lineage counts alike."""
    spread: float
    """Standard deviation between lineages (ddof 1), of units and of learning together."""
    freedom: float | None
    """Degrees of freedom: from k - 1 upwards; None when nothing varies."""
    interval: Interval
    """Student's t interval of the difference."""


def lineages_effect(pairs: Sequence[tuple[ArmEstimate, ArmEstimate]], alpha: float = 0.05) -> LineagesEffect:
    """Compare k lineages with their control, as one sample of k means against a mean (Welch 1947).

    The variance is s^2/k of the lineages' differences plus the control's squared standard error, which all differences
    share and their spread cannot show. Degrees of freedom by Welch and Satterthwaite, k - 1 where the control is exact.

    :param pairs: of each lineage its value and the control's, from two lineages on, each with the same chance per unit.
    """
    if len(pairs) < 2:
        raise DataError(f"{len(pairs)} lineages show no spread", fix="pass two or more")
    differences = np.array([lineage.value - control.value for lineage, control in pairs])
    spread = float(differences.std(ddof=1))
    between = spread**2 / len(pairs)
    shared = float(np.mean([control.variance for _, control in pairs]))
    mean, total = float(differences.mean()), between + shared
    if between <= 0:
        return LineagesEffect(
            mean, spread, None, missing("the lineages do not differ at all, so that their error is unknown")
        )
    control_freedom = min(control.freedom for _, control in pairs)
    freedom = total**2 / (between**2 / (len(pairs) - 1) + shared**2 / max(control_freedom, 1.0))
    half = float(stats.t.isf(fraction("alpha", alpha) / 2, freedom)) * sqrt(total)
    return LineagesEffect(mean, spread, freedom, Interval(mean - half, mean + half))
