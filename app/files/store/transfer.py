"""Queries that export and import whole logs."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.store import chain
from app.foundation.store.engine import AnyRow
from app.foundation.store.fragments import ITS_OUTCOME, NOT_A_TRIAL, its_decision
from bandits.encoding import ENCODING_VERSION

_SETTLED = text(
    f"""
    SELECT d.id, d.arm, d.unit_id, d.config_version, d.policy_version, d.actions, d.eligible, d.distribution, d.chosen,
        d.propensity, d.context, o.reward, d.decided_at, d.arm_distributions, NULL, true, d.stands_for, d.counted
    FROM analysed o JOIN decisions d ON {its_decision("o", "o.decided_at")}
    WHERE o.experiment_id = :id ORDER BY d.decided_at, d.id
    """
).execution_options(stream_results=True, max_row_buffer=5000)

# JSON stays the stored text. The index on (experiment, time) finds a page.
_PAGE = """
    WITH shares AS MATERIALIZED (
        SELECT version AS config_version, arm->>'key' AS arm, (arm->>'share')::float8 AS share
        FROM experiment_configs, json_array_elements(config->'arms') AS arm WHERE experiment_id = :experiment_id
    )
    SELECT d.id, d.decided_at, d.unit_id, d.arm, shares.share, d.policy_version, d.config_version, d.context::text,
        to_json(d.eligible)::text, to_json(d.distribution)::text, d.eligible[d.chosen + 1], d.propensity, o.reward, o.events,
        d.state
    FROM decisions d LEFT JOIN outcomes o ON {its_outcome}
        LEFT JOIN shares ON shares.arm = d.arm AND shares.config_version = d.config_version
    WHERE d.experiment_id = :experiment_id AND {not_a_trial} {since} {until} {before}
    ORDER BY d.decided_at DESC, d.id DESC LIMIT :most
