"""The off-policy report of a file of decisions, as plain JSON values. It needs no server.

`app.files.file_columns` reads the file, `experiments.policy_reports.report` and `experiments.off_policy.adaptive` compute the
statistics. This module must never use a database or a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.files.file_columns import Columns, TextStyle, located, read_columns, refuse_extremes
from app.files.log_columns import ACTION, COUNT, PROPENSITY, REWARD, TARGET, UNIT, Names, is_log, log_columns
from app.files.refused import FileRefused
from app.files.streams import beginning
from experiments.off_policy.adaptive import ActionValue, WeightedEstimate, action_values
from experiments.off_policy.verdict_words import sentences
from experiments.policy_reports.report import Assumptions, ModelColumns, OffPolicyReport, evaluate_rows
from experiments.policy_reports.report_lines import EstimatorReport
from experiments.results import Interval
from experiments.validation import DISTRIBUTION_TOLERANCE, DataError, refuse_first


class EvaluateRequest(NamedTuple):
    """The options of `loopwise evaluate`: names of columns, and the assumptions of a report."""

    propensity: str | None = None
    target_probability: str | None = None
    reward: str | None = None
    target: str | None = None
    """Of a log: the policy to value, uniform or fixed:ACTION."""
    q: str | None = None
    v: str | None = None
    unit: str | None = None
    action: str | None = None
    """The column of the logged action; values by action need it."""
    probabilities: str | None = None
    """Columns of the logged distribution: ACTION=COLUMN,ACTION=COLUMN. The others are compared with the first action."""
    max_weight: float | None = None
    possible_weight: str | None = None
    """The column of the largest weight that any action of the row could have had."""
    reward_range: tuple[float, float] | None = None
    switch_tau: float | None = None
    shrinkage_lambda: float | None = None
    clip: float | None = None
    alpha: float = 0.05
    delimiter: str = ","
    """Between the cells of a CSV file."""
    decimal: str = "."
    """The decimal mark of a CSV file's numbers."""


class Evaluation(NamedTuple):
    """The estimated value of a target policy, and of each action."""

    report: OffPolicyReport
    actions: dict[str, ActionValue] | None
    """By action; None unless the request names the columns of the logged distribution."""


def evaluate_file(path: Path, request: EvaluateRequest) -> Evaluation:
    """Return the off-policy report of a table (CSV or Parquet) with named columns, or of a log, which is read as an import is.

    :raises FileRefused: the file or an option cannot be used.
    """
    if (request.q is None) != (request.v is None):
        raise FileRefused("Only one of --q and --v is given: pass both columns of the reward model, or neither.")
    style = TextStyle(request.delimiter, request.decimal)
    beginning(path)
    if is_log(path, request.target):
        columns, distribution = _log(path, request, style)
        request = request._replace(
            propensity=PROPENSITY,
            target_probability=TARGET,
            reward=REWARD,
            unit=UNIT if UNIT in columns.codes else None,
            action=ACTION if ACTION in columns.codes else None,
        )
    else:
        columns, distribution = _table(path, request, style)
    refuse_extremes(path, columns, [name for name in (request.reward, request.q, request.v) if name is not None])
    return _evaluation(path, request, columns, distribution)


def _log(path: Path, request: EvaluateRequest, style: TextStyle) -> tuple[Columns, dict[str, str]]:
    for option in ("target_probability", "q", "v", "possible_weight", "probabilities"):
        if getattr(request, option) is not None:
            text = f"--{option.replace('_', '-')}"
            raise FileRefused(
                f"{path.name} is a log, for which there is no {text}: give --target, or a table (CSV, Parquet)."
            )
    names = Names(request.propensity, request.reward, request.unit, request.action)
    return log_columns(path, request.target or "uniform", names, style)


def _table(path: Path, request: EvaluateRequest, style: TextStyle) -> tuple[Columns, dict[str, str]]:
    for option in ("propensity", "target_probability", "reward"):
        if getattr(request, option) is None:
            raise FileRefused(f"{path.name}: name the column with --{option.replace('_', '-')}; logs need no names.")
    if (request.action is None) != (request.probabilities is None):
        raise FileRefused("Only one of --action and --probabilities is given: values by action need both.")
    distribution = _distribution(request.probabilities)
    names = [*_roles(request).values(), *distribution.values()]
    texts = [name for name in (request.unit, request.action) if name is not None]
    numbers = list(dict.fromkeys(name for name in names if name is not None))
    return read_columns(path, numbers, texts, style), distribution


def _roles(request: EvaluateRequest) -> dict[str, str | None]:
    return {
        "propensity": request.propensity,
        "target probability": request.target_probability,
        "reward": request.reward,
        "q": request.q,
        "v": request.v,
        "possible weight": request.possible_weight,
    }


def _evaluation(path: Path, request: EvaluateRequest, columns: Columns, distribution: dict[str, str]) -> Evaluation:
    try:
        report = _report(request, columns)
        actions = None if request.action is None else _by_action(request, distribution, columns)
    except DataError as error:
        # The error of a pure function names a role; people need the name of the column.
        for role, name in _roles(request).items():
            if error.problem.startswith(f"{role} is "):
                error.problem = f"{role} (column {name}){error.problem.removeprefix(role)}"
        raise located(path, error, columns.position) from error
    return Evaluation(report, actions)


