"""The effect of each way of learning that runs several times, from the comparisons of its lineages."""

from collections.abc import Sequence

from app.design.experiment_config import ExperimentConfig, lineages
from app.foundation.formats.intervals import document_of
from app.reporting.comparison.result_lines import Compared
from app.reporting.documents.results import LineagesLine
from experiments.arms.lineages import lineages_effect


def lineages_lines(config: ExperimentConfig, compared: Sequence[Compared]) -> list[LineagesLine]:
    """One line for each name that lineages share, as soon as all of them can be compared."""
    figures = {
        line.arm: figures.comparison for line, figures in compared if figures is not None and line.segment is None
    }
    lines = []
    for name, arms in lineages(config.arms).items():
        if not figures.keys() >= set(arms):
            continue
        pairs = [(figures[arm].treatment, figures[arm].control) for arm in arms]
        effect = lineages_effect(pairs, config.decision_rule.alpha)
        lines.append(
            LineagesLine(
                lineage=name,
                arms=arms,
                difference=effect.difference,
                spread=effect.spread,
                interval=document_of(effect.interval),
            )
        )
    return lines
