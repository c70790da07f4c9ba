"""The age of the queues in /metrics."""

from app.foundation.store.engine import transaction
from app.messaging.delivery import webhooks
from app.people import erasure
from app.web.store import backlog
from tests.messaging.trigger_support import Triggers
from tests.service import Loop, query


def waited(loop: Loop) -> dict[str, float]:
    with transaction(loop.runtime.engine) as connection:
        return backlog.waited(connection)


def test_each_queue_tells_how_long_its_oldest_entry_has_been_due(loop: Loop) -> None:
    work, url = Triggers(loop), loop.database_url
    assert set(waited(loop).values()) == {0.0}
    work.experiment("tips")
    spec = webhooks.WebhookSpec(key="w", url="https://example.org/hook")
    webhooks.create(loop.runtime.engine, loop.settings, spec, "test")
    work.define("sends", {"type": "event", "event": "came"}, delivery={"to": "webhook", "webhook": "w"})
    work.report({"name": "came", "event_id": "1"})
    query(url, "UPDATE events SET received_at = received_at - interval '1 hour'")
    assert waited(loop)["events"] > 3600
    work.match()
    query(url, "UPDATE firings SET due_at = due_at + interval '1 day'")
    assert (waited(loop)["events"], waited(loop)["firings"]) == (0, 0)  # it has a delay
    query(url, "UPDATE firings SET due_at = due_at - interval '2 days'")
    assert waited(loop)["firings"] > 86_000
    work.fire()
    query(url, "UPDATE deliveries SET next_at = next_at - interval '1 hour'")
    assert (waited(loop)["firings"], waited(loop)["deliveries"] > 3600) == (0, True)
    query(url, "UPDATE webhooks SET silent_since = clock_timestamp()")  # the receiver's fault
    with transaction(loop.runtime.engine) as connection:
        assert (backlog.waited(connection)["deliveries"], backlog.silent_webhooks(connection)) == (0, 1)
    erasure.ask(loop.runtime.engine, loop.settings, loop.caller, "leaver")
    query(url, "UPDATE erasures SET requested_at = requested_at - interval '1 hour'")
    assert waited(loop)["erasures"] > 3600
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    assert waited(loop)["erasures"] == 0
