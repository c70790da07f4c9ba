"""Counts settled outcomes and the units of each arm, and sums the reward."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import NOT_TRIAL, WITHOUT_HELD_OUT, decision_of
from app.reporting.store import unit_sums
from app.reporting.store.metric_sums import ArmSums, named


class Window(NamedTuple):
    """The data behind a report."""

    decisions: int
    units: int
    first: datetime | None  # time of the first settled decision; null when there is none
    last: datetime | None


class Assigned(NamedTuple):
    """The number of units whose first decision was in this arm under this configuration."""

    config_version: int
    arm: str
    units: int


def clock(connection: Connection) -> datetime:
    """The database's time."""
    now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return now


_OVERDUE = text(
    f"""
    SELECT min(d.decided_at) FROM awaiting_outcome a {decision_of("a")}
    WHERE a.experiment_id = :id AND a.closes_at <= clock_timestamp()
    """
)


def horizon(connection: Connection, experiment_id: int) -> datetime | None:
    """Time of the oldest decision whose window closed and that is not settled yet; null when there is none.

    Arms are settled one after the other, so only decisions before this time have their outcomes in all arms. In a report
    on later decisions, an arm that waits to be settled would look like an arm that lost units.
    """
    overdue_since: datetime | None = connection.execute(_OVERDUE, {"id": experiment_id}).scalar_one()
    return overdue_since


def settled(connection: Connection, experiment_id: int, since: datetime | None = None) -> int:
    """All settled decisions, or those that were decided at a time or later: a decision is settled after it was made."""
    query = "SELECT count(*) FROM analysed WHERE experiment_id = :id"
    if since is not None:
        query += " AND settled_at >= :since AND decided_at >= :since"
    return int(connection.execute(text(query), named({"id": experiment_id, "since": since}, query)).scalar_one())


def give_memory(connection: Connection) -> None:
    """Give this transaction enough memory to group a million units without writing to disk."""
    connection.execute(text("SET LOCAL work_mem = '128MB'"))


_SEEN = """
    SELECT arm, unit_id, count(*) AS decisions, sum(reward) AS num, min(decided_at) AS first, max(decided_at) AS last
    FROM analysed WHERE experiment_id = :id AND decided_at < coalesce(CAST(:until AS timestamptz), 'infinity')
    GROUP BY arm, unit_id
"""
_OVERVIEW = """
    SELECT arm, count(*)::int AS units, sum(decisions)::bigint AS decisions, avg(num) AS mean_num,
        avg(decisions::float8) AS mean_den, var_pop(num) AS var_num, var_pop(decisions::float8) AS var_den,
        covar_pop(num, decisions::float8) AS cov, avg(abs(num)) AS mean_size,
        bool_and(num IN (0, 1) AND decisions = 1) AS binary, min(first) AS first, max(last) AS last
    FROM ({seen}) seen GROUP BY arm ORDER BY arm
"""


class Overview(NamedTuple):
    """The units of each arm, the time of the data, and the sums of the reward, from one pass over the outcomes."""

    window: Window
    reward: list[ArmSums]

    @property
    def units(self) -> dict[str, int]:
        """Units with a settled decision, by arm."""
        return {row.arm: row.units for row in self.reward}


def overview(
    connection: Connection, experiment_id: int, until: datetime | None = None, counted: datetime | None = None
) -> Overview:
    """Summarise all settled decisions.

    :param until: only decisions before it (see ``horizon``).
    :param counted: what ``unit_sums.refresh`` returned for this time; None: all outcomes are read.
    """
    values = {"id": experiment_id, "until": until, "counted": counted}
    query = _OVERVIEW.format(seen=_SEEN if counted is None else unit_sums.SEEN)
    rows = connection.execute(text(query), named(values, query)).all()
    sums = [
        ArmSums(
            arm=row.arm,
            segment=None,
            stretch=0,
            units=row.units,
            decisions=row.decisions,
            mean_num=row.mean_num,
            mean_den=row.mean_den,
            var_num=row.var_num,
            var_den=row.var_den,
            cov=row.cov,
            mean_size=row.mean_size,
            binary=row.binary,
        )
        for row in rows
    ]
    first, last = min((row.first for row in rows), default=None), max((row.last for row in rows), default=None)
    window = Window(sum(row.decisions for row in sums), sum(row.units for row in sums), first, last)
    return Overview(window, sums)


