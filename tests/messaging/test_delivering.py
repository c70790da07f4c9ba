"""Webhooks: signed, retried, logged, replayed; a receiver that never answers delays nobody else."""

import re
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest

from app.deciding.store import units
from app.foundation import outgoing
from app.foundation.errors import Conflict, NotFound, Unprocessable
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.messaging.delivery import log as deliveries
from app.messaging.delivery import sending as delivering
from app.messaging.delivery import webhooks
from app.messaging.delivery.webhooks import WebhookPatch, WebhookSpec
from app.messaging.store import webhooks as webhook_store
from app.messaging.triggers import lifecycle as triggers
from app.people import erasure
from tests.messaging.trigger_support import Triggers
from tests.receiver import receiving
from tests.service import ROOT, Loop, query, settings, wait_for


class Sending:
    """Deliveries of one database."""

    def __init__(self, loop: Loop) -> None:
        self.work = Triggers(loop)
        self.work.experiment("tips")
        self.database_url = loop.database_url
        self.settings: Settings = settings(loop.database_url, LOOPWISE_ALLOW_HTTP_LOOPBACK="1")
        self.engine = self.work.engine

    def webhook(self, key: str, url: str) -> str:
        """A webhook with a trigger of the same key; returns its secret."""
        _, secret = webhooks.create(self.engine, self.settings, WebhookSpec(key=key, url=url), "test")
        self.work.define(key, {"type": "event", "event": key}, delivery={"to": "webhook", "webhook": key})
        return secret

    def make(self, key: str, *units: str) -> None:
        """A delivery for each unit."""
        self.work.report(
            *[{"name": key, "event_id": f"{key}-{unit}-{time.time_ns()}", "unit_id": unit} for unit in units]
        )
        self.work.match()
        assert self.work.fire() == len(units)

    def send(self) -> int:
        return delivering.deliver_due(self.engine, self.settings)

    def hurry(self) -> None:
        """Make everything due, as if the pauses were over."""
        query(self.database_url, "UPDATE deliveries SET next_at = clock_timestamp() WHERE next_at IS NOT NULL")
        query(self.database_url, "UPDATE webhooks SET retry_at = clock_timestamp() WHERE retry_at IS NOT NULL")

    def log(self, key: str, **asked: Any) -> list[dict[str, Any]]:
        return deliveries.newest(self.engine, webhook=key, limit=200, **asked)


def platform_now(sending: Sending) -> datetime:
    """The database's clock."""
    with sending.engine.begin() as connection:
        return platform.now(connection)


@pytest.fixture(scope="module")
def sending(loop: Loop) -> Sending:
    return Sending(loop)


@pytest.fixture(autouse=True)
def nothing_left_over(sending: Sending) -> None:
    query(sending.database_url, "UPDATE deliveries SET status = 'failed', next_at = NULL WHERE status = 'waiting'")


def test_a_delivery_is_signed_and_says_what_was_decided(sending: Sending) -> None:
    with receiving() as receiver:
        secret = sending.webhook("signed", receiver.url)
        sending.make("signed", "ada")
        assert sending.send() == 1
    (call,) = receiver.calls
    assert call.signed_with(secret) and not call.signed_with(secret + "x")
    assert abs(time.time() - int(call.headers["loopwise-signature"][2:].partition(",")[0])) < 60
    (line,) = sending.log("signed")
    assert call.headers["loopwise-delivery"] == str(line["id"])
    assert call.body == {
        "delivery_id": line["id"],
        "decision_id": line["decision_id"],
        "experiment": "tips",
        "unit_id": "ada",
        "message": line["message"],
        "created_at": line["created_at"],
    }
    assert line["message"]["body"] == "Hello you"
    assert (line["status"], line["next_at"]) == ("delivered", None)
    assert [(attempt["number"], attempt["status"], attempt["error"]) for attempt in line["attempts"]] == [
        (1, 200, None)
    ]
    assert sending.send() == 0


def test_receivers_can_check_signatures_as_the_documentation_says(sending: Sending) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    (snippet,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "is_from_loopwise" in block]
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/api.md", "exec"), names)  # noqa: S102 - our own documentation
    with receiving() as receiver:
        secret = sending.webhook("documented", receiver.url)
        sending.make("documented", "ada")
        sending.send()
    call = receiver.calls[0]
    header = call.headers["loopwise-signature"]
    assert names["is_from_loopwise"](secret, header, call.raw)
    assert not names["is_from_loopwise"](secret, header, call.raw + b" ")
    assert not names["is_from_loopwise"](secret, header.replace("t=1", "t=0", 1), call.raw)


