"""Sums up the newest decisions of each model version of an arm, with what they earned."""

from typing import NamedTuple

from sqlalchemy import Connection, text

from app.foundation.store.fragments import ITS_OUTCOME, NOT_TRIAL


class Scored(NamedTuple):
    """The decisions of one version, among those that were read."""

    version: int
    decisions: int
    settled: int
    reward: float | None  # mean of the settled ones
    explored: float  # share at which it did not take the action that it liked best
    greedy: float | None  # mean reward of what it liked best, each such decision weighted by 1 / propensity


_SCORED = text(
    f"""
    WITH newest AS (
        SELECT id, experiment_id, arm, policy_version, distribution, chosen, propensity FROM decisions
        WHERE experiment_id = :experiment_id AND state <> 'imported' AND holdout IS NULL AND {NOT_TRIAL}
        ORDER BY decided_at DESC, id DESC LIMIT :most
    ), scored AS (
        SELECT d.policy_version, o.reward, d.propensity,
            d.distribution[d.chosen + 1] >= (SELECT max(p) FROM unnest(d.distribution) p) AS liked
        FROM newest d LEFT JOIN analysed o ON {ITS_OUTCOME} WHERE d.arm = :arm
    )
    SELECT policy_version AS version, count(*) AS decisions, count(reward) AS settled, avg(reward) AS reward,
        avg(CASE WHEN liked THEN 0.0 ELSE 1.0 END)::float8 AS explored,
        sum(reward / propensity) FILTER (WHERE liked AND reward IS NOT NULL)
            / nullif(sum(1 / propensity) FILTER (WHERE liked AND reward IS NOT NULL), 0) AS greedy
    FROM scored GROUP BY policy_version ORDER BY policy_version DESC
    """
)


def scored(connection: Connection, experiment_id: int, arm: str, most: int) -> list[Scored]:
    """The versions of an arm that decided among the newest decisions of an experiment, newest version first."""
    rows = connection.execute(_SCORED, {"experiment_id": experiment_id, "arm": arm, "most": most})
    return [Scored(**row._asdict()) for row in rows]
