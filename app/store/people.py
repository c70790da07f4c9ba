"""Everything that is stored of one unit, for the person to have."""

from typing import Any

from sqlalchemy import Connection, text

_QUERIES = {
    "decisions": """
        SELECT d.id AS decision_id, e.key AS experiment, d.decided_at, d.arm, d.eligible[d.chosen + 1] AS action, d.context,
            d.message, d.withheld
        FROM decisions d JOIN experiments e ON e.id = d.experiment_id
        WHERE d.unit_id = :unit_id ORDER BY d.decided_at DESC LIMIT :most
    """,
    "rewards": """
        SELECT r.decision_id, r.metric, r.value, r.occurred_at, r.received_at
        FROM decisions d JOIN rewards r ON r.decision_id = d.id
        WHERE d.unit_id = :unit_id ORDER BY r.received_at DESC LIMIT :most
    """,
    "feedback": """
        SELECT decision_id, kind, value, comment, occurred_at, received_at
        FROM feedback WHERE unit_id = :unit_id ORDER BY received_at DESC LIMIT :most
    """,
    "events": """
        SELECT event_id, name, properties, occurred_at, received_at
        FROM events WHERE unit_id = :unit_id ORDER BY occurred_at DESC LIMIT :most
    """,
    "messages": """
        SELECT decision_id, message, status, created_at, finished_at
        FROM deliveries WHERE unit_id = :unit_id ORDER BY id DESC LIMIT :most
    """,
}


def everything(connection: Connection, unit_id: str, most: int) -> dict[str, list[dict[str, Any]]]:
    """By kind, the newest rows of a unit."""
    values = {"unit_id": unit_id, "most": most}
    return {
        kind: [dict(row._mapping) for row in connection.execute(text(query), values)]
        for kind, query in _QUERIES.items()
    }
