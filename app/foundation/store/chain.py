"""The chain: for each commit batch a link with count and hash of its rows, in the statement that stores them.

A link says how many rows of a kind an experiment got at one moment of the database's clock, and the XOR of their keyed hashes.
So a row that is deleted, changed, moved or added later without the secret does not agree with the links of its moment. Removals
(erasure, retention) and settling again write links with negative counts. Anchors (``anchor_new``) join links into a chain.

PostgreSQL computes the hashes: SHA-256 over the installation's key for this purpose and a row's fields. The key is a parameter
of the statement and is never stored there. A function in the database adds links (migration 0011); a session plans it once.
"""

from datetime import datetime
from typing import Final, NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.settings import no_key

CHAIN_KEY: Final = "chain_key"  # execution option of every engine, and parameter of statements with a link


class Kind(NamedTuple):
    """What is sealed of one table, as SQL over its row ``r``."""

    table: str
    at: str  # the time that all rows of a batch share
    experiment: str
    fields: str
    sealed: str = "true"  # which rows have links


DECISIONS: Final = Kind("decisions", "decided_at", "r.experiment_id", "r.id, r.seal", "r.seal <> ''")  # '': imported
REWARDS: Final = Kind(
    "rewards",
    "received_at",
    "r.experiment_id",
    "r.decision_id, r.reward_id, r.metric, r.value, r.occurred_at, r.late",
)
FEEDBACK: Final = Kind(
    "feedback",
    "received_at",
    "r.experiment_id",
    "r.decision_id, r.feedback_id, r.unit_id, r.action, r.kind, r.value, r.comment, r.occurred_at, r.late",
)
OUTCOMES: Final = Kind(
    "outcomes",
    "settled_at",
    "r.experiment_id",
    "r.decision_id, r.arm, r.unit_id, r.reward, r.events, r.feedback_version, r.config_version, "
    "r.decided_at, r.opened_at",
)
CHANGES: Final = Kind(
    "changes", "at", "coalesce(r.experiment_id, 0)", "r.id, r.actor, r.kind, r.before, r.after, r.reason"
)
KINDS: Final = (DECISIONS, REWARDS, FEEDBACK, OUTCOMES, CHANGES)


def _hash(fields: str) -> str:
    """SHA-256 of the key and of the fields in PostgreSQL's binary form, which no setting of a session changes."""
    return f"sha256(CAST(:{CHAIN_KEY} AS bytea) || record_send(ROW({fields})))"


def _bits(hashed: str) -> str:
    """The first 128 bits; XOR needs bit strings."""
    return f"('x' || left(encode({hashed}, 'hex'), 32))::bit(128)"


_HALVES = ("substring({bits} FROM 1 FOR 64)::bit(64)::bigint", "substring({bits} FROM 65)::bit(64)::bigint")
_TAG = _hash("'link', id, kind, at, parts")


def digest(kind: Kind) -> str:
    """SQL of the hash of a row ``r``: bit(128)."""
    return _bits(_hash(f"'{kind.table}', {kind.fields}"))


def link(kind: Kind, rows: str, sign: int = 1) -> str:
    """SQL of a query that adds the links of a batch, and has one row for each. A query that nothing reads is not run.

    :param rows: a table expression with the whole rows.
    :param sign: -1 for rows that are removed, 0 for rows whose hash is taken out and put in again.
    """
    return f"""
        SELECT add_link('{kind.table}', r.{kind.at}, {sign}, array_agg({kind.experiment}),
            array_agg({_hash(f"'{kind.table}', {kind.fields}")}), CAST(:{CHAIN_KEY} AS bytea))
        FROM {rows} r WHERE {kind.sealed} GROUP BY r.{kind.at}
    """


ADDED: Final = "(SELECT count(*) FROM links) >= 0"  # a condition that reads the query ``links``


def removing(kind: Kind, delete: str) -> str:
    """SQL that deletes rows and takes them out of the chain; it returns the number of deleted rows.

    :param delete: a DELETE without RETURNING, of the table without an alias.
    """
    return f"""
        WITH gone AS ({delete} RETURNING *), links AS ({link(kind, "gone", -1)})
        SELECT count(*) FROM gone WHERE {ADDED}
    """


def key(connection: Connection) -> dict[str, bytes]:
    """The parameter that statements with a link need.

    :raises SettingError: this process has no secret key.
    """
    known = connection.get_execution_options()[CHAIN_KEY]
    if not known:
        raise no_key()
    return {CHAIN_KEY: known}


