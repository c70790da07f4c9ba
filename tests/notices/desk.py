"""Makes things happen in the tables that notices are made from, and collects and sends them in this process."""

from typing import Any

from app.foundation.settings import Settings
from app.messaging.delivery import webhooks
from app.messaging.delivery.webhooks import WebhookSpec
from app.notices import collecting, log, receivers, sending
from app.notices.log import Entry
from app.notices.receivers import ReceiverSpec
from tests.service import Loop, query, settings


class Desk:
    """Notices of one database."""

    def __init__(self, loop: Loop, **environment: str) -> None:
        self.loop, self.url, self.engine = loop, loop.database_url, loop.runtime.engine
        self.settings: Settings = settings(self.url, **{"LOOPWISE_ALLOW_HTTP_LOOPBACK": "1"} | environment)

    def webhook(self, key: str, url: str) -> str:
        """Returns its secret."""
        return webhooks.create(self.engine, self.settings, WebhookSpec(key=key, url=url), "test")[1]

    def receiver(self, key: str, **fields: Any) -> None:
        receivers.create(self.engine, self.settings, ReceiverSpec(key=key, **fields), "test")

    def clear(self) -> None:
        """Forget all receivers, and everything that was told."""
        query(self.url, "TRUNCATE notices, notice_messages, notice_receivers")
        query(self.url, "UPDATE webhooks SET silent_since = NULL, retry_at = NULL")

    def incident(self, experiment_id: int, kind: str = "value_fell") -> int:
        """Open an incident, as the guardian does."""
        statement = """
            INSERT INTO incidents (experiment_id, arm, kind, began_at, evidence, actions)
            VALUES (%s, 'learned', %s, now(), '{"before": 0.7, "after": 0.1, "strength": 9}', '[]') RETURNING id
        """
        return int(query(self.url, statement, experiment_id, kind)[0][0])

    def close(self, incident_id: int) -> None:
        query(self.url, "UPDATE incidents SET closed_at = clock_timestamp() WHERE id = %s", incident_id)

    def summary(self, experiment_id: int, kind: str, summary: str) -> None:
        """What a job of the worker found, in the few figures that lists show."""
        statement = """
            INSERT INTO latest (experiment_id, kind, summary, seconds) VALUES (%s, %s, CAST(%s AS jsonb), 0)
            ON CONFLICT (experiment_id, kind) DO UPDATE SET summary = excluded.summary
        """
        query(self.url, statement, experiment_id, kind, summary)

    def collect(self) -> None:
        collecting.collect(self.engine, self.settings)

    def send(self) -> int:
        return sending.send_due(self.engine, self.settings)

    def hurry(self) -> None:
        """Make everything due, as if the pauses were over."""
        query(self.url, "UPDATE notice_messages SET next_at = clock_timestamp()")
        query(self.url, "UPDATE webhooks SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL")

    def later(self) -> None:
        """As if what is gone had been gone for a long time."""
        query(self.url, "UPDATE notices SET gone_since = gone_since - interval '1 hour'")

    def entries(self, **asked: Any) -> list[Entry]:
        """Oldest first."""
        return log.newest(self.engine, limit=200, **asked)[::-1]

    def told(self) -> list[tuple[str, str, bool]]:
        """Of every notice, oldest first: topic, text, whether it is over."""
        return [(e.notice.topic, e.notice.text, e.notice.ended_at is not None) for e in self.entries()]
