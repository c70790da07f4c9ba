"""The A/B report of a file of units, as plain JSON values. It needs no server.

`app.files.file_columns` reads the file, `experiments.ab_report` computes the statistics. This module must never use a
database or a network.
"""

from __future__ import annotations

import re
from math import isinf
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from app.files.file_columns import TextStyle, located, read_columns, refuse_extremes
from app.files.refused import FileRefused
from app.files.values import number_of
from experiments import ab_report
from experiments.arms.arm_cells import Kind
from experiments.arms.comparison import Comparison
from experiments.results import Interval
from experiments.validation import DataError, FloatArray

METRIC = re.compile(r"([^=]+)=(mean|proportion|count|ratio|quantile)(?:\(([0-9.]+)\))?:(.+)")


class CompareRequest(NamedTuple):
    """The options of `loopwise compare`."""

    variant: str
    """The column with each unit's variant."""
    metrics: tuple[str, ...]
    """NAME=mean:COLUMN, NAME=proportion:COLUMN, NAME=count:COLUMN, NAME=ratio:NUM/DEN, NAME=quantile(0.9):COLUMN."""
    covariates: tuple[str, ...] = ()
    """NAME=COLUMN (NAME=NUM/DEN for ratios). Without NAME= it applies to every metric of that form."""
    control: str | None = None
    """The label of the control. None takes "control" if the file has it, or else the first label in order."""
    shares: str | None = None
    """The intended shares, as LABEL=SHARE,... None means equal shares."""
    looks: str | None = None
    """Information fractions of the planned looks up to this look, such as 0.25,0.5. None: no looks are planned."""
    alpha: float = 0.05
    """1 - confidence level."""
    delimiter: str = ","
    """Between the cells of a CSV file."""
    decimal: str = "."
    """The decimal mark of a CSV file's numbers."""


class _Spec(NamedTuple):
    name: str
    kind: Kind
    columns: tuple[str, ...]
    quantile: float | None
    covariate: tuple[str, ...]


def compare_file(path: Path, request: CompareRequest) -> dict[str, object]:
    """Return the A/B report of a CSV or Parquet file of units, as plain JSON values.

    :raises FileRefused: the file or an option cannot be used.
    """
    specs = _specs(request)
    names = list(dict.fromkeys(c for spec in specs for c in (*spec.columns, *spec.covariate)))
    columns = read_columns(path, names, [request.variant], TextStyle(request.delimiter, request.decimal))
    refuse_extremes(path, columns, names)
    labels = columns.labels[request.variant]
    order = sorted(range(len(labels)), key=lambda code: _label_key(labels[code]))
    rank = np.argsort(np.array(order))
    ordered = [labels[code] for code in order]
    metrics = [_metric(spec, columns.numbers) for spec in specs]
    shares = _shares(request.shares, ordered)
    control = _control(request.control, ordered)
    variant = rank[columns.codes[request.variant]]
    looks = _looks(request.looks)
    try:
        report = ab_report.compare_variants(
            variant, len(ordered), control, metrics, shares=shares, looks=looks, alpha=request.alpha
        )
    except DataError as error:
        raise located(path, error, columns.position) from error
    return comparison_document(report, ordered, looks)


def _specs(request: CompareRequest) -> list[_Spec]:
    if not request.metrics:
        raise FileRefused("No metric is given: pass at least one, such as --metric revenue=mean:revenue.")
    specs = [_spec(text) for text in request.metrics]
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise FileRefused("Two metrics have the same name: give each its own.")
    for text in request.covariates:
        name, _, rest = text.rpartition("=")
        columns = tuple(rest.split("/"))
        if name and name not in names:
            raise FileRefused(f"The covariate {text} names no metric: choose one of {', '.join(names)}.")
        for index, spec in enumerate(specs):
            if spec.name == name or (not name and len(columns) == len(spec.columns) and spec.kind != "quantile"):
                if len(columns) != len(spec.columns) or spec.kind == "quantile":
                    raise FileRefused(
                        f"The covariate {text} does not fit a {spec.kind}: ratios take NUM/DEN, means and proportions "
                        "one column, quantiles none."
                    )
                specs[index] = spec._replace(covariate=columns)
    return specs


