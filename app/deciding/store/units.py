"""Read in one statement what a decision needs to know about its unit, while the unit is locked."""

from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.fields import JsonObject
from app.foundation.store.fragments import ITS_OUTCOME, NOT_TRIAL
from app.foundation.store.locks import Kind, hold_all

MAX_CONTACTS = 1000  # per unit; caps cannot count more


class Question(NamedTuple):
    """What one experiment needs to know about one unit."""

    unit_id: str
    experiment_id: int
    contacts_s: float  # read the messages of the last so many seconds; 0: none
    mute_s: float  # read "not interested" of the last so many seconds; 0: none
    lookback: int  # read so many newest decisions in the experiment; 0: none


class Contact(NamedTuple):
    """One message that was sent to a unit."""

    experiment_id: int
    action: str
    channel: str
    at: float  # Unix time, in seconds


class Past(NamedTuple):
    """One earlier decision of the unit in the experiment."""

    action: str
    channel: str | None  # null: the action sent no message
    at: float  # Unix time, in seconds
    reward: float | None  # null: not settled yet


class UnitRow(NamedTuple):
    """The answer to one question."""

    now: float  # the database's clock, Unix time, in seconds
    consent: dict[str, str]  # the status by purpose: the latest answer, or denied while an erasure waits
    contacts: list[Contact]  # newest first
    muted: set[str]  # actions
    past: list[Past]  # newest first


# Decisions of one call have one time; where they lie in the table tells which of them came last.
_STATE = text(
    f"""
    SELECT extract(epoch FROM n.now)::float8 AS now,
        (SELECT json_object_agg(purpose, status) FROM (
            SELECT DISTINCT ON (purpose) purpose, status FROM consents WHERE unit_id = q.unit_id ORDER BY purpose, id DESC
        ) c) AS consent,
        (SELECT denied FROM restrictions r WHERE r.unit_id = q.unit_id) AS denied,
        CASE WHEN q.contacts_s > 0 THEN (SELECT json_agg(json_build_array(experiment_id, action, channel, at)) FROM (
            SELECT experiment_id, eligible[chosen + 1] AS action, channel, extract(epoch FROM decided_at)::float8 AS at
            FROM decisions WHERE unit_id = q.unit_id AND channel IS NOT NULL AND {NOT_TRIAL}
              AND decided_at > n.now - make_interval(secs => q.contacts_s)
            ORDER BY decided_at DESC LIMIT :most
        ) c) END AS contacts,
        CASE WHEN q.mute_s > 0 THEN (SELECT json_agg(DISTINCT action) FROM feedback f
            WHERE f.unit_id = q.unit_id AND f.experiment_id = q.experiment_id AND f.kind = 'not_interested'
              AND f.received_at > n.now - make_interval(secs => q.mute_s)
        ) END AS muted,
        CASE WHEN q.lookback > 0 THEN (SELECT json_agg(json_build_array(action, channel, at, reward)) FROM (
            SELECT d.eligible[d.chosen + 1] AS action, d.channel, extract(epoch FROM d.decided_at)::float8 AS at, o.reward
            FROM decisions d LEFT JOIN outcomes o ON {ITS_OUTCOME}
            WHERE d.unit_id = q.unit_id AND d.experiment_id + 0 = q.experiment_id AND d.state = 'active'
            ORDER BY d.decided_at DESC, d.ctid DESC LIMIT q.lookback
        ) p) END AS past
    FROM json_to_recordset(:questions) AS q (
        unit_id text, experiment_id bigint, contacts_s float8, mute_s float8, lookback int)
    CROSS JOIN (SELECT clock_timestamp() AS now OFFSET 0) n
    """
)


def hold(connection: Connection, unit_ids: list[str]) -> None:
    """Lock these units until the transaction ends, in a fixed order, so that there is no deadlock."""
    hold_all(connection, Kind.UNIT, unit_ids)


def read(connection: Connection, questions: list[Question]) -> list[UnitRow]:
    """Return the answers in the order of the questions, all read at one moment. Lock the units first."""
    values = {"questions": orjson.dumps([question._asdict() for question in questions]).decode(), "most": MAX_CONTACTS}
    return [
        UnitRow(
            row.now,
            (row.consent or {}) | dict.fromkeys(row.denied or (), "denied"),
            [Contact._make(contact) for contact in row.contacts or []],
            set(row.muted or []),
            [Past._make(decision) for decision in row.past or []],
        )
        for row in connection.execute(_STATE, values)
    ]


_ERASING = text("SELECT EXISTS (SELECT FROM erasures WHERE unit_id = :unit_id AND status = 'waiting')")


def restrict(connection: Connection, unit_id: str, denied: list[str], *, until_erased: bool = False) -> None:
    """From now on every decision for the unit respects what it denied. An empty list lifts all restrictions.

    :param denied: the purposes that the unit denied.
    :param until_erased: True: change nothing while the unit waits for its erasure.
    """
    if until_erased and connection.execute(_ERASING, {"unit_id": unit_id}).scalar_one():
        return
    if denied:
        query = """
            INSERT INTO restrictions (unit_id, denied) VALUES (:unit_id, :denied)
            ON CONFLICT (unit_id) DO UPDATE SET denied = excluded.denied
        """
    else:
        query = "DELETE FROM restrictions WHERE unit_id = :unit_id"
    values: JsonObject = {"unit_id": unit_id, "denied": denied}
    connection.execute(text(query), values if denied else {"unit_id": unit_id})
