"""Sums of each unit, kept from report to report, so that a report reads the outcomes that are new and not all of them.

The sums count the outcomes that were settled before one time and decided before another. Nothing is counted before it is
certain that no earlier outcome can appear: every transaction that may still store one is older than the first time. A report
adds what the sums do not count yet, so it is the same as one from all outcomes. Excluded units and units that deny analysis are
left out when the sums are read.

Two triggers (migration 0018) make the sums stale when an outcome changes or goes. They are then made again from all
outcomes, as they are every day.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from app.foundation.store.engine import AnyRow

MARGIN_S: Final = 5.0  # between the time of a statement and the moment when other sessions see that it runs
_BEGIN = text(
    """
    INSERT INTO unit_sum_states (experiment_id) SELECT :id
    WHERE NOT EXISTS (SELECT FROM unit_sum_states WHERE experiment_id = :id) ON CONFLICT DO NOTHING
    """
)
# Whoever makes the sums stale holds the row until it commits: this report then does without them.
_STATE = text(
    """
    SELECT *, stale OR built_at IS NULL OR built_at < clock_timestamp() - interval '1 day'
        OR coalesce(settled_before > clock_timestamp(), false)
        OR coalesce(newest_at >= CAST(:until AS timestamptz), false) AS anew
    FROM unit_sum_states WHERE experiment_id = :id FOR UPDATE SKIP LOCKED
    """
)
# Outcomes have the time of their statement. A transaction that wrote something may have stored some since its start, a
# running statement since its own. What a session does may be hidden, as of another role: then nothing is certain.
_CERTAIN = text(
    """
    SELECT CASE WHEN NOT coalesce(bool_or(query = '<insufficient privilege>' OR state = 'disabled'), false) THEN least(
        clock_timestamp() - make_interval(secs => :margin_s),
        min(CASE WHEN backend_xid IS NOT NULL THEN xact_start WHEN state = 'active' THEN query_start END)
    ) END
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND coalesce(backend_type, 'client backend') = 'client backend'
    """
)
_ADD = """
    WITH settled AS (
        SELECT arm, unit_id, reward, decided_at, settled_at FROM outcomes
        WHERE experiment_id = :id AND NOT holdout AND settled_at >= coalesce(CAST(:since AS timestamptz), '-infinity')
          AND settled_at < :certain
    ), added AS (
        SELECT arm, unit_id, count(*) AS decisions, sum(reward) AS reward, min(decided_at) AS first_at,
            max(decided_at) AS last_at
        FROM (SELECT arm, unit_id, reward, decided_at FROM settled {earlier}) o
        WHERE decided_at < coalesce(CAST(:until AS timestamptz), 'infinity') GROUP BY arm, unit_id
    ), stored AS (
        INSERT INTO unit_sums AS u (experiment_id, unit_id, arm, decisions, reward, first_at, last_at)
        SELECT :id, unit_id, arm, decisions, reward, first_at, last_at FROM added
        ON CONFLICT (experiment_id, unit_id, arm) DO UPDATE SET decisions = u.decisions + excluded.decisions,
            reward = u.reward + excluded.reward, first_at = least(u.first_at, excluded.first_at),
            last_at = greatest(u.last_at, excluded.last_at)
    )
    UPDATE unit_sum_states SET stale = false, settled_before = :certain, decided_before = :until,
        built_at = CASE WHEN :anew THEN clock_timestamp() ELSE built_at END,
        newest_at = greatest(newest_at, (SELECT max(last_at) FROM added)),
        ahead = ahead OR coalesce((SELECT bool_or(decided_at > settled_at) FROM settled), false)
    WHERE experiment_id = :id RETURNING ahead, settled_before
"""
# Those that were settled in time, but decided too late to be counted: an outcome comes after its decision.
_EARLIER = """
    UNION ALL
    SELECT arm, unit_id, reward, decided_at FROM outcomes
    WHERE experiment_id = :id AND NOT holdout AND settled_at >= :decided AND settled_at < :since AND decided_at >= :decided
"""
_FORGET = text("DELETE FROM unit_sums WHERE experiment_id = :id")
_START = text("UPDATE unit_sum_states SET newest_at = NULL, ahead = false WHERE experiment_id = :id")

# One row for each unit and arm, as from all outcomes that were decided before ``:until``. ``refresh`` returns ``:counted``.
# As the view ``analysed``, without the units that are left out; one hash of them serves all rows, whatever the planner expects.
SEEN: Final = """
    SELECT arm, unit_id, coalesce(k.decisions, 0) + coalesce(n.decisions, 0) AS decisions,
        coalesce(k.reward, 0) + coalesce(n.reward, 0) AS num, least(k.first_at, n.first_at) AS first,
        greatest(k.last_at, n.last_at) AS last
    FROM (SELECT * FROM unit_sums WHERE experiment_id = :id) k FULL JOIN (
        SELECT arm, unit_id, count(*) AS decisions, sum(reward) AS reward, min(decided_at) AS first_at,
            max(decided_at) AS last_at
        FROM outcomes WHERE experiment_id = :id AND NOT holdout
          AND decided_at < coalesce(CAST(:until AS timestamptz), 'infinity')
          AND settled_at >= CAST(:counted AS timestamptz)
        GROUP BY arm, unit_id
    ) n USING (unit_id, arm)
    WHERE unit_id NOT IN (SELECT r.unit_id FROM restrictions r WHERE 'analyse' = ANY(r.denied))
      AND unit_id NOT IN (SELECT x.unit_id FROM excluded_units x WHERE x.experiment_id = :id)
"""


def refresh(connection: Connection, experiment_id: int, until: datetime | None) -> datetime | None:
    """Count what is new. Until the transaction ends, nobody changes what was counted.

    :param until: only decisions before it are counted (see ``app.reporting.store.results.horizon``); None: all.
    :returns: what was settled before this time is counted, see ``SEEN``; None: there are no sums yet, or somebody makes them
        stale at the moment.
    """
    state = connection.execute(_STATE, {"id": experiment_id, "until": until}).first()
    if state is None:
        connection.execute(_BEGIN, {"id": experiment_id})
        return None
    certain = connection.execute(_CERTAIN, {"margin_s": MARGIN_S}).scalar_one()
    # A transaction that is older than the row of the state may have deleted outcomes without making it stale.
    if (state.ahead and not state.anew) or certain is None or certain <= state.created_at:
        return None
    if state.anew:
        connection.execute(_FORGET, {"id": experiment_id})
        connection.execute(_START, {"id": experiment_id})
    counted = _add(connection, state, certain, until)
    if state.anew:  # the planner would take a million new rows for none, and sort them
        connection.execute(text("ANALYZE (SKIP_LOCKED) unit_sums"))
    return counted


def _add(connection: Connection, state: AnyRow, certain: datetime, until: datetime | None) -> datetime | None:
    since = None if state.anew else state.settled_before
    values = {
        "id": state.experiment_id,
        "since": since,
        "certain": certain if since is None else max(certain, since),
        "until": until,
        "anew": state.anew,
    }
    earlier = ""
    if since is not None and state.decided_before is not None:
        earlier = _EARLIER
        values["decided"] = state.decided_before
    row = connection.execute(text(_ADD.format(earlier=earlier)), values).one()
    return None if row.ahead else row.settled_before