def _spec(text: str) -> _Spec:
    match = METRIC.fullmatch(text)
    if match is None:
        raise FileRefused(
            f"The metric {text!r} is not understood: write NAME=mean:COLUMN, proportion:COLUMN, count:COLUMN, "
            "ratio:NUM/DEN or quantile(0.9):COLUMN."
        )
    name, word, level, rest = match.groups()
    kind = cast(Kind, word)
    columns = tuple(rest.split("/", 1)) if kind == "ratio" else (rest,)
    if (kind == "ratio") != (len(columns) == 2) or (kind == "quantile") != (level is not None):
        raise FileRefused(f"The metric {text!r} is incomplete: ratios need NUM/DEN, quantiles a level like (0.9).")
    quantile = float(level) if level is not None else None
    if quantile is not None and not 0 < quantile < 1:
        raise FileRefused(f"The metric {text!r} asks for quantile {level}: give a level between 0 and 1.")
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
    number = number_of(label)
    return (1, 0.0, label) if number is None else (0, number, label)


def _control(wanted: str | None, labels: list[str]) -> int:
    if wanted is None:
        return labels.index("control") if "control" in labels else 0
    if wanted not in labels:
        raise FileRefused(f"No unit has the variant {wanted}: choose the control among {', '.join(labels[:30])}.")
    return labels.index(wanted)


def _shares(text: str | None, labels: list[str]) -> list[float] | None:
    if text is None:
        return None
    try:
        given = {label: float(share) for label, share in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise FileRefused(f"The shares {text!r} are not understood: write LABEL=SHARE,LABEL=SHARE.") from None
    if set(given) != set(labels):
        raise FileRefused(f"The shares name other variants than the file: name each of {', '.join(labels[:30])}.")
    return [given[label] for label in labels]


def _looks(text: str | None) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise FileRefused(f"The looks {text!r} are not understood: write fractions such as 0.25,0.5.") from None


def comparison_document(report: ab_report.ABReport, labels: list[str], looks: tuple[float, ...]) -> dict[str, object]:
    """Return the A/B report as plain JSON values, as `loopwise compare --json` prints them."""
    planned = ["planned_look holds over all planned looks of its line, and is not corrected for several lines"]
    ratio = report.sample_ratio
    return {
        "rows": report.units,
        "control": labels[report.control],
        "variants": dict(zip(labels, report.counts, strict=True)),
        "alpha": report.alpha,
        "srm": {
            "chi2": ratio.chi2,
            "p_value": ratio.p_value,
            "alert": ratio.alert,
            "expected": dict(zip(labels, ratio.expected, strict=True)),
        },
        "metrics": [_comparison_line(line, labels) | _planned_look(line, looks) for line in report.lines],
        "assumptions": [
            "one row per unit, units assigned by fixed randomisation (not by a bandit)",
            "interval and p_value hold for one look at a size fixed beforehand; always_valid at every look",
            "p_adjusted is Holm's over all lines",
            *(planned if looks else []),
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


def _planned_look(line: ab_report.Line, looks: tuple[float, ...]) -> dict[str, object]:
    if not looks:
        return {}
    look = line.planned_look
    if look is None:
        return {"planned_look": None}
    bound = None if isinf(look.bound) else look.bound
    described = {"z": look.z, "bound": bound, "reject": look.reject, "interval": _ends(look.interval)}
    return {"planned_look": described}


def _comparison_values(comparison: Comparison | None) -> dict[str, object]:
    if comparison is None:
        return {}
    return {
        "control": comparison.control.value,
        "treatment": comparison.treatment.value,
        "difference": comparison.difference,
        "std_error": comparison.std_error,
        "statistic": comparison.statistic,
        "p_value": comparison.p_value,
        "interval": _ends(comparison.interval),
        "relative_lift": comparison.relative_lift,
        "relative_interval": _ends(comparison.relative_interval),
        "interval_reason": comparison.interval.reason or comparison.relative_interval.reason,
        "method": comparison.method,
    }


def _ends(interval: Interval) -> list[float] | None:
    if interval.low is None or interval.high is None:
        return None
    return [interval.low, interval.high]