"""
_PARTS = {
    "since": "AND d.decided_at >= :since",
    "until": "AND d.decided_at < :until",
    "before": "AND d.decided_at <= :before_at AND (d.decided_at, d.id) < (:before_at, :before_id)",
}


class ExportedDecision(NamedTuple):
    """One decision as a line of a file."""

    decision_id: str
    decided_at: datetime
    unit_id: str
    arm: str
    arm_probability: float  # of the unit's arm: the arm's share when it was assigned
    policy_version: int
    config_version: int
    context: str  # JSON
    eligible: str  # JSON, action ids
    distribution: str  # JSON, in the same order
    action: str
    propensity: float
    reward: float | None  # null: not settled
    reward_events: int | None
    state: str


def newest_page(
    connection: Connection,
    experiment_id: int,
    *,
    since: datetime | None,
    until: datetime | None,
    before: tuple[datetime, str] | None,
    most: int,
) -> list[ExportedDecision]:
    """Return up to ``most`` decisions, newest first.

    :param before: (decided at, id) of the last line on the previous page.
    """
    given = {"since": since, "until": until, "before": before}
    parts = {name: _PARTS[name] if value is not None else "" for name, value in given.items()}
    query = _PAGE.format(its_outcome=ITS_OUTCOME, not_a_trial=NOT_A_TRIAL, **parts)
    at, last = before or (None, None)
    values = {"experiment_id": experiment_id, "since": since, "until": until, "before_at": at, "before_id": last}
    named = {name: value for name, value in values.items() if f":{name}" in query}
    return [ExportedDecision._make(row) for row in connection.execute(text(query), named | {"most": most})]


class Wanted(NamedTuple):
    """Which decisions are read; null: any."""

    unit_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, str] | None = None  # (decided at, id) of the last line on the previous page


class ReadablePage(NamedTuple):
    """Decisions that reports may use."""

    decisions: list[ExportedDecision]
    cut: bool  # True: their contexts are so large that the page ended before it was full


# As the view of decisions for BI tools: who is not to be analysed, and who is left out of reports, is not here.
_READABLE = """AND d.erased_at IS NULL AND d.holdout IS NULL AND NOT 'analyse' = ANY(coalesce(d.withheld, ARRAY[]::text[]))
    AND NOT EXISTS (SELECT FROM restrictions r WHERE r.unit_id = d.unit_id AND 'analyse' = ANY(r.denied))
    AND NOT EXISTS (
        SELECT FROM excluded_units x WHERE x.experiment_id = d.experiment_id AND x.unit_id = d.unit_id)"""


def readable_page(
    connection: Connection, experiment_id: int, wanted: Wanted, *, most: int, most_bytes: int
) -> ReadablePage:
    """Return up to ``most`` decisions that reports may use, newest first.

    :param most_bytes: of all contexts together, unless the first one is larger.
    """
    parts = {name: part if getattr(wanted, name) is not None else "" for name, part in _PARTS.items()}
    more = _READABLE + ("" if wanted.unit_id is None else " AND d.unit_id = :unit_id")
    query = _PAGE.format(
        its_outcome=ITS_OUTCOME, not_a_trial=NOT_A_TRIAL, **parts | {"before": f"{parts['before']} {more}"}
    )
    at, last = wanted.before or (None, None)
    values = wanted._asdict() | {"experiment_id": experiment_id, "before_at": at, "before_id": last}
    named = {name: value for name, value in values.items() if f":{name}" in query and name != "before"}
    found, size = list[ExportedDecision](), 0
    streamed = text(query).execution_options(stream_results=True, max_row_buffer=50)
    with connection.execute(streamed, named | {"most": most}) as rows:
        for row in rows:
            decision = ExportedDecision._make(row)
            size += len(decision.context)
            if found and size > most_bytes:
                return ReadablePage(found, True)
            found.append(decision)
    return ReadablePage(found, False)


_IMPORT = text(
    f"""
    WITH input AS (
        SELECT * FROM json_to_recordset(:rows) AS t (
            id text, unit_id text, own json, eligible text[], distribution float8[], chosen int, propensity float8,
            context json, reward float8, decided_at timestamptz, arm text, config_version int, arm_distributions json,
            stands_for float8)
    ), named AS (
        INSERT INTO decision_ids (decision_id, experiment_id, decided_at) SELECT id, :experiment_id, decided_at FROM input
        RETURNING decision_id
    ), stored AS (
        INSERT INTO decisions (id, experiment_id, config_version, key_id, body_hash, unit_id, arm, policy_version, actions,
            eligible, distribution, chosen, propensity, draw, context, encoding_version, state, seal, decided_at, closes_at,
            arm_distributions, stands_for)
        SELECT id, :experiment_id, config_version, 'import', '', unit_id, arm, 0, own, eligible, distribution, chosen,
            propensity, 0, context, :encoding, 'imported', '', decided_at, decided_at, arm_distributions, stands_for
        FROM input JOIN named ON named.decision_id = input.id
    ), settled AS (
        INSERT INTO outcomes (experiment_id, decision_id, arm, unit_id, reward, events, decided_at, config_version, opened_at,
            settled_at)
        SELECT :experiment_id, id, arm, unit_id, reward, 1, decided_at, config_version, decided_at, statement_timestamp()
        FROM input
        RETURNING *
    )
    {chain.link(chain.OUTCOMES, "settled")}
    """
)


def settled(connection: Connection, experiment_id: int) -> Iterator[AnyRow]:
    """Yield all settled decisions with their rewards, oldest first."""
    yield from connection.execute(_SETTLED, {"id": experiment_id})


class ImportedDecision(NamedTuple):
    """One decision of another log, to store with its outcome."""

    decision_id: str | None
    unit_id: str | None  # None: the file has no units, so each row is a unit of its own
    decided_at: datetime | None  # None: the position in the file replaces it
    context: Any  # JSON, as the file has it
    own: Sequence[Any] | None  # the call's own candidates; None: those of the configuration
    eligible: list[str]
    distribution: list[float | None]  # over the eligible actions; None: the file does not hold it
    chosen: int
    propensity: float
    reward: float
    arm: str
    config_version: int
    arm_distributions: dict[str, list[float]] | None  # by arm; None: the file does not hold them
    stands_for: float | None  # decisions of which only this one was logged; None: 1


def add_imported(
    connection: Connection, experiment_id: int, rows: list[ImportedDecision], start: datetime, before: int
) -> None:
    """Store imported decisions with their outcomes. The experiment's number in their ids keeps ids of several logs apart.

    :param start: the time of the import; a row without a time gets this time plus its position in microseconds.
    :param before: the number of rows that are already stored.
    """
    documents = [
        row._asdict()
        | {
            "id": f"import-{experiment_id}-{row.decision_id or index}",
            "unit_id": row.unit_id or row.decision_id or f"row {index + 1}",
            "decided_at": row.decided_at or start + timedelta(microseconds=index),
        }
        for index, row in enumerate(rows, start=before)
    ]
    values = {"experiment_id": experiment_id, "encoding": ENCODING_VERSION}
    connection.execute(_IMPORT, values | {"rows": orjson.dumps(documents).decode()} | chain.key(connection))
