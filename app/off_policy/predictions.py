"""Predicts rewards out of fold, and compares the predictions with what was earned."""

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


def predict(early: LogTable, late: LogTable, bounds: tuple[float, float]) -> FloatArray:
    """Predicted reward of every eligible action of the later rows, shape (n, K).

    The model of each fold is fitted on all rows before the fold. With few rows before it, each action's mean over the
    rows before the row takes the model's place.
    """
    predictions = np.zeros_like(late.logged)
    lines, rewards, before = early.chosen_lines(), list(early.reward), [early]
    for rows in late.blocks(FOLDS):
        part = late.take(rows)
        sizes = [len(logged.eligible) for logged in part.rows]
        if len(lines) < MODEL_ROWS:
            flat = _earlier_means([*before, part])[-sum(sizes) :]
        else:
            flat = reward_model.predict(reward_model.fit(lines, rewards), part.all_lines(), *bounds)
        start = 0
        for row, size in zip(rows, sizes, strict=True):
            predictions[row, :size] = flat[start : start + size]
            start += size
        lines += part.chosen_lines()
        rewards += list(part.reward)
        before.append(part)
    return predictions


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
