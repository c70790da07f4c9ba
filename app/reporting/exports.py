"""Writes results and decisions as files of bounded size, for people to open. `loopwise export` writes whole, exact logs."""

from collections.abc import Iterator
from datetime import datetime
from typing import IO

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.files.store import transfer
from app.files.store.transfer import ExportedDecision
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.formats import spreadsheet
from app.foundation.formats.spreadsheet import Cell, Column, Page
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.reporting import results
from app.reporting.documents.results import ArmValue, ComparisonLine, MetricResults

KINDS = ("results", "decisions")
FORMATS = ("csv", "parquet")
MOST_ROWS = 100_000
MOST_BYTES = 200_000_000
PAGE_ROWS = 2000  # rows that one statement reads
_NUMBERS = {"policy_version": "integer", "config_version": "integer", "reward_events": "integer", "decided_at": "time"}
_NUMBERS |= {"arm_probability": "number", "propensity": "number", "reward": "number"}
DECISIONS = tuple(Column(name, _NUMBERS.get(name, "text")) for name in ExportedDecision._fields)
RESULTS = (
    *map(
        Column, ("experiment", "computed_at", "metric", "name", "role", "direction", "segment_field", "segment", "arm")
    ),
    *(Column(name, "integer") for name in ("units", "decisions")),
    *(Column(name, "number") for name in ("estimate", "std_error")),
    Column("control"),
    *(
        Column(name, "number")
        for name in (
            "difference",
            "difference_std_error",
            "peek_safe_low",
            "peek_safe_high",
            "fixed_low",
            "fixed_high",
            "relative_lift",
            "peek_safe_relative_low",
            "peek_safe_relative_high",
            "fixed_relative_low",
            "fixed_relative_high",
            "p_any_look",
            "p_any_look_adjusted",
            "p_one_look",
            "p_one_look_adjusted",
        )
    ),
    Column("adjustment"),
    *(Column(name, "number") for name in ("chance_to_win", "expected_loss", "guardrail_margin", "guardrail_p")),
    Column("reason"),
)


def write(
    engine: Engine,
    key: str,
    file: IO[bytes],
    *,
    kind: str,
    form: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """Write an experiment's results, or its newest decisions within a stretch of time; returns the number of rows.

    :param kind: one of ``KINDS``.
    :param form: one of ``FORMATS``.
    :raises NotFound: no such experiment.
    :raises Unprocessable: another kind or form.
    """
    for name, given, choices in (("kind", kind, KINDS), ("format", form, FORMATS)):
        if given not in choices:
            raise invalid((FieldError(f"/{name}", "not_a_choice", {"expected": [*choices]}),))
    if kind == "results":
        return spreadsheet.write(file, form, RESULTS, [_results(engine, key)])
    return spreadsheet.write(file, form, DECISIONS, _decisions(engine, key, file, since, until))


def _decisions(
    engine: Engine, key: str, file: IO[bytes], since: datetime | None, until: datetime | None
) -> Iterator[Page]:
    """Pages of decisions, newest first, by keyset: each statement reads one page, however long the log is."""
    with transaction(engine) as connection:
        experiment_id = stored_experiment(connection, key).id
    count, before = 0, None
    while count < MOST_ROWS and file.tell() < MOST_BYTES:
        most = min(PAGE_ROWS, MOST_ROWS - count)
        with transaction(engine) as connection:
            page = transfer.newest_page(connection, experiment_id, since=since, until=until, before=before, most=most)
        yield [tuple(row) for row in page]
        if len(page) < most:
            return
        count, before = count + len(page), (page[-1].decided_at, page[-1].decision_id)


def _results(engine: Engine, key: str) -> Page:
    """The newest stored results, with one row per metric, arm and segment."""
    with transaction(engine) as connection:
        config = ExperimentConfig.model_validate(stored_experiment(connection, key).config)
    rows = []
    for field in (None, *config.segments):
        stored = results.newest(engine, key, segment=field)
        if stored is None:
            continue
        for metric in stored.metrics:
            described: dict[str, Cell] = {
                "experiment": stored.experiment,
                "computed_at": stored.computed_at,
                "metric": metric.metric,
                "name": metric.name,
                "role": metric.role,
                "direction": metric.direction,
                "segment_field": field,
            }
            for arm, line in _pairs(metric):
                row = described | _cells(arm, line)
                rows.append(tuple(row.get(column.name) for column in RESULTS))
    return rows


def _pairs(metric: MetricResults) -> list[tuple[ArmValue | None, ComparisonLine | None]]:
    """Each arm with its comparison (the control has none), and each comparison of all segments together."""
    lines = {(line.arm, line.segment): line for line in metric.comparisons}
    pairs: list[tuple[ArmValue | None, ComparisonLine | None]]
    pairs = [(arm, lines.pop((arm.arm, arm.segment), None)) for arm in metric.arms]
    return [*pairs, *((None, line) for line in lines.values())]


def _cells(arm: ArmValue | None, line: ComparisonLine | None) -> dict[str, Cell]:
    of = arm or line
    cells: dict[str, Cell] = {"arm": of.arm, "segment": of.segment} if of else {}
    if arm:
        cells |= {
            "units": arm.units,
            "decisions": arm.decisions,
            "estimate": arm.value,
            "std_error": arm.std_error,
        }
    return cells | (_compared(line) if line else {})


def _compared(line: ComparisonLine) -> dict[str, Cell]:
    won, guard = line.chance_to_win, line.non_inferiority
    intervals = {
        "peek_safe": line.always_valid.interval,
        "fixed": line.interval,
        "peek_safe_relative": line.always_valid.relative_interval,
        "fixed_relative": line.relative_interval,
    }
    return {
        "control": line.control,
        "difference": line.difference,
        "difference_std_error": line.std_error,
        "relative_lift": line.relative_lift,
        "adjustment": line.adjustment,
        **{f"{name}_low": given.low for name, given in intervals.items()},
        **{f"{name}_high": given.high for name, given in intervals.items()},
        "p_any_look": line.running_p,
        "p_any_look_adjusted": line.adjusted_running_p,
        "p_one_look": line.p_value,
        "p_one_look_adjusted": line.adjusted_p_value,
        "chance_to_win": won.probability if won else None,
        "expected_loss": won.expected_loss if won else None,
        "guardrail_margin": guard.margin if guard else None,
        "guardrail_p": guard.p_value if guard else None,
        "reason": line.interval.reason or line.always_valid.interval.reason,
    }