def test_an_error_is_tried_again_after_a_pause_and_each_attempt_is_noted(sending: Sending) -> None:
    with receiving(lambda call, number: 500 if number == 1 else 204) as receiver:
        sending.webhook("flaky", receiver.url)
        sending.make("flaky", "ada")
        assert sending.send() == 1
        (line,) = sending.log("flaky", status="waiting")
        assert line["next_at"] > line["created_at"]
        sending.hurry()
        assert sending.send() == 1
    (line,) = sending.log("flaky")
    noted = [(attempt["number"], attempt["status"], attempt["error"]) for attempt in line["attempts"]]
    assert noted == [(1, 500, "receiver says 500"), (2, 204, None)]
    assert line["status"] == "delivered"


def test_a_delivery_is_given_up_after_its_attempts_and_can_be_replayed(sending: Sending) -> None:
    answers = [500] * delivering.MAX_ATTEMPTS + [200]
    with receiving(lambda call, number: answers[number - 1]) as receiver:
        sending.webhook("broken", receiver.url)
        sending.make("broken", "ada")
        for _ in range(delivering.MAX_ATTEMPTS):
            assert sending.send() == 1
            sending.hurry()
        assert sending.send() == 0
        (line,) = sending.log("broken", status="failed")
        assert len(line["attempts"]) == delivering.MAX_ATTEMPTS
        second = deliveries.replay(sending.engine, line["id"], "test")
        assert (second["status"], second["id"]) == ("waiting", line["id"])
        assert sending.send() == 1
    (line,) = sending.log("broken", status="delivered")
    assert [attempt["number"] for attempt in line["attempts"]] == list(range(1, delivering.MAX_ATTEMPTS + 2))
    assert len({call.headers["loopwise-delivery"] for call in receiver.calls}) == 1


def test_redirects_are_failures_and_not_followed(sending: Sending) -> None:
    with receiving(lambda call, number: 307) as receiver:
        sending.webhook("redirect", receiver.url)
        sending.make("redirect", "ada")
        sending.send()
    assert [call.path for call in receiver.calls] == ["/hook"]
    (line,) = sending.log("redirect")
    assert [(attempt["status"], attempt["error"]) for attempt in line["attempts"]] == [
        (307, "redirects are not followed")
    ]


