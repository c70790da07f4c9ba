"""Stores computed reports. A chart over time needs the old reports too."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, delete, insert, select, text

from app.foundation.store import tables

_r = tables.reports


class StoredReport(NamedTuple):
    """One computed report."""

    body: dict[str, JsonValue]
    seconds: float
    computed_at: datetime


def add(
    connection: Connection,
    experiment_id: int,
    kind: str,
    segment: str | None,
    body: Mapping[str, JsonValue],
    seconds: float,
    *,
    computed_at: datetime | None = None,
) -> None:
    """Store a report.

    :param computed_at: null: now.
    """
    values = {"experiment_id": experiment_id, "kind": kind, "segment": segment, "body": body, "seconds": seconds}
    given = {} if computed_at is None else {"computed_at": computed_at}
    connection.execute(insert(_r).values(**values, **given))


def forget(connection: Connection, experiment_id: int, kind: str) -> None:
    """Delete the reports of a kind."""
    connection.execute(delete(_r).where(_r.c.experiment_id == experiment_id, _r.c.kind == kind))


# Keeps all looks of the last hour and the last look of each hour before: enough for a chart over months.
_THIN = text(
    """
    DELETE FROM reports r USING reports later
    WHERE r.experiment_id = :experiment_id AND r.kind = :kind AND r.segment IS NOT DISTINCT FROM :segment
      AND r.computed_at < clock_timestamp() - interval '1 hour'
      AND later.experiment_id = r.experiment_id AND later.kind = r.kind
      AND later.segment IS NOT DISTINCT FROM r.segment AND later.id > r.id
      AND date_trunc('hour', later.computed_at) = date_trunc('hour', r.computed_at)
    """
)


def thin(connection: Connection, experiment_id: int, kind: str, segment: str | None) -> None:
    """Delete old reports, except the last of each hour."""
    connection.execute(_THIN, {"experiment_id": experiment_id, "kind": kind, "segment": segment})


def newest(connection: Connection, experiment_id: int, kind: str, segment: str | None) -> StoredReport | None:
    """The newest report of a kind."""
    query = (
        select(_r.c.body, _r.c.seconds, _r.c.computed_at)
        .where(_r.c.experiment_id == experiment_id, _r.c.kind == kind, _r.c.segment.is_not_distinct_from(segment))
        .order_by(_r.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return None if row is None else StoredReport(row.body, row.seconds, row.computed_at)


class Look(NamedTuple):
    """The comparisons of the first primary metric in one report."""

    computed_at: datetime
    metric: str  # key
    name: str
    comparisons: list[JsonValue]  # the lines of the report


# Chooses looks evenly over all of them. The ids come from the index alone, and only the chosen bodies are read.
_LOOKS = text(
    """
    WITH looks AS (
        SELECT id, row_number() OVER (ORDER BY id DESC) - 1 AS number, count(*) OVER () AS count
        FROM reports WHERE experiment_id = :experiment_id AND kind = :kind AND segment IS NULL
    ), chosen AS (
        SELECT r.computed_at, r.id, jsonb_path_query_first(r.body, '$.metrics[*] ? (@.role == "primary")') AS metric
        FROM looks l JOIN reports r ON r.id = l.id WHERE l.number % ceil(l.count / CAST(:most AS float8))::bigint = 0
    )
    SELECT computed_at, metric->>'metric' AS metric, metric->>'name' AS name, metric->'comparisons' AS comparisons
    FROM chosen
    WHERE metric IS NOT NULL ORDER BY id
    """
)


def looks(connection: Connection, experiment_id: int, kind: str, most: int) -> list[Look]:
    """The primary comparisons of at most ``most`` reports, oldest first; the newest report is always included."""
    given = {"experiment_id": experiment_id, "kind": kind, "most": most}
    rows = connection.execute(_LOOKS, given)
    return [Look(row.computed_at, row.metric, row.name, row.comparisons) for row in rows]


# A report is due when outcomes were settled since, but computing takes at most 1/20 of the time. A round of learning that ran
# while the report was computed may have settled outcomes with an earlier time. So we compare counts, while any outcome is
# recent. A new feedback schema settles all outcomes again, so the count stays equal: we compare the schema's version too.
_STALE = text(
    """
    SELECT e.key FROM experiments e
    LEFT JOIN LATERAL (
        SELECT r.computed_at, r.seconds, (r.body #>> '{window,settled}')::bigint AS counted,
            (r.body ->> 'feedback_version')::int AS feedback_version
        FROM reports r
        WHERE r.experiment_id = e.id AND r.kind = 'results' AND r.segment IS NULL ORDER BY r.id DESC LIMIT 1
    ) r ON true
    WHERE e.status IN ('running', 'paused')
      AND (r.computed_at IS NULL OR r.computed_at < clock_timestamp() - make_interval(secs => greatest(:every_s, 20 * r.seconds)))
      AND CASE WHEN EXISTS (
        SELECT 1 FROM analysed o WHERE o.experiment_id = e.id
          AND o.settled_at > coalesce(r.computed_at - interval '1 minute' - make_interval(secs => r.seconds), '-infinity'))
      THEN r.counted IS DISTINCT FROM (SELECT count(*) FROM analysed o WHERE o.experiment_id = e.id)
        OR coalesce(r.feedback_version, 0) <> coalesce((SELECT max(s.version) FROM feedback_schemas s
            WHERE s.experiment_id = e.id AND s.applied_at IS NOT NULL), 0)
      ELSE false END
    """
)


def stale_experiments(connection: Connection, every_s: float) -> list[str]:
    """The keys of experiments whose report is due."""
    return list(connection.execute(_STALE, {"every_s": every_s}).scalars())
