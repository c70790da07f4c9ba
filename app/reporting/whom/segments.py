"""Where a learning arm differs most from the control: the stored results by segment, corrected for looking at many.

Arms were assigned to units at random, so a difference here is an effect of the arm on the units of the segment. The p-value
is the newest look's, not the smallest of all looks: a learning arm may differ at first and no longer.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.reporting import results
from app.reporting.documents.results import ComparisonLine
from app.reporting.documents.whom import SegmentDifference
from experiments.multiplicity import adjust


class Segments(NamedTuple):
    """The segments of all declared fields."""

    metric: str | None  # null: no result was computed
    name: str
    lines: list[SegmentDifference]


def compared(engine: Engine, key: str, config: ExperimentConfig, arms: Sequence[str]) -> Segments:
    """Compare on the first primary metric, by the segments of each declared field."""
    metric, name = None, ""
    differences: list[tuple[str, ComparisonLine]] = []
    for field in config.segments:
        primary = results.get(engine, key, segment=field).primary()[0]
        metric, name = primary.metric, primary.name
        differences += [(field, line) for line in primary.comparisons if line.segment is not None and line.arm in arms]
    adjusted = adjust([line.always_valid.p_value for _, line in differences])
    lines = [
        _line(field, line, p, config.decision_rule.alpha)
        for (field, line), p in zip(differences, adjusted, strict=True)
    ]
    return Segments(metric, name, sorted(lines, key=_size, reverse=True))


def _line(field: str, line: ComparisonLine, p: float | None, alpha: float) -> SegmentDifference:
    return SegmentDifference(
        arm=line.arm,
        field=field,
        segment=line.segment or "",
        units=sum((line.units or {}).values()),
        difference=line.difference,
        interval=line.always_valid.interval,
        shrunk=line.shrunk.difference if line.shrunk else None,
        shrunk_interval=line.shrunk.interval if line.shrunk else None,
        p_value=line.always_valid.p_value,
        adjusted_p_value=p,
        differs=p is not None and p <= alpha,
    )


def _size(line: SegmentDifference) -> tuple[bool, bool, float]:
    shown = line.difference if line.shrunk is None else line.shrunk
    return line.differs, line.p_value is not None, abs(shown or 0.0)
