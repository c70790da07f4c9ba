"""Gaps between groups of people in each arm beyond the gap of the reference arm, and predictions by group."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.fairness.documents import GroupCalibration, GroupGap
from app.fairness.store.fairness import PeopleRow
from app.foundation.formats.intervals import document_of
from app.foundation.settings import Settings
from app.off_policy.log_table import FloatArray, LogTable
from app.off_policy.predictions import predict
from app.registry.store.experiments import StoredExperiment
from app.reporting.whom import window as windows
from experiments.fairness.gaps import NOTHING, Cell, Gap, excess_gap
from experiments.off_policy import unit_sums
from experiments.sequences import asymptotic
from experiments.validation import DataError

TRAIN_SHARE = 0.1  # the oldest part of the decisions: only predictions learn from it
GATE = 100.0  # effective units of a group from which on its predictions have an interval


def gaps(rows: Sequence[PeopleRow], reference: str, alpha: float) -> list[GroupGap]:
    """Every group of every field in every arm but the reference, uncorrected: ``report`` corrects over all lines."""
    cells = {(row.field, row.arm, row.value): Cell(*row[3:]) for row in rows}
    lines = []
    for field, arm, value in cells:
        if arm == reference or (field, reference, value) not in cells:
            continue
        mine, world = ((cells[field, one, value], _others(cells, field, one, value)) for one in (arm, reference))
        if not mine[1].units or not world[1].units:
            continue
        lines.append(_line(arm, field, value, mine[0], excess_gap(mine, world, alpha=alpha)))
    return [line for line in lines if not _mirrors(line, lines)]


def _mirrors(line: GroupGap, lines: Sequence[GroupGap]) -> bool:
    """Whether a line says again what the other of two groups says: of two, the one that does worse is reported."""
    others = [other for other in lines if (other.arm, other.field) == (line.arm, line.field) and other is not line]
    return len(others) == 1 and (line.excess, line.group) > (others[0].excess, others[0].group)


def _others(cells: dict[tuple[str, str, str], Cell], field: str, arm: str, value: str) -> Cell:
    rest = [cell for (name, own, other), cell in cells.items() if (name, own) == (field, arm) and other != value]
    return reduce(Cell.plus, rest, NOTHING)


def _line(arm: str, field: str, value: str, cell: Cell, gap: Gap) -> GroupGap:
    return GroupGap(
        arm=arm,
        field=field,
        group=value,
        units=int(cell.units),
        reward=cell.mean,
        gap=gap.gap,
        reference_gap=gap.reference,
        excess=gap.excess,
        interval=document_of(gap.interval),
        p_value=gap.p_value,
        adjusted_p_value=None,
        differs=False,
    )


def calibration(
    connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
) -> list[GroupCalibration]:
    """Predicted against realised rewards of the logged choices by group; nothing where the log allows no predictions."""
    if not config.segments:
        return []
    try:
        window = windows.read(connection, settings, experiment, config)
    except DataError:  # a model version that decided cannot be read
        return []
    if window is None:
        return []
    early, late = window.table.split(TRAIN_SHARE)
    table = predict(early, late, (config.reward.min, config.reward.max))
    predicted = table[np.arange(len(late)), late.chosen]
    return [
        _calibrated(late, predicted, field, name, np.flatnonzero(groups.codes == code))
        for field, groups in windows.cuts(late, config.segments).items()
        for code, name in enumerate(groups.names)
    ]


def _calibrated(
    late: LogTable, predicted: FloatArray, field: str, name: str, rows: NDArray[np.int64]
) -> GroupCalibration:
    error = predicted[rows] - late.reward[rows]
    sums = unit_sums.mean_sums(error, late.unit[rows])
    value = float(error.mean())
    residual = sums.amount - value * sums.weight
    std_error = float(np.sqrt(residual @ residual)) / len(rows)
    interval = asymptotic(value, std_error, len(sums.weight), effective=unit_sums.kish(sums.weight), gate=GATE)
    return GroupCalibration(
        field=field,
        group=name,
        decisions=len(rows),
        predicted=float(predicted[rows].mean()),
        realised=float(late.reward[rows].mean()),
        interval=document_of(interval),
    )