# A decision's time tells its configuration, except in a configuration's first minute: a decision under the previous one may
# have been in progress. For that minute, the query reads the decision itself. For an imported log it always does: its
# configurations were stored after its decisions.
_ASSIGNED = text(
    f"""
    WITH first AS (
        SELECT DISTINCT ON (unit_id) unit_id, arm, first AS decided_at FROM ({_SEEN}) seen ORDER BY unit_id, first, arm
    ), spans AS (
        SELECT version, created_at AS start,
            CASE WHEN version = 1 THEN '-infinity' ELSE created_at END AS low,
            coalesce(lead(created_at) OVER (ORDER BY version), 'infinity') AS high
        FROM experiment_configs WHERE experiment_id = :id
    ), kind AS (
        SELECT coalesce((SELECT state = 'imported' FROM decisions WHERE experiment_id = :id LIMIT 1), false) AS imported
    )
    SELECT coalesce(d.config_version, s.version) AS config_version, f.arm, count(*)::int AS units
    FROM first f JOIN spans s ON f.decided_at >= s.low AND f.decided_at < s.high
    LEFT JOIN LATERAL (
        SELECT d.config_version FROM decisions d
        WHERE (s.version > 1 AND f.decided_at < s.start + interval '1 minute' OR (SELECT imported FROM kind))
          AND d.unit_id = f.unit_id
          AND d.experiment_id = :id AND d.decided_at = f.decided_at AND d.arm = f.arm
        LIMIT 1
    ) d ON true
    GROUP BY 1, 2 ORDER BY 1, 2
    """
)


def assigned(connection: Connection, experiment_id: int, until: datetime | None = None) -> list[Assigned]:
    """Count every unit once, by the configuration and arm of its first decision."""
    rows = connection.execute(_ASSIGNED, {"id": experiment_id, "until": until})
    return [Assigned(row.config_version, row.arm, row.units) for row in rows]


def decided_before(connection: Connection, experiment_id: int, moment: datetime) -> int:
    """How many decisions an experiment had made by then."""
    query = text(f"SELECT count(*) FROM decisions WHERE experiment_id = :id AND decided_at < :moment AND {NOT_TRIAL}")
    return int(connection.execute(query, {"id": experiment_id, "moment": moment}).scalar_one())


class Rewarded(NamedTuple):
    """How many of an arm's settled decisions had a reward event."""

    arm: str
    settled: int
    rewarded: int


def rewarded_per_arm(connection: Connection, experiment_id: int) -> list[Rewarded]:
    """Count settled and rewarded decisions by arm."""
    query = """
        SELECT arm, count(*) AS settled, count(*) FILTER (WHERE events > 0) AS rewarded
        FROM analysed WHERE experiment_id = :id GROUP BY arm
    """
    rows = connection.execute(text(query), {"id": experiment_id})
    return [Rewarded(row.arm, row.settled, row.rewarded) for row in rows]


def leave_out_held(connection: Connection) -> None:
    """Until the transaction ends, count no decision that is held out of rounds for a suspect."""
    connection.execute(text(WITHOUT_HELD_OUT))


def held_for_suspects(connection: Connection, experiment_id: int) -> int:
    """How many decisions are held out of rounds for suspects."""
    query = """
        SELECT count(*) FROM held_out WHERE experiment_id = :id AND suspect_id IS NOT NULL AND status = 'held'
    """
    return int(connection.execute(text(query), {"id": experiment_id}).scalar_one())