def _report(request: EvaluateRequest, columns: Columns) -> OffPolicyReport:
    numbers = columns.numbers
    model = None
    if request.q is not None and request.v is not None:
        model = ModelColumns(numbers[request.q], numbers[request.v])
    return evaluate_rows(
        numbers[str(request.propensity)],
        numbers[str(request.target_probability)],
        numbers[str(request.reward)],
        model=model,
        unit=None if request.unit is None else columns.codes[request.unit],
        assumptions=Assumptions(
            request.alpha,
            request.max_weight,
            request.reward_range,
            request.clip,
            request.switch_tau,
            request.shrinkage_lambda,
            None if request.possible_weight is None else numbers[request.possible_weight],
            numbers.get(COUNT),
        ),
    )


def _distribution(text: str | None) -> dict[str, str]:
    """Return the names of the columns by action, in the order of the option."""
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
    propensity = columns.numbers[str(request.propensity)]
    own = probabilities[np.arange(len(chosen)), chosen]
    refuse_first(
        np.abs(own - propensity) > DISTRIBUTION_TOLERANCE,
        propensity,
        "propensity is {value}",
        "the column of probabilities of the logged action says otherwise; find out which is right",
    )
    unit = None if request.unit is None else columns.codes[request.unit]
    values = action_values(columns.numbers[str(request.reward)], chosen, probabilities, request.alpha, unit)
    return dict(zip(order, values, strict=True))


def evaluation_document(evaluation: Evaluation) -> dict[str, object]:
    """Return the report as plain JSON values, as `loopwise evaluate --json` prints them, without NaN and infinity."""
    report = evaluation.report
    settings = report.settings
    actions: dict[str, object] = {}
    if evaluation.actions is not None:
        actions["actions"] = {name: _action_document(value) for name, value in evaluation.actions.items()}
    return {
        "rows": report.rows,
        "units": report.units,
        "mean_weight": report.mean_weight,
        "mean_weight_z": report.weight_z,
        "effective_sample_size": report.effective_sample_size,
        "effective_units": report.effective_units,
        "max_weight": report.max_weight,
        "logged_value": report.logged_value,
        "verdict": {
            "status": str(report.verdict.status),
            "reasons": sentences(report.verdict.reasons),
            "codes": [reason.code for reason in report.verdict.reasons],
            "params": [reason.params for reason in report.verdict.reasons],
        },
        "headline": _headline_document(report),
        "lift": _line_document(report.lift),
        "detectable_lift": report.detectable_lift,
        "estimators": {name: _line_document(line) for name, line in report.estimators.items()},
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


def _headline_document(report: OffPolicyReport) -> dict[str, object]:
    """What the report leads with; without figures when the verdict refuses them."""
    lead = report.headline
    shown = report.verdict.identified
    return {
        "estimator": lead.estimator,
        "value": lead.value if shown else None,
        "always_valid": _ends(lead.always_valid) if shown else None,
        "always_valid_note": lead.always_valid.note or lead.always_valid.reason,
        "one_look": _ends(lead.one_look) if shown else None,
        "one_look_method": lead.one_look_method,
        "one_look_note": lead.one_look.note or lead.one_look.reason,
    }


def _ends(interval: Interval) -> list[float | None] | None:
    return [interval.low, interval.high] if interval.exists else None


def _action_document(action: ActionValue) -> dict[str, object]:
    return {
        **_weighted(action.value),
        "minus_first": None if action.minus_first is None else _weighted(action.minus_first),
    }


def _weighted(estimate: WeightedEstimate) -> dict[str, object]:
    interval = estimate.interval
    return {
        "value": estimate.value,
        "std_error": estimate.std_error,
        "interval": [interval.low, interval.high] if interval.exists else None,
        "note": interval.note or interval.reason,
    }


def _line_document(line: EstimatorReport) -> dict[str, object]:
    available = {name: interval for name, interval in line.intervals.items() if interval.exists}
    return {
        "value": line.value,
        "std_error": line.std_error if line.std_error is not None and np.isfinite(line.std_error) else None,
        "intervals": {name: [interval.low, interval.high] for name, interval in available.items()},
        "not_available": {name: i.reason for name, i in line.intervals.items() if not i.exists},
        "notes": {name: interval.note for name, interval in available.items() if interval.note},
        "estimand": line.estimand,
        "reason": line.reason,
    }


def _assumptions(evaluation: Evaluation) -> list[str]:
    report = evaluation.report
    low, high = report.settings.reward_range
    out = [
        "propensities are the true probabilities of the logged choices, and a reward depends on its own decision only",
        "the target policy and the reward model had not learned from the rows that they are valued on: a file cannot tell",
        "all intervals but the sequences hold for one look at a size fixed beforehand",
        "always_valid and confidence_sequence hold at every look, and take file order as time order",
    ]
    if not report.settings.range_declared:
        out.append(f"no --reward-range was declared: intervals that need one assume {low:g} to {high:g}")
    if report.settings.max_weight is None:
        out.append(
            "no --max-weight was declared: always_valid, Cressie-Read and likelihood allow any weight, Bernstein is missing"
        )
    if evaluation.actions is not None:
        out.append("values by action are adaptively weighted, hold for one look, and need a lasting exploration floor")
    return out
