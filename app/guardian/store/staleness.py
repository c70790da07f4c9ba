"""Finds learning arms whose model does not follow what happens."""

from sqlalchemy import Connection, text

STALE_S = 86_400.0
LEAST = 500  # decisions that were settled since the model was made

_STALE = text(
    """
    SELECT g.arm, m.number, g.problem, extract(epoch FROM clock_timestamp() - m.created_at)::float8 AS age_s,
        (SELECT count(*) FROM outcomes o WHERE o.experiment_id = g.experiment_id AND o.arm = g.arm
            AND o.settled_at > m.created_at) AS settled
    FROM lineages g JOIN model_versions m ON m.id = g.serving_version_id
    WHERE g.experiment_id = :id AND m.manifest->'policy'->>'learns' IS DISTINCT FROM 'false'
      AND m.created_at < clock_timestamp() - make_interval(secs => :stale_s)
    """
)


def why(connection: Connection, experiment_id: int) -> dict[str, str]:
    """By arm, why its model is stale: older than a day, while many outcomes were settled since."""
    rows = connection.execute(_STALE, {"id": experiment_id, "stale_s": STALE_S})
    return {
        row.arm: f"The model of {row.arm} (version {row.number}) is {row.age_s / 86_400:.1f} days old, and "
        f"{row.settled:,} outcomes were settled since. {row.problem or 'Does the worker run?'}"
        for row in rows
        if row.settled >= LEAST
    }