class Difference(NamedTuple):
    """A moment at which the rows of a table do not agree with the links."""

    at: str  # ISO 8601
    rows: int  # that the table has
    linked: int  # that the links say


class Compared(NamedTuple):
    """The rows of one kind, compared with their links."""

    moments: int
    before: int  # rows from before the chain
    differences: list[Difference]


def _comparison(kind: Kind) -> str:
    hi, lo = (half.format(bits="bit_xor(digest)") for half in _HALVES)
    return f"""
        WITH expected AS (
            SELECT at, sum((part->>0)::bigint) AS rows, bit_xor((part->>1)::bigint) AS hi, bit_xor((part->>2)::bigint) AS lo,
                bool_or((part->>0)::bigint > 0) AS begun
            FROM (
                SELECT at, parts->CAST(:part AS text) AS part FROM log_links
                WHERE kind = '{kind.table}' AND at >= coalesce(CAST(:since AS timestamptz), '-infinity')
            ) links WHERE part IS NOT NULL GROUP BY at
        ), actual AS (
            SELECT at, count(*) AS rows, {hi} AS hi, {lo} AS lo FROM (
                SELECT r.{kind.at} AS at, {digest(kind)} AS digest FROM {kind.table} r
                WHERE {kind.experiment} = :id AND {kind.sealed}
                    AND r.{kind.at} >= coalesce(CAST(:since AS timestamptz), '-infinity')
            ) hashed GROUP BY at
        ), compared AS (
            SELECT at, coalesce(a.rows, 0) AS rows, coalesce(e.rows, 0) AS linked,
                NOT coalesce(e.begun, false) AND at <= (SELECT at + {GRACE} FROM log_anchors WHERE number = 0) AS before,
                (coalesce(e.rows, 0), coalesce(e.hi, 0), coalesce(e.lo, 0))
                    IS DISTINCT FROM (coalesce(a.rows, 0), coalesce(a.hi, 0), coalesce(a.lo, 0)) AS differs
            FROM expected e FULL JOIN actual a USING (at)
        )
        SELECT count(*) AS moments, coalesce(sum(rows) FILTER (WHERE before), 0) AS before,
            coalesce(json_agg(json_build_array(at, rows, linked) ORDER BY at) FILTER (WHERE differs AND NOT before), '[]')
                AS differences
        FROM compared
    """


# Processes of an older version may write rows without links while an upgrade restarts them one after the other.
GRACE: Final = "interval '1 hour'"
_COMPARE = {kind: text(_comparison(kind)) for kind in KINDS}


def compare(connection: Connection, kind: Kind, experiment_id: int, since: datetime | None = None) -> Compared:
    """Compare the rows of an experiment, since a time, with their links. Experiment 0 has the changes of no experiment."""
    values = {"id": experiment_id, "part": str(experiment_id), "since": since} | key(connection)
    row = connection.execute(_COMPARE[kind], values).one()
    return Compared(int(row.moments), int(row.before), [Difference(*found) for found in row.differences])


class Dropped(NamedTuple):
    """What was dropped with whole months of the log, of one experiment."""

    until: datetime | None  # every decision before it; null: none
    lessons: int  # rows of the ledger that named a version


DROPPED: Final = (
    "dropped"  # a link of this kind has the end of the months as its time, and counts of lessons as its parts
)
_NOTE_DROPPED = text(
    f"""
    WITH noted AS (
        SELECT nextval('log_links_id_seq') AS id, '{DROPPED}' AS kind, CAST(:until AS timestamptz) AS at,
            CAST(:lessons AS jsonb) AS parts
    )
    INSERT INTO log_links (id, kind, at, parts, tag) SELECT id, kind, at, parts, {_TAG} FROM noted
    """
)
_DROPPED = text(
    f"""
    SELECT max(at) AS until, coalesce(sum((parts->>CAST(:part AS text))::bigint), 0) AS lessons
    FROM log_links WHERE kind = '{DROPPED}' AND tag = {_TAG}
    """
)


def note_dropped(connection: Connection, until: datetime, lessons: dict[int, int]) -> None:
    """Seal that all decisions before a time are dropped.

    :param lessons: by experiment, how many rows of the ledger that named a version went with them.
    """
    values = {"until": until, "lessons": orjson.dumps({str(id_): rows for id_, rows in lessons.items()}).decode()}
    connection.execute(_NOTE_DROPPED, values | key(connection))


