"""Sums a metric per arm in the database: means and centred second moments over units.

The queries return a few rows per arm, however long the log is. They sum the decisions of each unit first, because
units were randomised, not decisions.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import its_decision
from app.reporting.store import unit_sums
from app.reporting.store.counted_units import STRETCH
from app.reporting.store.units import ageing_sums, event_sums

Values = Mapping[str, str | float | list[str] | None]
"""The parameters that the SQL of a metric's sums names."""


class ArmSums(NamedTuple):
    """Moments over the units of one arm (of one segment, first seen in one stretch) of a numerator and a denominator."""

    arm: str
    segment: str | None  # value of the context field; null when results are not split
    stretch: int  # of constant shares, from 0
    units: int
    decisions: int
    mean_num: float
    mean_den: float
    var_num: float  # sum of squared deviations over n
    var_den: float
    cov: float
    mean_size: float  # of the numerator's absolute values
    binary: bool = False  # every unit has 0 or 1, and a denominator of 1
    pre: "CovariateSums | None" = None  # null: the metric has no covariate


class CovariateSums(NamedTuple):
    """Moments of the covariate with numerator and denominator, over the same units."""

    mean: float
    var: float
    cov_num: float
    cov_den: float
    known: int  # units that have one; the others count as the mean


class EventCounts(NamedTuple):
    """What a metric of events does not count (yet)."""

    waiting: int  # units whose window is not over
    late: int  # events in a window that were reported after their unit was counted
    unreadable: int  # events in a window whose property is not a number


# Each fragment gives one row per unit, with num and den, from the outcomes `o` of one experiment.
_PER_DECISION = """
    SELECT o.arm, o.segment, o.stretch, o.unit_id, count(*) AS decisions, {num} AS num, {den} AS den
    FROM scope o {join} {closed} GROUP BY o.arm, o.segment, o.stretch, o.unit_id
"""
# Nothing happened before its decision's windows opened, or after we heard of it: a device's clock that says so is wrong, and
# the time of receipt takes its place.
_HAPPENED = """
    CASE WHEN r.occurred_at BETWEEN o.opened_at AND r.received_at THEN r.occurred_at ELSE r.received_at END
"""
_REPORTED = f"""
    LEFT JOIN LATERAL (
        SELECT coalesce(sum(r.value) FILTER (WHERE r.metric = :numerator), 0) AS total,
               count(*) FILTER (WHERE r.metric = :numerator) AS reports,
               coalesce(sum(r.value) FILTER (WHERE r.metric = :denominator), 0) AS base
        FROM rewards r
        WHERE r.decision_id = o.decision_id AND r.experiment_id + 0 = :experiment_id
          AND r.metric IN (:numerator, :denominator)
          AND (CAST(:window_s AS float8) IS NULL OR {_HAPPENED} <= o.opened_at + make_interval(secs => :window_s))
    ) r ON true
"""
# A decision counts once its metric's window is over: until then its value can only grow.
_IS_CLOSED = "(CAST(:window_s AS float8) IS NULL OR o.opened_at + make_interval(secs => :window_s) <= :as_of)"
_CLOSED = f"WHERE CAST(:open AS boolean) OR {_IS_CLOSED}"
_VISITS = """
    SELECT arm, segment, stretch, unit_id, count(*) AS decisions,
           sum(CASE WHEN previous IS NULL OR decided_at - previous > make_interval(secs => :gap_s) THEN 1 ELSE 0 END) AS num,
           1 AS den
    FROM (SELECT o.*, lag(decided_at) OVER (PARTITION BY unit_id ORDER BY decided_at) AS previous FROM scope o) v
    GROUP BY arm, segment, stretch, unit_id
"""
# Every unit is followed for the same time: a unit that was first seen too recently for that is left out.
_RETURNED = """
    SELECT arm, segment, stretch, unit_id, count(*) AS decisions, CASE WHEN bool_or(
               decided_at BETWEEN first + make_interval(secs => :after_s) AND first + make_interval(secs => :until_s)
           ) THEN 1 ELSE 0 END AS num, 1 AS den
    FROM (SELECT o.*, min(decided_at) OVER (PARTITION BY unit_id) AS first FROM scope o) v
    WHERE first + make_interval(secs => :until_s)
        <= least(:as_of, coalesce(CAST(:until AS timestamptz), 'infinity'), ends_at)
    GROUP BY arm, segment, stretch, unit_id
"""


def _reported(num: str, den: str) -> str:
    return _PER_DECISION.format(num=num, den=den, join=_REPORTED, closed=_CLOSED)


