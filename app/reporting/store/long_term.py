"""How units come back and what they earn, step by step since they were first seen."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text


class Step(NamedTuple):
    """The units of an arm in one step after they were first seen, as far as they were followed through it."""

    arm: str
    step: int  # 0: the step that begins with the first decision
    followed: int  # units
    seen: int  # of them, with a decision in this step
    mean_reward: float  # sum of rewards in this step per followed unit
    var_reward: float


class EarlyAndLate(NamedTuple):
    """An arm's units by what they earned in their first step and in the steps after it."""

    arm: str
    units: int
    mean_early: float  # mean reward per decision in the first step
    mean_late: float  # sum of rewards in the later steps
    var_early: float
    var_late: float
    covariance: float


# A unit that was seen in two arms belongs to neither curve. Nothing is joined: a planner that takes many units for one would join
# them in loops.
_UNITS = """
    WITH seen AS (
        SELECT unit_id, arm, decided_at, reward, min(decided_at) OVER u AS first, min(arm) OVER u = max(arm) OVER u AS one_arm
        FROM analysed WHERE experiment_id = :id WINDOW u AS (PARTITION BY unit_id)
    ), w AS (
        SELECT unit_id, arm, first, floor(extract(epoch FROM decided_at - first) / :step_s)::int AS step,
            count(*) AS decisions, sum(reward) AS total
        FROM seen WHERE one_arm GROUP BY 1, 2, 3, 4
    )
"""
_STEPS = text(
    f"""
    {_UNITS}, u AS (
        SELECT arm, first, array_agg(step) AS steps, array_agg(total) AS totals FROM w GROUP BY unit_id, arm, first
    )
    SELECT u.arm, k.step, count(*)::int AS followed, count(p.place)::int AS seen,
        avg(coalesce(u.totals[p.place], 0)) AS mean_reward, var_pop(coalesce(u.totals[p.place], 0)) AS var_reward
    FROM u CROSS JOIN generate_series(0, CAST(:last AS int)) AS k (step)
    CROSS JOIN LATERAL (SELECT array_position(u.steps, k.step) AS place) p
    WHERE u.first + make_interval(secs => :step_s * (k.step + 1)) <= :as_of
    GROUP BY u.arm, k.step ORDER BY u.arm, k.step
    """
)
_EARLY_AND_LATE = text(
    f"""
    {_UNITS}, pairs AS (
        SELECT arm, max(total / decisions) FILTER (WHERE step = 0) AS early,
            coalesce(sum(total) FILTER (WHERE step BETWEEN 1 AND :last), 0) AS late
        FROM w WHERE first + make_interval(secs => :step_s * (:last + 1)) <= :as_of GROUP BY arm, unit_id
    )
    SELECT arm, count(*)::int AS units, avg(early) AS mean_early, avg(late) AS mean_late, var_pop(early) AS var_early,
        var_pop(late) AS var_late, covar_pop(early, late) AS covariance
    FROM pairs GROUP BY arm ORDER BY arm
    """
)


def steps(connection: Connection, experiment_id: int, step_s: float, last: int, as_of: datetime) -> list[Step]:
    """How many units of each arm came back in each step, among those that were followed through it."""
    given = {"id": experiment_id, "step_s": step_s, "last": last, "as_of": as_of}
    return [Step(**row._asdict()) for row in connection.execute(_STEPS, given)]


def early_and_late(
    connection: Connection, experiment_id: int, step_s: float, last: int, as_of: datetime
) -> list[EarlyAndLate]:
    """What units earned in their first step and in the later ones, among those that were followed through all."""
    given = {"id": experiment_id, "step_s": step_s, "last": last, "as_of": as_of}
    return [EarlyAndLate(**row._asdict()) for row in connection.execute(_EARLY_AND_LATE, given)]
