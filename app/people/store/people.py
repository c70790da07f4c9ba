"""Everything that is stored about one unit, for the person."""

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import Connection, text

Row = dict[str, JsonValue | datetime]  # by column; contexts, messages and properties are JSON that apps sent
_QUERIES = {
    "decisions": """
        SELECT d.id AS decision_id, e.key AS experiment, d.decided_at, d.arm, d.eligible[d.chosen + 1] AS action, d.context,
            d.message, d.withheld
        FROM decisions d JOIN experiments e ON e.id = d.experiment_id
        WHERE d.unit_id = :unit_id ORDER BY d.decided_at DESC LIMIT :most
    """,
    "rewards": """
        SELECT r.decision_id, r.reward_id, r.metric, r.value, r.occurred_at, r.received_at
        FROM decisions d JOIN rewards r ON r.decision_id = d.id AND r.experiment_id = d.experiment_id
        WHERE d.unit_id = :unit_id ORDER BY r.received_at DESC LIMIT :most
    """,
    "feedback": """
        SELECT decision_id, feedback_id, kind, value, comment, occurred_at, received_at
        FROM feedback WHERE unit_id = :unit_id ORDER BY received_at DESC LIMIT :most
    """,
    "events": """
        SELECT event_id, name, properties, occurred_at, received_at
        FROM events WHERE unit_id = :unit_id ORDER BY occurred_at DESC LIMIT :most
    """,
    "messages": """
        SELECT d.decision_id, w.key AS webhook, d.message, d.status, d.created_at, d.finished_at,
            (SELECT json_agg(json_build_object('at', a.at, 'status', a.status, 'error', a.error) ORDER BY a.number)
             FROM delivery_attempts a WHERE a.delivery_id = d.id) AS attempts
        FROM deliveries d LEFT JOIN webhooks w ON w.id = d.webhook_id
        WHERE d.unit_id = :unit_id ORDER BY d.id DESC LIMIT :most
    """,
    "firings": """
        SELECT t.key AS trigger, f.cause, f.caused_at, f.request, f.status, f.reason, f.due_at, f.decision_id,
            f.wait_decision_id, f.finished_at
        FROM firings f LEFT JOIN triggers t ON t.id = f.trigger_id
        WHERE f.unit_id = :unit_id ORDER BY f.id DESC LIMIT :most
    """,
}


def everything(connection: Connection, unit_id: str, most: int) -> dict[str, list[Row]]:
    """The newest rows of a unit, by kind."""
    values = {"unit_id": unit_id, "most": most}
    return {
        kind: [row._asdict() for row in connection.execute(text(query), values)] for kind, query in _QUERIES.items()
    }
