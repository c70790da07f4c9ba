"""The log as the question of a tighter cap needs it: decisions with their rewards, and all messages of their units."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME

SLICE = 5000  # rows, or units, of one statement: a web process's statements have seconds


class CapRow(NamedTuple):
    """One settled decision."""

    id: str
    unit_id: str
    at: datetime
    config_version: int
    own_actions: bool  # the call's own candidates: they say nothing
    eligible: list[str]
    distribution: list[float]
    chosen: int
    reward: float


class Said(NamedTuple):
    """One message of a unit, of any experiment."""

    unit_id: str
    at: datetime
    experiment_id: int
    action: str
    channel: str


_ROWS = text(
    f"""
    SELECT d.id, d.unit_id, d.decided_at AS at, d.config_version, d.actions IS NOT NULL AS own_actions, d.eligible,
        d.distribution, d.chosen, o.reward
    FROM decisions d JOIN analysed o ON {ITS_OUTCOME}
    WHERE d.experiment_id = :id AND d.state <> 'imported' AND d.withheld IS NULL
      AND (CAST(:at AS timestamptz) IS NULL OR (d.decided_at <= :at AND (d.decided_at, d.id) < (:at, :before)))
    ORDER BY d.decided_at DESC, d.id DESC LIMIT :most
    """
)
_SAID = text(
    """
    SELECT unit_id, decided_at AS at, experiment_id, eligible[chosen + 1] AS action, channel FROM decisions
    WHERE unit_id = ANY(:units) AND channel IS NOT NULL
      AND decided_at > CAST(:since AS timestamptz) - make_interval(secs => :window_s)
    """
)


def newest(connection: Connection, experiment_id: int, most: int) -> list[CapRow]:
    """The newest settled decisions of people who agreed to everything, newest first."""
    found: list[CapRow] = []
    while len(found) < most:
        last = found[-1] if found else None
        size = min(SLICE, most - len(found))
        values = {"id": experiment_id, "most": size, "at": last and last.at, "before": last and last.id}
        rows = [CapRow(**row._asdict()) for row in connection.execute(_ROWS, values)]
        found += rows
        if len(rows) < size:
            break
    return found


def said(connection: Connection, units: list[str], since: datetime, window_s: float) -> list[Said]:
    """Every message of these units since a window before a moment."""
    found: list[Said] = []
    for first in range(0, len(units), SLICE):
        values = {"units": units[first : first + SLICE], "since": since, "window_s": window_s}
        found += [Said(**row._asdict()) for row in connection.execute(_SAID, values)]
    return found
