"""Finds experiments with an arm that is shipped or on its way there."""

from sqlalchemy import Connection, text

_CURRENT = "FROM experiments e JOIN experiment_configs c ON c.experiment_id = e.id AND c.version = e.config_version"


def due(connection: Connection) -> list[tuple[str, str]]:
    """Experiments that are to be concluded by now: their keys, and the reasons that were given."""
    query = f"""
        SELECT e.key, c.config->'shipped'->>'reason' AS reason {_CURRENT}
        WHERE e.status <> 'concluded' AND CAST(c.config->'shipped'->>'until' AS timestamptz) <= clock_timestamp()
        ORDER BY e.id
    """
    return [(row.key, row.reason) for row in connection.execute(text(query))]


def ramping(connection: Connection) -> list[str]:
    """Keys of the running experiments whose ramp the worker advances."""
    query = f"""
        SELECT e.key {_CURRENT}
        WHERE e.status = 'running' AND CAST(c.config->'ramp'->>'automatic' AS boolean) ORDER BY e.id
    """
    return list(connection.execute(text(query)).scalars())