UNITS = {
    "reward": _PER_DECISION.format(num="sum(o.reward)", den="count(*)", join="", closed=""),
    "reward/unit": _PER_DECISION.format(num="avg(o.reward)", den="1", join="", closed=""),
    "value/decision": _reported("sum(r.total)", "count(*)"),
    "value/unit": _reported("sum(r.total)", "1"),
    "count/decision": _reported("sum(r.reports)", "count(*)"),
    "count/unit": _reported("sum(r.reports)", "1"),
    "ratio": _reported("sum(r.total)", "sum(r.base)"),
    "sessions": _VISITS,
    "retention": _RETURNED,
    **event_sums.UNITS,
    **ageing_sums.UNITS,
}
_OF_KEPT = f"""
    SELECT arm, NULL::text AS segment, 0 AS stretch, unit_id, decisions, {{num}} AS num, {{den}} AS den
    FROM ({unit_sums.SEEN}) seen
"""
OF_KEPT_SUMS = {  # of one stretch and no segment; ``counted`` is among their parameters
    "kept reward": _OF_KEPT.format(num="num", den="decisions"),
    "kept reward/unit": _OF_KEPT.format(num="num / decisions", den="1"),
}
# What is cut is a unit's value per decision (or per denominator), on both sides, and its weight at the top: a cut that
# changed only the numerator would change the value of a unit whose every decision is worth the same.
_CUT = """
    SELECT u.arm, u.segment, u.stretch, u.unit_id, u.decisions, least(u.den, cap.den) AS den,
        CASE WHEN u.den > 0 THEN least(greatest(u.num / u.den, cap.low), cap.high) * least(u.den, cap.den)
        ELSE least(greatest(u.num, cap.low), cap.high) END AS num
    FROM units u CROSS JOIN (
        SELECT percentile_cont(1 - :winsorize) WITHIN GROUP (ORDER BY num / nullif(den, 0)) AS low,
               percentile_cont(:winsorize) WITHIN GROUP (ORDER BY num / nullif(den, 0)) AS high,
               percentile_cont(:winsorize) WITHIN GROUP (ORDER BY den) AS den
        FROM (SELECT num::float8, den::float8 FROM units) floats
    ) cap
"""
_COLUMNS = """
    o.arm, {segment} AS segment, o.unit_id, o.decision_id, o.reward, o.decided_at,
    coalesce(o.opened_at, o.decided_at) AS opened_at
"""
_SCOPE = f"""
    SELECT {_COLUMNS}, 0 AS stretch, CAST('infinity' AS timestamptz) AS ends_at
    FROM analysed o {{join}} WHERE o.experiment_id = :experiment_id {{until}}
"""
# Only units that stay in the arm where they were first seen, and until one of the compared arms gets no units any more.
_SCOPE_OF_STRETCHES = f"""
    SELECT {_COLUMNS}, u.stretch, coalesce((CAST(:end_times AS timestamptz[]))[u.stretch + 1], 'infinity') AS ends_at
    FROM analysed o JOIN counted_units u ON u.unit_id = o.unit_id AND u.arm = o.arm {{join}}
    WHERE o.experiment_id = :experiment_id {{until}}
      AND u.moved_at >= (CAST(:ends AS int[]))[u.stretch + 1] AND {STRETCH} < (CAST(:ends AS int[]))[u.stretch + 1]
"""
_SUMS = """
    WITH scope AS ({scope}), units AS ({units}), cut AS ({cut}) {pre}
    SELECT arm, segment::text, stretch, count(*)::int AS units, sum(decisions)::bigint AS decisions,
        avg(num::float8) AS mean_num, avg(den::float8) AS mean_den, var_pop(num::float8) AS var_num,
        var_pop(den::float8) AS var_den, covar_pop(num::float8, den::float8) AS cov, avg(abs(num::float8)) AS mean_size,
        bool_and(num IN (0, 1) AND den = 1) AS binary {pre_sums}
    FROM {rows} GROUP BY arm, segment, stretch ORDER BY arm, segment, stretch
"""
# A unit's covariate comes from before its first decision. Who has none counts as the mean of those who have one: before they
# were assigned, nothing but chance can put more of them into one arm.
_PRE = """
    , first AS (
        SELECT DISTINCT ON (unit_id) unit_id, decision_id, decided_at FROM scope ORDER BY unit_id, decided_at, decision_id
    ), known AS ({known}), adjusted AS (
        SELECT c.*, coalesce(k.pre, avg(k.pre) OVER ()) AS pre, k.pre IS NOT NULL AS has_pre
        FROM cut c LEFT JOIN known k ON k.unit_id = c.unit_id
    )
"""
_PRE_SUMS = """, coalesce(avg(pre), 0) AS pre_mean, coalesce(var_pop(pre), 0) AS pre_var,
        coalesce(covar_pop(num::float8, pre), 0) AS pre_cov_num, coalesce(covar_pop(den::float8, pre), 0) AS pre_cov_den,
        count(*) FILTER (WHERE has_pre) AS pre_known
"""
LARGEST = 1e12  # a context's number beyond it is none
COVARIATES = {
    "context": f"""
        SELECT f.unit_id, CASE WHEN abs(n.value) <= {LARGEST} THEN n.value END AS pre
        FROM first f JOIN decisions d ON d.id = f.decision_id AND d.experiment_id = :experiment_id
            AND d.decided_at = f.decided_at
        CROSS JOIN LATERAL (
            SELECT CASE WHEN json_typeof(d.context -> :field) = 'number' THEN (d.context ->> :field)::numeric::float8 END AS value
        ) n
    """,
    "history": """
        SELECT f.unit_id, coalesce(sum(o.reward), 0) AS pre
        FROM first f LEFT JOIN decisions d ON d.unit_id = f.unit_id AND d.experiment_id <> :experiment_id
            AND d.decided_at < f.decided_at AND d.decided_at >= f.decided_at - make_interval(secs => :history_s)
        LEFT JOIN outcomes o ON o.experiment_id = d.experiment_id AND o.decision_id = d.id GROUP BY f.unit_id
    """,
}
# The segment at a unit's first decision: the arm may have caused later contexts, and each unit must count in one segment.
_FIRST_SEEN = """
    first_value(coalesce(d.context ->> :segment, '')) OVER (PARTITION BY o.unit_id ORDER BY o.decided_at, o.decision_id)
"""


