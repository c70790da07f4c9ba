"""Predicts rewards out of fold, and compares the predictions with what was earned."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.documents import CalibrationBin
from app.off_policy.log_table import LogTable
from bandits import reward_model
from experiments.off_policy.calibration import bins
from experiments.off_policy.folds import earlier_means

FOLDS = 4
MODEL_ROWS = 200  # rows before a fold from which a reward model is fitted
FloatArray = NDArray[np.float64]


class Fold(NamedTuple):
    """A part of the later rows, with a model of all rows before it."""

    rows: NDArray[np.int64]  # indexes into the later rows
    part: LogTable
    before: list[LogTable]
    model: bytes | None  # null: fewer than MODEL_ROWS rows come before


def folds(early: LogTable, late: LogTable, count: int = FOLDS) -> Iterator[Fold]:
    """Cut the later rows into parts by time, and fit a model on all rows before each."""
    lines, rewards, before = early.chosen_lines(), list(early.reward), [early]
    for rows in late.blocks(count):
        part = late.take(rows)
        model = reward_model.fit(lines, rewards) if len(lines) >= MODEL_ROWS else None
        yield Fold(rows, part, list(before), model)
        lines += part.chosen_lines()
        rewards += list(part.reward)
        before.append(part)


def predict(early: LogTable, late: LogTable, bounds: tuple[float, float]) -> FloatArray:
    """Predicted reward of every eligible action of the later rows, shape (n, K).

    The model of each fold is fitted on all rows before the fold. With few rows before it, each action's mean over the
    rows before the row takes the model's place.
    """
    predictions = np.zeros_like(late.logged)
    for fold in folds(early, late):
        predictions[fold.rows] = predicted(fold, bounds)
    return predictions


def predicted(fold: Fold, bounds: tuple[float, float]) -> FloatArray:
    """Predicted reward of every eligible action of a fold's rows, shape (rows, K)."""
    part, table = fold.part, np.zeros_like(fold.part.logged)
    sizes = [len(logged.eligible) for logged in part.rows]
    if fold.model is None:
        flat = _earlier_means([*fold.before, part])[-sum(sizes) :]
    else:
        flat = reward_model.predict(fold.model, part.all_lines(), *bounds)
    start = 0
    for row, size in enumerate(sizes):
        table[row, :size] = flat[start : start + size]
        start += size
    return table


def calibration(late: LogTable, predictions: FloatArray, bounds: tuple[float, float]) -> list[CalibrationBin]:
    """Predicted against realised rewards of the logged choices, in bins of the prediction."""
    predicted = predictions[np.arange(len(late)), late.chosen]
    return [
        CalibrationBin(
            decisions=part.rows,
            predicted=part.predicted,
            realised=part.realised,
            interval=document_of(part.interval),
        )
        for part in bins(predicted, late.reward, late.clusters, bounds)
    ]


def _earlier_means(parts: list[LogTable]) -> FloatArray:
    """The mean reward of every eligible action over earlier rows, row by row, over consecutive parts of the log."""
    rows = [row for part in parts for row in part.rows]
    rewards = np.concatenate([part.reward for part in parts])
    means = earlier_means(rewards.tolist(), [row.eligible[row.chosen] for row in rows], [row.eligible for row in rows])
    return np.concatenate([np.array(row) for row in means])
