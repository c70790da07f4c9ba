"""Reads the log to evaluate a tighter cap: decisions with their rewards, and all messages of their units."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, NOT_TRIAL

SLICE = 5000  # rows, or units, per statement: a web process cancels statements after some seconds


class CapRow(NamedTuple):
    """One settled decision."""

    id: str
    unit_id: str
    at: datetime
    config_version: int
    own_actions: bool  # the call gave its own candidates, which carry no message
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
    f"""
    SELECT unit_id, decided_at AS at, experiment_id, eligible[chosen + 1] AS action, channel FROM decisions
    WHERE unit_id = ANY(:units) AND channel IS NOT NULL AND {NOT_TRIAL}
      AND decided_at > CAST(:since AS timestamptz) - make_interval(secs => :window_s)
    """
)


def newest(connection: Connection, experiment_id: int, most: int) -> list[CapRow]:
    """The newest settled decisions from which no purpose was withheld, newest first."""
    settled: list[CapRow] = []
    while len(settled) < most:
        last = settled[-1] if settled else None
        size = min(SLICE, most - len(settled))
        values = {"id": experiment_id, "most": size, "at": last and last.at, "before": last and last.id}
        page = [CapRow(**row._asdict()) for row in connection.execute(_ROWS, values)]
        settled += page
        if len(page) < size:
            break
    return settled


def said(connection: Connection, units: list[str], since: datetime, window_s: float) -> list[Said]:
    """Every message of these units from ``window_s`` seconds before ``since``."""
    messages: list[Said] = []
    for first in range(0, len(units), SLICE):
        values = {"units": units[first : first + SLICE], "since": since, "window_s": window_s}
        messages += [Said(**row._asdict()) for row in connection.execute(_SAID, values)]
    return messages
