"""Reports about a file of rows, without any server: file in, report objects and plain JSON values out.

Reading is `app.services.file_columns`, statistics is `experiments`. This module must never touch a
database or a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from app.services.file_columns import FileReportError, Place, read_columns
from experiments import report
from experiments.report_lines import EstimatorReport
from experiments.validation import DataError

__all__ = ["EvaluateRequest", "FileReportError", "evaluate_file", "evaluation_document", "read_columns"]


class EvaluateRequest(NamedTuple):
    """What `loopwise evaluate` was asked. Columns by name, the rest as in `experiments.report.evaluate_rows`."""

    propensity: str
    target_probability: str
    reward: str
    q: str | None = None
    v: str | None = None
    unit: str | None = None
    max_weight: float | None = None
    reward_range: tuple[float, float] | None = None
    switch_tau: float | None = None
    shrinkage_lambda: float | None = None
    clip: float | None = None
    alpha: float = 0.05


def evaluate_file(path: Path, request: EvaluateRequest) -> report.OffPolicyReport:
    """The off-policy report of a CSV or Parquet file. Raises `FileReportError`."""
    if (request.q is None) != (request.v is None):
        raise FileReportError("Only one of --q and --v is given: pass both columns of the reward model, or neither.")
    roles = {
        "propensity": request.propensity,
        "target probability": request.target_probability,
        "reward": request.reward,
        "q": request.q,
        "v": request.v,
    }
    names = [name for name in roles.values() if name is not None]
    columns = read_columns(path, names, [] if request.unit is None else [request.unit])
    numbers = {role: columns.numbers[name] for role, name in roles.items() if name is not None}
    try:
        return report.evaluate_rows(
            numbers["propensity"],
            numbers["target probability"],
            numbers["reward"],
            q=numbers.get("q"),
            v=numbers.get("v"),
            unit=None if request.unit is None else columns.codes[request.unit],
            max_weight=request.max_weight,
            reward_range=request.reward_range,
            switch_tau=request.switch_tau,
            shrinkage_lambda=request.shrinkage_lambda,
            clip=request.clip,
            alpha=request.alpha,
        )
    except DataError as error:
        raise located(path, error, columns.place) from error


def located(path: Path, error: DataError, place: Place) -> FileReportError:
    """The file's own sentence for a `DataError`: rows become lines."""
    sentence = error.sentence(None if error.row is None else place.of(error.row))
    return FileReportError(f"{path.name}: {sentence}")


def evaluation_document(found: report.OffPolicyReport) -> dict[str, object]:
    """The report as plain JSON values: what `loopwise evaluate --json` prints. Never NaN, never infinite."""
    settings = found.settings
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
        "estimators": {name: _line_document(line) for name, line in found.estimators.items()},
        "settings": {
            "alpha": settings.alpha,
            "max_weight": settings.max_weight,
            "reward_range": list(settings.reward_range),
            "clip": settings.thresholds.clip,
            "switch_tau": settings.thresholds.switch_tau,
            "shrinkage_lambda": settings.thresholds.shrinkage_lambda,
        },
        "assumptions": _assumptions(found),
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


def _assumptions(found: report.OffPolicyReport) -> list[str]:
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
    return out