def dropped(connection: Connection, experiment_id: int) -> Dropped:
    """What was dropped of an experiment; links without the right tag do not count."""
    row = connection.execute(_DROPPED, {"part": str(experiment_id)} | key(connection)).one()
    return Dropped(row.until, int(row.lessons))


_ANCHOR_TAG = _hash("'anchor', number, at, links, hi, lo, before, before_at")
_HI, _LO = (half.format(bits="bit_xor(('x' || left(encode(tag, 'hex'), 32))::bit(128))") for half in _HALVES)
_ANCHOR = text(
    f"""
    WITH newest AS (SELECT number, tag, at FROM log_anchors ORDER BY number DESC LIMIT 1),
    taken AS (
        UPDATE log_links SET anchor = newest.number + 1 FROM newest WHERE anchor IS NULL RETURNING log_links.tag
    ), summed AS (
        SELECT number + 1 AS number, statement_timestamp() AS at, s.links, s.hi, s.lo, newest.tag AS before,
            newest.at AS before_at
        FROM newest, (SELECT count(*) AS links, {_HI} AS hi, {_LO} AS lo FROM taken) s WHERE s.links > 0
    )
    INSERT INTO log_anchors (number, at, links, hi, lo, tag) SELECT number, at, links, hi, lo, {_ANCHOR_TAG} FROM summed
    """
)


def anchor_new(connection: Connection) -> None:
    """Anchor the links that no anchor names yet. One process at a time."""
    connection.execute(_ANCHOR, key(connection))


_BROKEN_ANCHORS = text(
    f"""
    WITH anchors AS (
        SELECT a.*, lag(number) OVER w AS number_before, lag(tag) OVER w AS before, lag(at) OVER w AS before_at
        FROM log_anchors a WHERE number >= :first WINDOW w AS (ORDER BY number)
    ), taken AS (
        SELECT anchor, count(*) AS links, {_HI} AS hi, {_LO} AS lo FROM log_links WHERE anchor > :first GROUP BY anchor
    )
    SELECT number, CASE
        WHEN number_before IS DISTINCT FROM number - 1 THEN 'the one before it is missing'
        WHEN tag <> {_ANCHOR_TAG} THEN 'it does not match its signature'
        ELSE 'it names ' || links || ' links, the table has ' || coalesce(found, 0) END AS problem
    FROM (SELECT a.*, t.links AS found, t.hi AS found_hi, t.lo AS found_lo
        FROM anchors a LEFT JOIN taken t ON t.anchor = a.number) a
    WHERE number > :first AND (number_before IS DISTINCT FROM number - 1 OR tag <> {_ANCHOR_TAG}
        OR (links, hi, lo) IS DISTINCT FROM (found, found_hi, found_lo))
    UNION ALL
    SELECT anchor, 'it is missing' FROM taken WHERE NOT EXISTS (SELECT FROM log_anchors WHERE number = anchor)
    ORDER BY 1
    """
)
_FORGED_LINKS = text(
    f"SELECT id FROM log_links WHERE at >= coalesce(CAST(:since AS timestamptz), '-infinity') AND tag <> {_TAG} ORDER BY id"
)


def newest_anchor(connection: Connection) -> tuple[int, str]:
    """(number, tag in hex) of the newest anchor; anchor 0 is the beginning of the chain."""
    row = connection.execute(text("SELECT number, tag FROM log_anchors ORDER BY number DESC LIMIT 1")).one()
    return row.number, bytes(row.tag).hex()


def anchor_tag(connection: Connection, number: int) -> str | None:
    """The tag of an anchor, in hex; null: there is none of that number."""
    tag = connection.execute(text("SELECT tag FROM log_anchors WHERE number = :number"), {"number": number}).scalar()
    return None if tag is None else bytes(tag).hex()


def anchored_at(connection: Connection, number: int) -> datetime | None:
    """When an anchor was made; null: there is none of that number."""
    query = text("SELECT at FROM log_anchors WHERE number = :number")
    made: datetime | None = connection.execute(query, {"number": number}).scalar()
    return made


def broken_anchors(connection: Connection, first: int = 0) -> list[tuple[int, str]]:
    """(number, problem) of the anchors after ``first`` that do not hold."""
    values = {"first": first} | key(connection)
    return [(row.number, row.problem) for row in connection.execute(_BROKEN_ANCHORS, values)]


def forged_links(connection: Connection, since: datetime | None = None) -> list[int]:
    """Links, of a time or later, that do not match their signature."""
    return list(connection.execute(_FORGED_LINKS, {"since": since} | key(connection)).scalars())
