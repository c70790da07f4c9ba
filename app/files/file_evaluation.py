"""The off-policy report of a file of decisions, without any server: file in, plain JSON values out.

Reading is `app.files.file_columns`, statistics is `experiments.report` and `experiments.adaptive`. This module must
never touch a database or a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.files.file_columns import Columns, located, read_columns
from app.files.refused import FileRefused
from experiments.adaptive import ActionValue, WeightedEstimate, action_values
from experiments.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.report_lines import EstimatorReport
from experiments.validation import DISTRIBUTION_TOLERANCE, DataError, refuse_first


class EvaluateRequest(NamedTuple):
    """What `loopwise evaluate` was asked. Columns by name, the rest as in `experiments.report.Assumptions`."""

    propensity: str
    target_probability: str
    reward: str
    q: str | None = None
    v: str | None = None
    unit: str | None = None
    action: str | None = None
    """Column of the logged action, for values by action."""
    probabilities: str | None = None
    """Columns of the logged distribution: ACTION=COLUMN,ACTION=COLUMN; the first action is the one compared with."""
    max_weight: float | None = None
    reward_range: tuple[float, float] | None = None
    switch_tau: float | None = None
    shrinkage_lambda: float | None = None
    clip: float | None = None
    alpha: float = 0.05


class Evaluation(NamedTuple):
    """What a file says about a target policy and about its actions."""

    report: OffPolicyReport
    actions: dict[str, ActionValue] | None
    """By action; None unless the request names the columns of the logged distribution."""


def evaluate_file(path: Path, request: EvaluateRequest) -> Evaluation:
    """The off-policy report of a CSV or Parquet file. Raises `FileRefused`."""
    if (request.q is None) != (request.v is None):
        raise FileRefused("Only one of --q and --v is given: pass both columns of the reward model, or neither.")
    if (request.action is None) != (request.probabilities is None):
        raise FileRefused("Only one of --action and --probabilities is given: values by action need both.")
    roles = {
        "propensity": request.propensity,
        "target probability": request.target_probability,
        "reward": request.reward,
        "q": request.q,
        "v": request.v,
    }
    distribution = _distribution(request.probabilities)
    names = [name for name in (*roles.values(), *distribution.values()) if name is not None]
    texts = [name for name in (request.unit, request.action) if name is not None]
    columns = read_columns(path, list(dict.fromkeys(names)), texts)
    try:
        report = _report(request, columns)
        actions = None if request.action is None else _by_action(request, distribution, columns)
    except DataError as error:
        # The pure functions speak of roles; the reader of a file looks for its column.
        for role, name in roles.items():
            if error.problem.startswith(f"{role} is "):
                error.problem = f"{role} (column {name}){error.problem.removeprefix(role)}"
        raise located(path, error, columns.place) from error
    return Evaluation(report, actions)


def _report(request: EvaluateRequest, columns: Columns) -> OffPolicyReport:
    numbers = columns.numbers
    model = None
    if request.q is not None and request.v is not None:
        model = ModelColumns(numbers[request.q], numbers[request.v])
    return evaluate_rows(
        numbers[request.propensity],
        numbers[request.target_probability],
        numbers[request.reward],
        model=model,
        unit=None if request.unit is None else columns.codes[request.unit],
        assumptions=Assumptions(
            request.alpha,
            request.max_weight,
            request.reward_range,
            request.clip,
            request.switch_tau,
            request.shrinkage_lambda,
        ),
    )


def _distribution(text: str | None) -> dict[str, str]:
    """Columns by action, in the order given."""
    if text is None:
        return {}
    pairs = [part.rpartition("=") for part in text.split(",")]
    named = {action: column for action, equals, column in pairs if action and equals and column}
    if len(named) != len(pairs) or len(named) == 1:
        raise FileRefused(f"The probabilities {text!r} are not understood: write ACTION=COLUMN,ACTION=COLUMN.")
    return named


def _by_action(request: EvaluateRequest, distribution: dict[str, str], columns: Columns) -> dict[str, ActionValue]:
    action = request.action or ""
    labels, order = columns.labels[action], list(distribution)
    for label in labels:
        if label not in distribution:
            raise DataError(f"the action {label} has no column of probabilities", fix="name it in --probabilities")
    chosen = np.array([order.index(label) for label in labels])[columns.codes[action]]
    probabilities = np.column_stack([columns.numbers[column] for column in distribution.values()])
    propensity = columns.numbers[request.propensity]
    own = probabilities[np.arange(len(chosen)), chosen]
    refuse_first(
        np.abs(own - propensity) > DISTRIBUTION_TOLERANCE,
        propensity,
        "propensity is {value}",
        "the column of probabilities of the logged action says otherwise; find out which is right",
    )
    unit = None if request.unit is None else columns.codes[request.unit]
    values = action_values(columns.numbers[request.reward], chosen, probabilities, request.alpha, unit)
    return dict(zip(order, values, strict=True))


def evaluation_document(evaluation: Evaluation) -> dict[str, object]:
    """The report as plain JSON values: what `loopwise evaluate --json` prints. Never NaN, never infinite."""
    found = evaluation.report
    settings = found.settings
    actions: dict[str, object] = {}
    if evaluation.actions is not None:
        actions["actions"] = {name: _action_document(value) for name, value in evaluation.actions.items()}
    return {
        "rows": found.rows,
        "units": found.units,
        "mean_weight": found.mean_weight,
        "mean_weight_z": found.weight_z,
        "effective_sample_size": found.effective_sample_size,
        "max_weight": found.max_weight,
        "logged_value": found.logged_value,
        "verdict": {
            "status": str(found.verdict.status),
            "reasons": [reason.sentence for reason in found.verdict.reasons],
            "codes": [reason.code for reason in found.verdict.reasons],
        },
        "lift": _line_document(found.lift),
        "detectable_lift": found.detectable_lift,
        "estimators": {name: _line_document(line) for name, line in found.estimators.items()},
        "settings": {
            "alpha": settings.alpha,
            "max_weight": settings.max_weight,
            "reward_range": list(settings.reward_range),
            "clip": settings.thresholds.clip,
            "switch_tau": settings.thresholds.switch_tau,
            "shrinkage_lambda": settings.thresholds.shrinkage_lambda,
        },
        "assumptions": _assumptions(evaluation),
        **actions,
    }


def _action_document(found: ActionValue) -> dict[str, object]:
    return {
        **_weighted(found.value),
        "minus_first": None if found.minus_first is None else _weighted(found.minus_first),
    }


def _weighted(found: WeightedEstimate) -> dict[str, object]:
    interval = found.interval
    return {
        "value": found.value,
        "std_error": found.std_error,
        "interval": [interval.low, interval.high] if interval.exists else None,
        "note": interval.note or interval.reason,
    }


def _line_document(line: EstimatorReport) -> dict[str, object]:
    there = {name: interval for name, interval in line.intervals.items() if interval.exists}
    return {
        "value": line.value,
        "std_error": line.std_error,
        "intervals": {name: [interval.low, interval.high] for name, interval in there.items()},
        "not_available": {name: i.reason for name, i in line.intervals.items() if not i.exists},
        "notes": {name: interval.note for name, interval in there.items() if interval.note},
        "estimand": line.estimand,
        "reason": line.reason,
    }


def _assumptions(evaluation: Evaluation) -> list[str]:
    found = evaluation.report
    low, high = found.settings.reward_range
    out = [
        "propensities are the true probabilities of the logged choices, and a reward depends on its own decision only",
        "all intervals but the sequences hold for one look at a size fixed beforehand",
        "confidence_sequence and betting hold at every look, and take file order as time order",
    ]
    if not found.settings.range_declared:
        out.append(f"no --reward-range was declared: intervals that need one assume {low:g} to {high:g}")
    if found.settings.max_weight is None:
        out.append("no --max-weight was declared: Cressie-Read and likelihood allow any weight, Bernstein is missing")
    if evaluation.actions is not None:
        out.append("values by action are adaptively weighted, hold for one look, and need a lasting exploration floor")
    return out
