"""How lines stand among others: chances to be the best arm, and segments shrunk towards their common mean."""

from collections.abc import Sequence

import numpy as np

from app.design.metric_config import MetricSpec
from app.foundation.formats.intervals import document_of
from app.reporting.comparison.result_lines import Compared
from app.reporting.documents.results import ChanceToWin, ComparisonLine, ShrunkEffect
from experiments.arms import bayes
from experiments.arms.shrinkage import shrink
from experiments.arms.strata import StratifiedComparison

MIN_SEGMENTS = 3  # whose spread can be told from their noise


def fill_in_chances(compared: Sequence[Compared], metric: MetricSpec) -> None:
    """Fill in each arm's chance to be the best of all arms and its expected loss, with a flat prior.

    An arm whose values do not vary takes the spread of both arms together: it is not known better than the others.
    """
    known = [(pair.line, pair.figures) for pair in compared if pair.figures is not None]
    if not known:
        return
    control = known[0][1].comparison.control.value
    differences = [figures.comparison.difference for _, figures in known]
    variances = [_variance(known[0][1], 0), *(_variance(figures, 1) for _, figures in known)]
    if min(variances) <= 0:
        return
    values = [control, *(control + difference for difference in differences)]
    errors = [float(np.sqrt(variance)) for variance in variances]
    chances = bayes.chances(values, errors, higher_is_better=metric.direction == "increase")
    for (line, _), arm in zip(known, chances[1:], strict=True):
        line.chance_to_win = ChanceToWin(probability=arm.chance_to_win, expected_loss=arm.expected_loss)


def fill_in_shrunk(compared: Sequence[ComparisonLine], alpha: float) -> None:
    """Fill in the shrunk difference of each segment of one arm; with fewer than three segments nothing."""
    known = [
        (line, line.difference, line.std_error)
        for line in compared
        if line.segment is not None and line.difference is not None and line.std_error
    ]
    if len(known) < MIN_SEGMENTS:
        return
    shrunk = shrink([difference for _, difference, _ in known], [error for _, _, error in known], alpha=alpha)
    for (line, _, _), effect in zip(known, shrunk, strict=True):
        line.shrunk = ShrunkEffect(difference=effect.value, interval=document_of(effect.interval), kept=effect.kept)


def _variance(figures: StratifiedComparison, side: int) -> float:
    own = (figures.comparison.control, figures.comparison.treatment)[side].variance
    return own if own > 0 else figures.variances[side]
