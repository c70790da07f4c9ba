"""Results and decisions as files to take along: what people open, bounded. `loopwise export` writes whole logs, exactly."""

from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

from sqlalchemy import Engine

from app.design.experiment_config import ExperimentConfig
from app.files.store import transfer
from app.files.store.transfer import ExportedDecision
from app.foundation import spreadsheet
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.spreadsheet import Column, Page
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.reporting import results

KINDS = ("results", "decisions")
FORMATS = ("csv", "parquet")
MOST_ROWS = 100_000
MOST_BYTES = 200_000_000
PAGE_ROWS = 2000  # read by one statement
_NUMBERS = {"policy_version": "integer", "config_version": "integer", "reward_events": "integer", "decided_at": "time"}
_NUMBERS |= {"propensity": "number", "reward": "number"}
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
    for name, given, known in (("kind", kind, KINDS), ("format", form, FORMATS)):
        if given not in known:
            raise invalid((FieldError(f"/{name}", "not_a_choice", {"expected": [*known]}),))
    if kind == "results":
        return spreadsheet.write(file, form, RESULTS, [_results(engine, key)])
    return spreadsheet.write(file, form, DECISIONS, _decisions(engine, key, file, since, until))


def _decisions(
    engine: Engine, key: str, file: IO[bytes], since: datetime | None, until: datetime | None
) -> Iterator[Page]:
    """Newest first, by keyset: each statement reads one page, however long the log is."""
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
    """One line per metric, arm and segment, of the newest stored results."""
    with transaction(engine) as connection:
        config = ExperimentConfig.model_validate(stored_experiment(connection, key).config)
    rows = []
    for field in (None, *config.segments):
        found = results.newest(engine, key, segment=field)
        if found is not None:
            rows += [
                _result(found, metric, field, arm, line) for metric in found["metrics"] for arm, line in _pairs(metric)
            ]
    return rows


def _pairs(metric: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Each arm with its comparison (the control has none), and each comparison of all segments together."""
    lines = {(line["arm"], line["segment"]): line for line in metric["comparisons"]}
    pairs = [(arm, lines.pop((arm["arm"], arm["segment"]), None)) for arm in metric["arms"]]
    return pairs + [({"arm": line["arm"], "segment": line["segment"]}, line) for line in lines.values()]


def _result(
    found: dict[str, Any], metric: dict[str, Any], field: str | None, arm: dict[str, Any], line: dict[str, Any] | None
) -> tuple[Any, ...]:
    row = {
        "experiment": found["experiment"],
        "computed_at": found["computed_at"],
        **{name: metric[name] for name in ("metric", "name", "role", "direction")},
        "segment_field": field,
        **{name: arm.get(name) for name in ("segment", "arm", "units", "decisions", "std_error")},
        "estimate": arm.get("value"),
        **(_compared(line) if line else {}),
    }
    return tuple(row.get(column.name) for column in RESULTS)


def _compared(line: dict[str, Any]) -> dict[str, Any]:
    sequence, won, guard = line["always_valid"], line["chance_to_win"] or {}, line["non_inferiority"] or {}
    intervals = {
        "peek_safe": sequence["interval"],
        "fixed": line["interval"],
        "peek_safe_relative": sequence["relative_interval"],
        "fixed_relative": line["relative_interval"],
    }
    return {
        **{name: line[name] for name in ("control", "difference", "relative_lift", "adjustment")},
        "difference_std_error": line["std_error"],
        **{f"{name}_{end}": given[end] for name, given in intervals.items() for end in ("low", "high")},
        "p_any_look": line["running_p"],
        "p_any_look_adjusted": line["adjusted_running_p"],
        "p_one_look": line["p_value"],
        "p_one_look_adjusted": line["adjusted_p_value"],
        "chance_to_win": won.get("probability"),
        "expected_loss": won.get("expected_loss"),
        "guardrail_margin": guard.get("margin"),
        "guardrail_p": guard.get("p_value"),
        "reason": line["interval"]["reason"] or sequence["interval"]["reason"],
    }