class Scope(NamedTuple):
    """Which outcomes of an experiment a metric is summed over."""

    experiment_id: int
    as_of: datetime  # a decision counts when its metric's window was over then
    segment: str | None = None  # a top-level context field to split by; a unit belongs to that of its first decision
    until: datetime | None = None  # only decisions before it (see ``horizon``)
    first_versions: tuple[int, ...] = (1,)  # the first configuration of each stretch of constant shares
    ends: tuple[int, ...] = (1,)  # by stretch, see ``app.reporting.comparison.stretches.Ends``
    end_times: tuple[datetime | None, ...] = (None,)  # by stretch: when its units stop to count; null: they do not
    by_day: bool = False  # split by the day of the decision (UTC): a unit counts on every day on which it decided

    def query(self) -> str:
        """The rows to sum. More than one stretch needs ``app.reporting.store.counted_units``."""
        template = _SCOPE_OF_STRETCHES if len(self.first_versions) > 1 else _SCOPE
        return template.format(
            segment=self._segment(),
            join=f"JOIN decisions d ON {its_decision('o', 'o.decided_at')}"
            if self.segment is not None and not self.by_day
            else "",
            until="" if self.until is None else "AND o.decided_at < :until",
        )

    def _segment(self) -> str:
        if self.by_day:
            return "(o.decided_at AT TIME ZONE 'UTC')::date"
        return "NULL::text" if self.segment is None else _FIRST_SEEN

    def values(self) -> dict[str, Any]:
        """The parameters that its query may name."""
        lists = {name: list(getattr(self, name)) for name in ("first_versions", "ends", "end_times")}
        return self._asdict() | lists


def arm_sums(
    connection: Connection,
    scope: Scope,
    units: str,
    values: Values,
    *,
    winsorize: float | None = None,
    covariate: str | None = None,
    open_too: bool = False,
) -> list[ArmSums]:
    """Sums of one metric per arm, segment and stretch.

    :param units: a key of ``UNITS`` or of ``OF_KEPT_SUMS``.
    :param values: the parameters that its SQL names.
    :param winsorize: quantile over all units at which values per unit are cut, and one minus it at the lower side.
    :param covariate: a key of ``COVARIATES``; its parameters are among ``values``.
    :param open_too: also decisions whose metric's window is still open.
    """
    cut = "SELECT * FROM units" if winsorize is None else _CUT
    query = _SUMS.format(
        scope="SELECT" if units in OF_KEPT_SUMS else scope.query(),
        units=OF_KEPT_SUMS.get(units) or UNITS[units],
        cut=cut,
        pre="" if covariate is None else _PRE.format(known=COVARIATES[covariate]),
        pre_sums="" if covariate is None else _PRE_SUMS,
        rows="cut" if covariate is None else "adjusted",
    )
    given = {**scope.values(), "id": scope.experiment_id, "winsorize": winsorize, "open": open_too, **values}
    return [_arm_sums(row._asdict()) for row in connection.execute(text(query), named(given, query))]


def _arm_sums(row: dict[str, Any]) -> ArmSums:
    pre = {name: row.pop(f"pre_{name}") for name in CovariateSums._fields if f"pre_{name}" in row}
    return ArmSums(**row, pre=CovariateSums(**pre) if pre else None)


def event_counts(connection: Connection, scope: Scope, values: Values) -> "EventCounts":
    """What a metric of events does not count (yet)."""
    query = event_sums.COUNTS.format(scope=scope.query())
    row = connection.execute(text(query), named({**scope.values(), **values}, query)).one()
    return EventCounts(**row._asdict())


def count_open(connection: Connection, scope: Scope, window_s: float) -> int:
    """How many settled decisions wait for the end of a metric's window."""
    query = f"SELECT count(*) FROM ({scope.query()}) o WHERE NOT {_IS_CLOSED}"
    given = {**scope.values(), "window_s": window_s}
    return int(connection.execute(text(query), named(given, query)).scalar_one())


def named(given: Mapping[str, Any], query: str) -> dict[str, Any]:
    """The parameters that a query names."""
    return {name: value for name, value in given.items() if re.search(rf":{name}\b", query)}
