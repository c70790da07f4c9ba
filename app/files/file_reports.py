"""Reports about a file of rows, without any server: file in, report objects and plain JSON values out.

Reading is `app.files.file_columns`, statistics is `experiments`. This module must never touch a
database or a network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from app.files.file_columns import FileReportError, Place, read_columns
from experiments import ab_report, report
from experiments.comparison import Comparison
from experiments.planning import Kind
from experiments.report_lines import EstimatorReport
from experiments.results import Interval
from experiments.validation import DataError, FloatArray

__all__ = [
    "CompareRequest",
    "EvaluateRequest",
    "FileReportError",
    "compare_file",
    "comparison_document",
    "evaluate_file",
    "evaluation_document",
]

METRIC = re.compile(r"([^=]+)=(mean|proportion|count|ratio|quantile)(?:\(([0-9.]+)\))?:(.+)")


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
        # The pure functions speak of roles; the reader of a file looks for its column.
        for role, name in roles.items():
            if error.problem.startswith(f"{role} is "):
                error.problem = f"{role} (column {name}){error.problem.removeprefix(role)}"
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


class CompareRequest(NamedTuple):
    """What `loopwise compare` was asked."""

    variant: str
    """Column that names each unit's variant."""
    metrics: tuple[str, ...]
    """NAME=mean:COLUMN, NAME=proportion:COLUMN, NAME=count:COLUMN, NAME=ratio:NUM/DEN, NAME=quantile(0.9):COLUMN."""
    covariates: tuple[str, ...] = ()
    """NAME=COLUMN (NAME=NUM/DEN for ratios), or without NAME= for every metric of that form."""
    control: str | None = None
    """Label of the control; None takes "control" if there is one, else the first label in order."""
    shares: str | None = None
    """Intended shares: LABEL=SHARE,... ; None is equal."""
    alpha: float = 0.05
    """1 - confidence level."""


class _Spec(NamedTuple):
    name: str
    kind: Kind
    columns: tuple[str, ...]
    quantile: float | None
    covariate: tuple[str, ...]


def compare_file(path: Path, request: CompareRequest) -> dict[str, object]:
    """The A/B report of a CSV or Parquet file of units, as plain JSON values. Raises `FileReportError`."""
    specs = _specs(request)
    names = list(dict.fromkeys(c for spec in specs for c in (*spec.columns, *spec.covariate)))
    columns = read_columns(path, names, [request.variant])
    labels = columns.labels[request.variant]
    order = sorted(range(len(labels)), key=lambda code: _label_key(labels[code]))
    rank = np.argsort(np.array(order))
    ordered = [labels[code] for code in order]
    metrics = [_metric(spec, columns.numbers) for spec in specs]
    shares = _shares(request.shares, ordered)
    control = _control(request.control, ordered)
    try:
        found = ab_report.compare_variants(
            rank[columns.codes[request.variant]], len(ordered), control, metrics, shares=shares, alpha=request.alpha
        )
    except DataError as error:
        raise located(path, error, columns.place) from error
    return comparison_document(found, ordered)


def _specs(request: CompareRequest) -> list[_Spec]:
    if not request.metrics:
        raise FileReportError("No metric is given: pass at least one, such as --metric revenue=mean:revenue.")
    specs = [_spec(text) for text in request.metrics]
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise FileReportError("Two metrics have the same name: give each its own.")
    for text in request.covariates:
        name, _, rest = text.rpartition("=")
        columns = tuple(rest.split("/"))
        if name and name not in names:
            raise FileReportError(f"The covariate {text} names no metric: choose one of {', '.join(names)}.")
        for index, spec in enumerate(specs):
            if spec.name == name or (not name and len(columns) == len(spec.columns) and spec.kind != "quantile"):
                if len(columns) != len(spec.columns) or spec.kind == "quantile":
                    raise FileReportError(
                        f"The covariate {text} does not fit a {spec.kind}: ratios take NUM/DEN, means and proportions "
                        "one column, quantiles none."
                    )
                specs[index] = spec._replace(covariate=columns)
    return specs


