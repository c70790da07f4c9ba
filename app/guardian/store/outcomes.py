"""Reads newly settled outcomes for the watches, arm by arm, in the order of settling."""

from datetime import datetime
from typing import NamedTuple

import orjson
from sqlalchemy import Connection, text

from app.foundation.store.fragments import decision_of


class Row(NamedTuple):
    """One settled decision."""

    arm: str
    unit_id: str
    reward: float
    events: int  # reward events in time; 0: the default was taken
    settled_at: datetime
    decided_at: datetime
    config_version: int
    eligible: list[str]
    chosen: int
    propensity: float  # of the chosen action in the logged distribution


_NEW = text(
    f"""
    SELECT o.arm, o.unit_id, o.reward, o.events, o.settled_at, o.decided_at, d.config_version,
        to_json(d.eligible)::text, d.chosen, d.distribution[d.chosen + 1]
    FROM (
        SELECT * FROM analysed a WHERE a.experiment_id = :id AND a.arm = :arm AND a.settled_at > :since
        ORDER BY a.settled_at, a.decided_at LIMIT :most
    ) o {decision_of("o", "o.decided_at")}
    WHERE d.state <> 'imported' ORDER BY o.settled_at, o.decided_at, o.decision_id
    """
)
_START = text(
    """
    SELECT min(settled_at) FROM (
        SELECT settled_at FROM outcomes WHERE experiment_id = :id ORDER BY settled_at DESC LIMIT :most
    ) newest
    """
)


def new(connection: Connection, experiment_id: int, arm: str, since: datetime, most: int) -> list[Row]:
    """Outcomes of an arm that were settled after a moment, in order. Hold the arm's lock: rounds settle as they commit.

    :param most: a round whose outcomes do not all fit is left for the next call, unless it is the first.
    """
    values = {"id": experiment_id, "arm": arm, "since": since, "most": most}
    lists: dict[str, list[str]] = {}  # most decisions have the same actions: each list is read once
    rows = []
    for *first, eligible, chosen, propensity in connection.execute(_NEW, values):
        if eligible not in lists:
            lists[eligible] = orjson.loads(eligible)
        rows.append(Row._make((*first, lists[eligible], chosen, propensity)))
    if len(rows) < most or rows[0].settled_at == rows[-1].settled_at:
        return rows
    return [row for row in rows if row.settled_at < rows[-1].settled_at]


_REACH = text(
    """
    SELECT min(settled_at) AS start, count(*) AS outcomes FROM (
        SELECT settled_at FROM outcomes WHERE experiment_id = :id AND settled_at > :since
        ORDER BY settled_at DESC LIMIT :most
    ) newest
    """
)


def reach(connection: Connection, experiment_id: int, since: datetime, most: int) -> tuple[datetime | None, bool]:
    """Where the newest outcomes since a moment begin, None without any; and whether there are more than ``most``."""
    row = connection.execute(_REACH, {"id": experiment_id, "since": since, "most": most + 1}).one()
    return row.start, row.outcomes > most


def start(connection: Connection, experiment_id: int, most: int) -> datetime | None:
    """Where the newest outcomes begin; None: there is none."""
    began: datetime | None = connection.execute(_START, {"id": experiment_id, "most": most}).scalar_one()
    return began
