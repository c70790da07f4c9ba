"""DataFrames in and out, for notebooks: labels instead of codes, and one row of a table for each line of a report.

The functions only turn columns into arrays; `experiments.ab_report` and `experiments.policy_reports` compute. This module must
never choose a metric, a control or an estimator.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from experiments.ab_report import Metric, compare_variants
from experiments.arms.arm_cells import Kind
from experiments.policy_reports.report import NO_ASSUMPTIONS, Assumptions, evaluate_rows
from experiments.validation import DataError, FloatArray, IntArray


def compare(
    frame: pd.DataFrame, variant: str, control: Hashable, metrics: Mapping[str, Kind], *, alpha: float = 0.05
) -> pd.DataFrame:
    """One line for each metric and variant: the difference to control, its interval, and the always-valid one.

    :param frame: one row per unit.
    :param variant: the column with each unit's variant, of any labels.
    :param metrics: by column, its kind: mean, proportion or count.
    :raises DataError: a column, a label or a value cannot be used; the message says which.
    """
    codes, labels = _codes(frame, variant)
    if control not in labels:
        raise DataError(f"{variant} has no {control!r}", fix=f"name one of {labels}")
    columns = [Metric(name, kind, _numbers(frame, name)) for name, kind in metrics.items()]
    report = compare_variants(codes, len(labels), labels.index(control), columns, alpha=alpha)
    lines = []
    for line in report.lines:
        found, always = line.comparison, line.always_valid
        lines.append(
            {
                "metric": line.metric,
                "variant": labels[line.variant],
                "difference": None if found is None else found.difference,
                "low": None if found is None else found.interval.low,
                "high": None if found is None else found.interval.high,
                "p_value": None if found is None else found.p_value,
                "adjusted_p": line.adjusted_p,
                "always_low": None if always is None else always.interval.low,
                "always_high": None if always is None else always.interval.high,
                "sample_ratio_p": report.sample_ratio.p_value,
                "reason": line.reason,
            }
        )
    return pd.DataFrame(lines)


def evaluate(
    frame: pd.DataFrame,
    *,
    propensity: str = "propensity",
    target: str = "target",
    reward: str = "reward",
    unit: str | None = None,
    assumptions: Assumptions = NO_ASSUMPTIONS,
) -> pd.DataFrame:
    """One line for each estimator of a policy's value on a log, with the verdict on the log beside it.

    :param frame: one row per decision, in time order.
    :param propensity: the column with the logged probability of the logged action.
    :param target: the column with the policy's own probability of that action.
    :param unit: the column that clusters the errors, of any labels; None: each decision is its own unit.
    :raises DataError: a column or a value cannot be used; the message says which.
    """
    codes = None if unit is None else _codes(frame, unit)[0]
    columns = [_numbers(frame, name) for name in (propensity, target, reward)]
    report = evaluate_rows(*columns, unit=codes, assumptions=assumptions)
    lines = [
        {
            "estimator": name,
            "value": line.value,
            "std_error": line.std_error,
            "leads": name == report.headline.estimator,
            "verdict": report.verdict.status,
        }
        for name, line in report.estimators.items()
    ]
    return pd.DataFrame(lines)


def _column(frame: pd.DataFrame, name: str) -> pd.Series:
    if name not in frame.columns:
        raise DataError(f"the frame has no column {name!r}", fix=f"name one of {[*map(str, frame.columns)]}")
    return frame[name]


def _numbers(frame: pd.DataFrame, name: str) -> FloatArray:
    column = _column(frame, name)
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"column {name!r} holds something that is not a number", fix="pass numbers only") from None


def _codes(frame: pd.DataFrame, name: str) -> tuple[IntArray, list[Hashable]]:
    """The codes of a column's labels, and the labels in the order of their codes."""
    codes, labels = pd.factorize(_column(frame, name), sort=True)
    if (codes < 0).any():
        raise DataError(f"column {name!r} has no label", fix="drop the row", row=int(np.argmax(codes < 0)))
    return np.asarray(codes, dtype=np.int64), [*labels.tolist()]