def _spec(text: str) -> _Spec:
    match = METRIC.fullmatch(text)
    if match is None:
        raise FileReportError(
            f"The metric {text!r} is not understood: write NAME=mean:COLUMN, proportion:COLUMN, count:COLUMN, "
            "ratio:NUM/DEN or quantile(0.9):COLUMN."
        )
    name, word, level, rest = match.groups()
    kind = cast(Kind, word)
    columns = tuple(rest.split("/", 1)) if kind == "ratio" else (rest,)
    if (kind == "ratio") != (len(columns) == 2) or (kind == "quantile") != (level is not None):
        raise FileReportError(f"The metric {text!r} is incomplete: ratios need NUM/DEN, quantiles a level like (0.9).")
    quantile = float(level) if level is not None else None
    if quantile is not None and not 0 < quantile < 1:
        raise FileReportError(f"The metric {text!r} asks for quantile {level}: give a level between 0 and 1.")
    return _Spec(name, kind, columns, quantile, ())


def _metric(spec: _Spec, numbers: dict[str, FloatArray]) -> ab_report.Metric:
    values = [numbers[column] for column in spec.columns]
    before = [numbers[column] for column in spec.covariate]
    return ab_report.Metric(
        spec.name,
        spec.kind,
        values[0],
        values[1] if len(values) > 1 else None,
        spec.quantile,
        before[0] if before else None,
        before[1] if len(before) > 1 else None,
    )


def _label_key(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def _control(wanted: str | None, labels: list[str]) -> int:
    if wanted is None:
        return labels.index("control") if "control" in labels else 0
    if wanted not in labels:
        raise FileReportError(f"No unit has the variant {wanted}: choose the control among {', '.join(labels[:30])}.")
    return labels.index(wanted)


def _shares(text: str | None, labels: list[str]) -> list[float] | None:
    if text is None:
        return None
    try:
        given = {label: float(share) for label, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise FileReportError(f"The shares {text!r} are not understood: write LABEL=SHARE,LABEL=SHARE.") from None
    if set(given) != set(labels):
        raise FileReportError(f"The shares name other variants than the file: name each of {', '.join(labels[:30])}.")
    return [given[label] for label in labels]


def comparison_document(found: ab_report.ABReport, labels: list[str]) -> dict[str, object]:
    """The A/B report as plain JSON values: what `loopwise compare --json` prints."""
    ratio = found.sample_ratio
    return {
        "rows": found.units,
        "control": labels[found.control],
        "variants": dict(zip(labels, found.counts, strict=True)),
        "alpha": found.alpha,
        "srm": {
            "chi2": ratio.chi2,
            "p_value": ratio.p_value,
            "alert": ratio.alert,
            "expected": dict(zip(labels, ratio.expected, strict=True)),
        },
        "metrics": [_comparison_line(line, labels) for line in found.lines],
        "assumptions": [
            "one row per unit, units assigned by fixed randomisation (not by a bandit)",
            "interval and p_value hold for one look at a size fixed beforehand; always_valid at every look",
            "p_adjusted is Holm's over all lines",
        ],
    }


def _comparison_line(line: ab_report.Line, labels: list[str]) -> dict[str, object]:
    out: dict[str, object] = {
        "metric": line.metric,
        "kind": line.kind,
        "variant": labels[line.variant],
        "p_adjusted": line.adjusted_p,
        "reason": line.reason,
    }
    out |= _comparison_values(line.comparison)
    sequence = line.always_valid
    out["always_valid"] = (
        None if sequence is None else {"interval": _ends(sequence.interval), "p_value": sequence.p_value}
    )
    out["cuped"] = None
    if line.cuped is not None:
        out["cuped"] = {
            "theta": line.cuped.theta,
            "correlation": line.cuped.correlation,
            "variance_ratio": line.cuped.variance_ratio,
        }
        out["unadjusted"] = _comparison_values(line.unadjusted)
    return out


def _comparison_values(found: Comparison | None) -> dict[str, object]:
    if found is None:
        return {}
    return {
        "control": found.control.value,
        "treatment": found.treatment.value,
        "difference": found.difference,
        "std_error": found.std_error,
        "statistic": found.statistic,
        "p_value": found.p_value,
        "interval": _ends(found.interval),
        "relative_lift": found.relative_lift,
        "relative_interval": _ends(found.relative_interval),
        "interval_reason": found.interval.reason or found.relative_interval.reason,
        "method": found.method,
    }


def _ends(interval: Interval) -> list[float] | None:
    if interval.low is None or interval.high is None:
        return None
    return [interval.low, interval.high]
