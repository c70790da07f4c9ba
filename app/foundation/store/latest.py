"""The newest computed figures of each experiment, one row a kind: pages show them at once, with their age."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from app.foundation.store import tables
from app.foundation.store.fragments import RETRY_PAUSE

PLATFORM = 0  # in place of an experiment's id: figures of the whole platform
_l = tables.latest


class Latest(NamedTuple):
    """One computed document."""

    body: dict[str, JsonValue]
    seconds: float  # how long it took
    computed_at: datetime

    @property
    def age_s(self) -> float:
        """How old it is now, by this process's clock."""
        return max(0.0, time.time() - self.computed_at.timestamp())


def put(
    connection: Connection,
    experiment_id: int,
    kind: str,
    summary: Mapping[str, JsonValue],
    body: Mapping[str, JsonValue] | None,
    seconds: float,
) -> None:
    """Keep a document in place of the one before.

    :param summary: the few figures that lists show.
    :param body: null: the document itself is kept elsewhere.
    """
    row = {"summary": summary, "body": body, "seconds": seconds, "computed_at": func.clock_timestamp()}
    query = upsert(_l).values(experiment_id=experiment_id, kind=kind, **row)
    connection.execute(query.on_conflict_do_update(index_elements=["experiment_id", "kind"], set_=row))


def get(connection: Connection, experiment_id: int, kind: str) -> Latest | None:
    """The newest document of a kind."""
    columns = [_l.c[name] for name in Latest._fields]
    here = (_l.c.experiment_id == experiment_id, _l.c.kind == kind, _l.c.body.is_not(None))
    row = connection.execute(select(*columns).where(*here)).first()
    return None if row is None else Latest(*row)


# Due again: decisions were made or outcomes settled since then, and enough time has passed for the cost of the computation.
_DUE = text(
    """
    SELECT e.key FROM experiments e
    LEFT JOIN latest l ON l.experiment_id = e.id AND l.kind = :kind
    LEFT JOIN LATERAL (
        SELECT greatest(
            (SELECT max(decided_at) FROM decisions d WHERE d.experiment_id = e.id),
            (SELECT max(settled_at) FROM outcomes o WHERE o.experiment_id = e.id),
            (SELECT max(received_at) FROM rewards r WHERE :rewards AND r.experiment_id = e.id)) AS at
    ) newest ON true
    WHERE newest.at IS NOT NULL
      AND (l.computed_at IS NULL OR (
        newest.at > l.computed_at - make_interval(secs => l.seconds + 5)
        AND l.computed_at < clock_timestamp() - make_interval(secs => greatest(:every_s, :factor * l.seconds))))
    ORDER BY l.computed_at NULLS FIRST
    """
)


def due(connection: Connection, kind: str, *, every_s: float, factor: float, rewards: bool = False) -> list[str]:
    """Keys of the experiments whose document of a kind is due, the oldest first.

    :param factor: at most one part in so many of a worker's time goes into one experiment's document.
    :param rewards: a reward makes it due, too, before its decision is settled.
    """
    parameters = {"kind": kind, "every_s": every_s, "factor": factor, "rewards": rewards}
    return list(connection.execute(_DUE, parameters).scalars())


PROBLEM = "problem/"  # and a kind: why the newest document of that kind could not be computed, and when to try again
_NOTE = text(
    """
    INSERT INTO latest (experiment_id, kind, summary, seconds, computed_at)
    SELECT e.id, :kind, jsonb_build_object('text', CAST(:text AS text), 'failures', 1), 0, clock_timestamp()
    FROM experiments e WHERE e.key = :key
    ON CONFLICT (experiment_id, kind) DO UPDATE SET computed_at = clock_timestamp(),
        summary = excluded.summary || jsonb_build_object('failures', (latest.summary->>'failures')::int + 1)
    """
)


def note_problem(connection: Connection, key: str, kind: str, words: str) -> None:
    """Keep why an experiment's document of a kind could not be computed, for its badge."""
    connection.execute(_NOTE, {"key": key, "kind": PROBLEM + kind, "text": words})


def clear_problem(connection: Connection, key: str, kind: str) -> None:
    """The document could be computed."""
    query = "DELETE FROM latest l USING experiments e WHERE e.id = l.experiment_id AND e.key = :key AND l.kind = :kind"
    connection.execute(text(query), {"key": key, "kind": PROBLEM + kind})