def test_receivers_that_never_answer_delay_nobody_else(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries to other receivers arrive before the calls to the silent receivers end."""
    monkeypatch.setattr(outgoing, "DEADLINE_S", 60.0)
    with ExitStack() as stack:
        silent = [stack.enter_context(receiving(lambda call, number: None)) for _ in range(5)]
        quick = stack.enter_context(receiving())
        sending.webhook("quick", quick.url)
        for index, receiver in enumerate(silent):
            sending.webhook(f"silent-{index}", receiver.url)
            sending.make(f"silent-{index}", *[f"s-{n}" for n in range(5)])
        sender = threading.Thread(target=sending.send)
        sender.start()
        wait_for(lambda: all(receiver.at_once == delivering.EACH for receiver in silent), 60)
        sending.make("quick", *[f"q-{n}" for n in range(10)])
        wait_for(lambda: len(quick.calls) == 10, 60)
        assert [receiver.at_once for receiver in silent] == [delivering.EACH] * 5
        for receiver in silent:
            receiver.stopping.set()
        sender.join(60)
    assert not sender.is_alive()
    assert [len(receiver.calls) for receiver in silent] == [delivering.EACH] * 5
    assert quick.most_at_once <= delivering.EACH


def test_a_silent_webhook_waits_with_all_its_deliveries_and_is_tried_with_one_call(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "DEADLINE_S", 1.0)
    monkeypatch.setattr(webhook_store, "SHORTEST_S", 200.0)
    answers: list[int | None] = [None]
    with receiving(lambda call, number: answers[0]) as receiver:
        sending.webhook("silent", receiver.url)
        sending.make("silent", *[f"s-{n}" for n in range(8)])
        assert sending.send() == delivering.EACH
        errors = [line["attempts"][0]["error"] for line in sending.log("silent") if line["attempts"]]
        assert errors == [f"no answer within {outgoing.DEADLINE_S:g} seconds"] * delivering.EACH
        webhook = webhooks.get(sending.engine, "silent")
        assert (
            webhook.silent_since
            and webhook.retry_at
            and (webhook.retry_at - webhook.silent_since).total_seconds() >= 200
        )
        assert sending.send() == 0  # six of them never failed
        sending.hurry()
        assert sending.send() == 1
        answers[0] = 200
        sending.hurry()
        assert sending.send() == 8
    webhook = webhooks.get(sending.engine, "silent")
    assert (webhook.silent_since, webhook.retry_at) == (None, None)
    assert {line["status"] for line in sending.log("silent")} == {"delivered"}


def test_the_pause_of_a_silent_webhook_grows_with_its_silence_up_to_a_limit(sending: Sending) -> None:
    with receiving() as gone:
        sending.webhook("gone", gone.url)
    pauses = []
    for silent_s in (10, 100, 100_000):
        sending.make("gone", f"g-{silent_s}")
        sending.hurry()
        passed = f"clock_timestamp() - make_interval(secs => {silent_s})"
        query(sending.database_url, f"UPDATE webhooks SET silent_since = {passed} WHERE key = 'gone'")
        before = platform_now(sending)
        assert sending.send() == 1
        webhook = webhooks.get(sending.engine, "gone")
        assert webhook.retry_at is not None
        pauses.append((webhook.retry_at - before).total_seconds())
    assert pauses[0] >= 10 and pauses[1] >= 100 and pauses[2] >= delivering.LONGEST_SILENCE_S
    assert pauses[0] < pauses[1] < pauses[2] < 100_000


def test_deliveries_that_waited_half_a_day_for_a_silent_webhook_fail_and_new_ones_do_not(sending: Sending) -> None:
    with receiving() as gone:
        sending.webhook("away", gone.url)
    sending.make("away", *[f"old-{n}" for n in range(4)])
    long_ago = f"clock_timestamp() - make_interval(secs => {delivering.GIVE_UP_S + 60})"
    query(sending.database_url, f"UPDATE deliveries SET next_at = {long_ago} WHERE status = 'waiting'")
    query(sending.database_url, f"UPDATE webhooks SET silent_since = {long_ago} WHERE key = 'away'")
    sending.make("away", "new")
    assert sending.send() == 1
    failed = sending.log("away", status="failed")
    assert [line["attempts"][-1]["error"] for line in failed] == [
        "not sent: the webhook has not answered for too long"
    ] * 3
    assert len(sending.log("away", status="waiting")) == 2  # the new one, and the one that was just tried


def test_a_new_address_and_a_replay_end_the_pause_of_a_silent_webhook(sending: Sending) -> None:
    with receiving() as gone:
        sending.webhook("moved", gone.url)
    sending.make("moved", "ada")
    later = "clock_timestamp() + interval '1 day'"
    silence = f"UPDATE webhooks SET silent_since = clock_timestamp(), retry_at = {later} WHERE key = 'moved'"
    query(sending.database_url, silence)
    assert sending.send() == 0
    (line,) = sending.log("moved")
    deliveries.replay(sending.engine, line["id"], "test")
    assert sending.send() == 1
    query(sending.database_url, silence)
    with receiving() as receiver:
        webhooks.change(sending.engine, sending.settings, "moved", WebhookPatch(url=receiver.url), "test")
        query(sending.database_url, "UPDATE deliveries SET next_at = clock_timestamp() WHERE next_at IS NOT NULL")
        assert sending.send() == 1
        assert len(receiver.calls) == 1


def test_a_long_queue_of_a_webhook_leaves_room_for_the_others(sending: Sending) -> None:
    with receiving() as receiver:
        sending.webhook("busy", receiver.url)
        sending.make("busy", *[f"b-{n}" for n in range(20)])
        assert sending.send() == 20
    assert receiver.most_at_once <= delivering.EACH


def test_a_unit_that_is_erased_while_its_message_is_being_sent_leaves_no_trace(sending: Sending) -> None:
    """The receiver's text may repeat the message, so it is not recorded after the erasure."""
    caller = sending.work.loop.caller

    def answer(call: Any, number: int) -> int:
        erasure.ask(sending.engine, sending.settings, caller, call.body["unit_id"])
        erasure.run_waiting(sending.engine, sending.settings)
        return 500

    with receiving(answer) as receiver:
        sending.webhook("erased", receiver.url)
        sending.make("erased", "forget-me")
        assert sending.send() == 1
    assert sending.log("erased") == []
    orphans = "SELECT count(*) FROM delivery_attempts a WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.id = a.delivery_id)"
    assert query(sending.database_url, orphans) == [(0,)]


def test_a_courier_sends_when_it_is_woken_and_stops_without_leaving_a_call_behind(sending: Sending) -> None:
    with receiving() as receiver:
        sending.webhook("courier", receiver.url)
        courier = delivering.Courier(sending.engine, sending.settings, delivering.deliver_due, "deliver")
        for count in (1, 2):
            sending.make("courier", f"c-{count}")
            courier.wake()
            wait_for(lambda: len(sending.log("courier", status="delivered")) == count, 60)  # noqa: B023
        courier.stop()
        sending.make("courier", "too late")
        courier.wake()
        assert not courier.running
    assert len(receiver.calls) == 2


def test_a_message_is_not_sent_when_consent_was_revoked_after_the_decision(sending: Sending) -> None:
    with receiving() as receiver:
        sending.webhook("revoked", receiver.url)
        sending.make("revoked", "changed-my-mind", "fine")
        with sending.engine.begin() as connection:
            units.restrict(connection, "changed-my-mind", ["message"])
        sending.send()
    assert [call.body["unit_id"] for call in receiver.calls] == ["fine"]
    (line,) = sending.log("revoked", status="failed")
    assert [(attempt["status"], attempt["error"]) for attempt in line["attempts"]] == [(None, "consent was revoked")]


def test_deliveries_of_a_killed_sender_are_sent_again_when_their_lease_ends(sending: Sending) -> None:
    from app.messaging.store import deliveries as store

    with receiving() as receiver:
        sending.webhook("leased", receiver.url)
        sending.make("leased", "ada")
        with sending.engine.begin() as connection:  # a sender takes it, and is killed
            assert len(store.claim(connection, silent=False, busy=[], room=10, lease_s=3600)) == 1
        assert sending.send() == 0
        sending.hurry()
        assert sending.send() == 1


def test_a_paused_webhook_gets_nothing_and_delays_no_other_webhook(sending: Sending) -> None:
    with receiving() as receiver, receiving() as other:
        sending.webhook("paused", receiver.url)
        sending.webhook("running", other.url)
        sending.make("paused", *[f"p-{n}" for n in range(5)])
        sending.make("running", "ada")
        webhooks.change(sending.engine, sending.settings, "paused", WebhookPatch(status="paused"), "test")
        assert sending.send() == 1
        webhooks.change(sending.engine, sending.settings, "paused", WebhookPatch(status="running"), "test")
        assert sending.send() == 5
    assert (len(receiver.calls), len(other.calls)) == (5, 1)


def test_a_new_secret_signs_all_later_deliveries(sending: Sending) -> None:
    with receiving() as receiver:
        old = sending.webhook("rotated", receiver.url)
        _, new = webhooks.rotate(sending.engine, sending.settings, "rotated", "test")
        sending.make("rotated", "ada")
        sending.send()
    assert new != old
    assert receiver.calls[0].signed_with(new) and not receiver.calls[0].signed_with(old)


def test_no_secret_is_stored_anywhere(sending: Sending) -> None:
    secret = sending.webhook("hidden", "http://127.0.0.1:9999/")
    dump = query(sending.database_url, "SELECT w::text FROM webhooks w UNION ALL SELECT c::text FROM changes c")
    assert dump and not any(secret in line or secret[6:] in line for (line,) in dump)


def test_storing_a_forbidden_address_is_refused(sending: Sending) -> None:
    strict = settings(sending.database_url)
    for url in ("http://127.0.0.1:8000/", "https://10.0.0.1/", "not a url"):
        with pytest.raises(Unprocessable) as caught:
            webhooks.create(sending.engine, strict, WebhookSpec(key="bad", url=url), "test")
        assert [field.path for field in caught.value.fields] == ["/url"]


def test_a_delivery_fails_when_its_address_is_no_longer_allowed(sending: Sending) -> None:
    with receiving() as receiver:
        sending.webhook("development", receiver.url)
        sending.make("development", "ada")
        delivering.deliver_due(sending.engine, settings(sending.database_url))
    assert receiver.calls == []
    assert sending.log("development")[0]["attempts"][0]["error"] == "give an https address"


def test_a_webhook_in_use_cannot_be_deleted_and_deliveries_of_a_deleted_webhook_fail(sending: Sending) -> None:
    sending.webhook("used", "http://127.0.0.1:9999/")
    sending.make("used", "ada")
    with pytest.raises(Conflict):
        webhooks.delete(sending.engine, "used", "test")
    triggers.delete(sending.engine, "used", "test")
    webhooks.delete(sending.engine, "used", "test")
    sending.send()
    (line,) = deliveries.newest(sending.engine, limit=1)
    assert (line["status"], line["attempts"][0]["error"]) == ("failed", "the webhook was deleted")


def test_held_and_unknown_deliveries_cannot_be_replayed(sending: Sending) -> None:
    sending.work.define("held", {"type": "event", "event": "held"})
    sending.make("held", "ada")
    with pytest.raises(Conflict):
        deliveries.replay(sending.engine, deliveries.newest(sending.engine, limit=1)[0]["id"], "test")
    with pytest.raises(NotFound):
        deliveries.replay(sending.engine, 10**12, "test")


def test_retry_pauses_grow_and_differ_between_deliveries_but_not_between_processes(sending: Sending) -> None:
    first = [delivering.pause_s(sending.settings, n, 1) for n in range(100)]
    assert all(1.5 <= pause <= 2.5 for pause in first) and len(set(first)) == 100
    assert first == [delivering.pause_s(sending.settings, n, 1) for n in range(100)]
    total = sum(delivering.pause_s(sending.settings, 1, n) for n in range(1, delivering.MAX_ATTEMPTS))
    assert 8 * 3600 < total < 16 * 3600
