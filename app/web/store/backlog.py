"""How long the oldest entry of each queue has waited, read from the queues' indexes."""

from sqlalchemy import Connection, text

_WAITED = text(
    """
    SELECT queue, greatest(coalesce(extract(epoch FROM clock_timestamp() - since), 0), 0)::float8 AS seconds FROM (VALUES
        ('events', (SELECT e.received_at FROM awaiting_match a JOIN events e ON e.event_id = a.event_id
            ORDER BY a.id LIMIT 1)),
        ('firings', (SELECT due_at FROM firings WHERE status = 'waiting' ORDER BY due_at LIMIT 1)),
        ('deliveries', (SELECT min(first.next_at) FROM webhooks w CROSS JOIN LATERAL (
            SELECT d.next_at FROM deliveries d WHERE d.webhook_id = w.id AND d.status = 'waiting'
            ORDER BY d.next_at LIMIT 1) first WHERE w.status = 'running' AND w.silent_since IS NULL)),
        ('notices', (SELECT min(first.next_at) FROM notice_receivers r
            LEFT JOIN webhooks w ON w.key = r.webhook CROSS JOIN LATERAL (
            SELECT m.next_at FROM notice_messages m WHERE m.receiver_id = r.id AND m.status = 'waiting'
            ORDER BY m.id LIMIT 1) first
            WHERE r.status = 'running' AND r.quiet_from IS NULL AND w.silent_since IS NULL)),
        ('erasures', (SELECT min(requested_at) FROM erasures WHERE status = 'waiting')),
        ('feedback_schemas', (SELECT min(created_at) FROM (
            SELECT DISTINCT ON (experiment_id) created_at, applied_at FROM feedback_schemas
            ORDER BY experiment_id, version DESC) newest WHERE applied_at IS NULL))
    ) queues (queue, since)
    """
)


def waited(connection: Connection) -> dict[str, float]:
    """By queue, how many seconds its oldest entry has been due; 0: none is due."""
    return {row.queue: row.seconds for row in connection.execute(_WAITED)}


def silent_webhooks(connection: Connection) -> int:
    """Running webhooks that did not answer their last call."""
    query = "SELECT count(*) FROM webhooks WHERE status = 'running' AND silent_since IS NOT NULL"
    return int(connection.execute(text(query)).scalar_one())