_RESTING = text(
    f"""
    SELECT e.key, l.computed_at + {RETRY_PAUSE} > clock_timestamp() AS rests
    FROM latest l JOIN experiments e ON e.id = l.experiment_id,
        LATERAL (SELECT (l.summary->>'failures')::int AS failures) f
    WHERE l.kind = :kind
    """
)


def failed(connection: Connection, kind: str) -> dict[str, bool]:
    """The experiments whose document of a kind could not be computed: by key, whether they still wait for the next try."""
    return {row.key: row.rests for row in connection.execute(_RESTING, {"kind": PROBLEM + kind})}


_HOME = text(
    """
    SELECT e.key, e.config->>'name' AS name,
        CASE WHEN e.status = 'running' AND json_typeof(e.config->'shipped') = 'object' THEN 'shipped'
             WHEN e.status = 'running' AND json_typeof(e.config->'ramp') = 'object' THEN 'ramping' ELSE e.status END AS status,
        e.owner, e.created_at, e.started_at, e.concluded_at,
        e.archived_at, e.tags, e.conclusion, e.config->'arms' AS arms, e.config->'decision_rule' AS rule,
        found.latest, waiting.since AS waiting_since,
        waiting.since IS NOT NULL AND coalesce((SELECT max(o.settled_at) > clock_timestamp() - interval '1 minute'
            FROM outcomes o WHERE o.experiment_id = e.id), false) AS settling, problems.text AS problem,
        schema.problem AS schema_problem
    FROM (SELECT x.*, c.config FROM experiments x
          JOIN experiment_configs c ON c.experiment_id = x.id AND c.version = x.config_version
          WHERE CAST(:key AS text) IS NULL OR x.key = :key) e
    LEFT JOIN LATERAL (
        SELECT jsonb_object_agg(l.kind, l.summary || jsonb_build_object('computed_at', l.computed_at)) AS latest
        FROM latest l WHERE l.experiment_id = e.id
    ) found ON true
    LEFT JOIN LATERAL (
        SELECT min(first.closes_at) AS since FROM json_array_elements(e.config->'arms') spec
        CROSS JOIN LATERAL (
            SELECT a.closes_at FROM awaiting_outcome a
            WHERE a.experiment_id = e.id AND a.arm = spec->>'key' ORDER BY a.closes_at LIMIT 1
        ) first WHERE first.closes_at < clock_timestamp()
    ) waiting ON true
    LEFT JOIN LATERAL (
        SELECT min(l.problem) AS text FROM lineages l WHERE l.experiment_id = e.id AND l.problem IS NOT NULL
    ) problems ON true
    LEFT JOIN LATERAL (
        SELECT s.problem FROM feedback_schemas s WHERE s.experiment_id = e.id ORDER BY s.version DESC LIMIT 1
    ) schema ON true
    ORDER BY e.id DESC
    """
)


_TEXTS = text(
    """
    SELECT e.key, concat_ws(' ', e.conclusion, c.config->>'hypothesis', notes.texts) AS texts
    FROM experiments e JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version
    LEFT JOIN LATERAL (
        SELECT string_agg(n.reason, ' ') AS texts FROM changes n WHERE n.experiment_id = e.id AND n.kind = 'note'
    ) notes ON true
    """
)


def texts(connection: Connection) -> dict[str, str]:
    """By experiment, what people wrote: its hypothesis, its conclusion and the notes."""
    return {row.key: row.texts for row in connection.execute(_TEXTS)}


class HomeRow(NamedTuple):
    """One experiment as the home page lists it."""

    key: str
    name: str
    status: str  # shipped or ramping, too: a running experiment with an arm that is, or is on its way there
    owner: str
    created_at: datetime
    started_at: datetime | None
    concluded_at: datetime | None
    archived_at: datetime | None
    tags: list[str]
    conclusion: str | None
    arms: list[dict[str, JsonValue]]
    rule: dict[str, JsonValue] | None  # the decision rule; null in imported logs
    latest: dict[str, JsonValue] | None  # by kind, the summary with computed_at
    waiting_since: datetime | None  # end of the oldest window whose outcome should be settled by now; null: none
    settling: bool  # something of what waits was settled within the last minute
    problem: str | None  # why a learning arm's newest round does not serve
    schema_problem: str | None  # why the newest feedback schema is not in force


def home(connection: Connection, key: str | None = None) -> list[HomeRow]:
    """Every experiment, or the one with that key, newest first."""
    return [HomeRow(**row._asdict()) for row in connection.execute(_HOME, {"key": key})]
