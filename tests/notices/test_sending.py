"""Notices arrive: signed, in order, once, at those who want them and when they want them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.accounts import users
from app.foundation.errors import Conflict, NotFound, Unprocessable
from app.messaging.delivery import webhooks
from app.notices import receivers
from app.notices.receivers import ReceiverPatch, ReceiverSpec
from tests.mailbox import mailbox
from tests.notices.desk import Desk
from tests.receiver import receiving
from tests.service import Loop, query, wait_for


@pytest.fixture(scope="module")
def desk(loop: Loop) -> Desk:
    desk = Desk(loop, LOOPWISE_PUBLIC_URL="https://loopwise.example")
    loop.make("shop")
    return desk


@pytest.fixture(autouse=True)
def nothing_left_over(desk: Desk) -> None:
    desk.clear()
    query(desk.url, "DELETE FROM webhooks")
    query(desk.url, "DELETE FROM incidents")


def _mails(desk: Desk, url: str, **fields: str) -> Desk:
    return Desk(desk.loop, LOOPWISE_PUBLIC_URL="https://loopwise.example", LOOPWISE_SMTP_URL=url, **fields)


def test_a_webhook_gets_the_beginning_and_the_end_signed(desk: Desk) -> None:
    with receiving() as hook:
        secret = desk.webhook("ops", hook.url)
        desk.receiver("on-call", webhook="ops")
        incident = desk.incident(1)
        desk.collect()
        assert desk.send() == 1 and desk.send() == 0
        desk.close(incident)
        desk.collect()
        assert desk.send() == 1
        first, second = hook.calls
        assert first.signed_with(secret) and second.signed_with(secret)
        assert (first.body["state"], first.body["topic"], first.body["experiment"]) == ("opened", "drift", "shop")
        assert first.body["text"].startswith("learned earned 0.1") and first.body["ended_at"] is None
        assert first.body["link"] == "https://loopwise.example/admin/experiments/shop/health"
        assert (second.body["state"], second.body["notice_id"]) == ("recovered", first.body["notice_id"])
        assert second.body["ended_at"] > first.body["began_at"]
        assert first.headers["loopwise-delivery"] == f"notice-{first.body['message_id']}"


def test_slack_gets_one_line_that_nobody_can_turn_into_a_mention(desk: Desk) -> None:
    with receiving() as hook:
        desk.webhook("slack", hook.url)
        desk.receiver("chat", webhook="slack", form="slack")
        desk.summary(1, "audit", '{"ok": false, "text": "<!channel> & more"}')
        desk.collect()
        desk.send()
        query(desk.url, "DELETE FROM latest")
        (call,) = hook.calls
        assert call.body == {
            "text": "shop: Audit failed: &lt;!channel&gt; &amp; more <https://loopwise.example/admin/experiments/shop/|Look>"
        }


def test_an_e_mail_says_what_where_and_since_when_and_its_end_answers_it(desk: Desk) -> None:
    with mailbox() as server:
        mails = _mails(desk, server.url, LOOPWISE_SMTP_FROM="loopwise@shop.example")
        mails.receiver("ann", email="ann@shop.example")
        incident = mails.incident(1)
        mails.collect()
        mails.send()
        mails.close(incident)
        mails.collect()
        mails.send()
        begun, over = server.letters
        assert begun.to == "ann@shop.example" and begun.message["From"] == "loopwise@shop.example"
        assert begun.subject.startswith("[Loopwise] shop: learned earned 0.1")
        assert over.subject.startswith("[Loopwise] Over: shop: learned earned 0.1")
        assert over.message["In-Reply-To"] == begun.id and over.id != begun.id
        assert "https://loopwise.example/admin/experiments/shop/health" in str(begun.message.get_payload())


def test_a_text_with_line_breaks_makes_no_header(desk: Desk) -> None:
    with mailbox() as server:
        mails = _mails(desk, server.url)
        mails.receiver("ann", email="ann@shop.example")
        mails.summary(1, "audit", '{"ok": false, "text": "a\\r\\nBcc: eve@evil.example\\r\\n\\r\\nb"}')
        mails.collect()
        mails.send()
        query(desk.url, "DELETE FROM latest")
        (letter,) = server.letters
        assert letter.message["Bcc"] is None and letter.subject.endswith("a Bcc: eve@evil.example b")


def test_what_a_receiver_cannot_take_now_waits_and_everything_arrives_in_order(desk: Desk) -> None:
    with receiving(lambda call, number: 503 if number <= 2 else 200) as hook:
        desk.webhook("ops", hook.url)
        desk.receiver("on-call", webhook="ops")
        for _ in range(3):
            desk.incident(1)
        desk.collect()
        assert desk.send() == 1, "the others wait behind the first"
        for _ in range(4):
            desk.hurry()
            desk.send()
        arrived = [call.body["notice_id"] for call in hook.calls]
        assert arrived == [arrived[0]] * 3 + sorted(set(arrived[2:]))[1:] and len(set(arrived)) == 3
        assert [message.status for entry in desk.entries() for message in entry.messages] == ["delivered"] * 3


def test_a_receiver_that_says_no_three_times_does_not_hold_up_what_follows(desk: Desk) -> None:
    refused: dict[int, int] = {}

    def answer(call: Any, number: int) -> int:
        refused.setdefault(call.body["notice_id"], 0)
        return 400 if call.body["notice_id"] == min(refused) else 200

    with receiving(answer) as hook:
        desk.webhook("ops", hook.url)
        desk.receiver("on-call", webhook="ops")
        desk.incident(1)
        desk.incident(1)
        desk.collect()
        for _ in range(3):
            desk.hurry()
            desk.send()
        first, second = [entry.messages[0] for entry in desk.entries()]
        assert (first.status, first.attempts, first.error) == ("failed", 3, "HTTP 400 receiver says 400")
        assert (second.status, second.error) == ("delivered", None)


def test_a_mail_server_that_does_not_answer_delays_no_webhook(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.foundation.outgoing_mail.DEADLINE_S", 1.0)
    with mailbox(lambda address, number: None) as server, receiving() as hook:
        mails = _mails(desk, server.url)
        mails.webhook("ops", hook.url)
        mails.receiver("ann", email="ann@shop.example")
        mails.receiver("on-call", webhook="ops")
        mails.incident(1)
        mails.collect()
        mails.send()
        assert len(hook.calls) == 1 and server.letters == []
        (entry,) = mails.entries()
        states = {message.receiver: (message.status, bool(message.error)) for message in entry.messages}
        assert states == {"ann": ("waiting", True), "on-call": ("delivered", False)}


def test_an_address_that_the_mail_server_refuses_has_failed_after_three_attempts(desk: Desk) -> None:
    with mailbox(lambda address, number: "550 no such mailbox") as server:
        mails = _mails(desk, server.url)
        mails.receiver("ghost", email="ghost@shop.example")
        mails.incident(1)
        mails.collect()
        for _ in range(4):
            mails.hurry()
            mails.send()
        (message,) = mails.entries()[0].messages
        assert (message.status, message.attempts, message.error) == ("failed", 3, "550 no such mailbox")


def test_a_password_is_not_sent_without_tls_to_another_machine() -> None:
    from email.message import EmailMessage

    from app.foundation import outgoing_mail
    from app.foundation.outgoing import Failed, Refused

    with mailbox() as here, mailbox(host="127.0.0.2") as there:
        with pytest.raises(Failed, match="SMTP AUTH extension not supported"):  # on this machine it is offered
            outgoing_mail.send(here.url.replace("//", "//ann:secret@"), EmailMessage())
        with pytest.raises(Refused, match="offers no TLS"):
            outgoing_mail.send(there.url.replace("//", "//ann:secret@"), EmailMessage())


def test_only_those_who_want_a_topic_or_an_experiment_are_told(desk: Desk) -> None:
    desk.loop.make("other")
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    desk.receiver("all", webhook="ops")
    desk.receiver("drift-only", webhook="ops", topics=["drift"])
    desk.receiver("audit-only", webhook="ops", topics=["audit"])
    desk.receiver("others", webhook="ops", experiments=["other"])
    desk.receiver("paused", webhook="ops", status="paused")
    users.create_user(desk.engine, "gone", "editor", "test")
    desk.receiver("gone", webhook="ops", person="gone")
    users.set_disabled(desk.engine, "gone", True, "test")
    desk.incident(1)
    desk.collect()
    assert [message.receiver for message in desk.entries()[0].messages] == ["all", "drift-only"]
    query(desk.url, "UPDATE webhooks SET silent_since = now() - interval '15 minutes'")
    desk.collect()
    (platform,) = [entry for entry in desk.entries() if entry.notice.experiment is None]
    assert [message.receiver for message in platform.messages] == ["all"], (
        "who named experiments is not told of the platform"
    )


@pytest.mark.parametrize(("begins", "ends", "waits"), [(-60, 60, True), (60, 120, False), (-120, -60, False)])
def test_quiet_hours_hold_notices_back_in_the_time_zone_of_the_person(
    desk: Desk, begins: int, ends: int, waits: bool
) -> None:
    # Fiji is twelve hours ahead of UTC all the year; the hours there may cross midnight.
    here = datetime.now(UTC) + timedelta(hours=12)
    quiet = [(here + timedelta(minutes=minutes)).strftime("%H:%M") for minutes in (begins, ends)]
    with receiving() as hook:
        desk.webhook("ops", hook.url)
        desk.receiver("ann", webhook="ops", quiet_from=quiet[0], quiet_until=quiet[1], time_zone="Pacific/Fiji")
        desk.incident(1)
        desk.collect()
        assert desk.send() == (0 if waits else 1)
        receivers.test(desk.engine, "ann", "ann")
        desk.send()
        assert hook.calls[-1].body["state"] == "test", "a test is sent at any time"
        receivers.change(desk.engine, desk.settings, "ann", ReceiverPatch(quiet_from=None, quiet_until=None), "ann")
        desk.send()
        assert len(hook.calls) == 2, "and what waited is not lost"


def test_a_webhook_that_is_silent_gets_one_call_at_a_time(desk: Desk) -> None:
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    desk.receiver("on-call", webhook="ops")
    desk.incident(1)
    desk.collect()
    assert desk.send() == 1
    query(desk.url, "UPDATE notice_messages SET next_at = now()")
    assert desk.send() == 0, "the webhook rests"
    assert webhooks.get(desk.engine, "ops").silent_since is not None
    with receiving() as hook:
        webhooks.change(desk.engine, desk.settings, "ops", webhooks.WebhookPatch(url=hook.url), "ann")
        wait_for(desk.send, 5)
        assert len(hook.calls) == 1


def test_a_webhook_that_notices_go_to_is_not_deleted(desk: Desk) -> None:
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    desk.receiver("on-call", webhook="ops")
    with pytest.raises(Conflict, match="on-call"):
        webhooks.delete(desk.engine, "ops", "ann")
    receivers.delete(desk.engine, "on-call", "ann")
    webhooks.delete(desk.engine, "ops", "ann")
    with pytest.raises(NotFound):
        receivers.get(desk.engine, "on-call")


@pytest.mark.parametrize(
    ("fields", "path", "code"),
    [
        ({}, "/webhook", "webhook_or_email"),
        ({"webhook": "ghost"}, "/webhook", "no_such_webhook"),
        ({"webhook": "ops", "experiments": ["shop", "ghost"]}, "/experiments/1", "no_such_experiment"),
        ({"webhook": "ops", "person": "ghost"}, "/person", "no_such_user"),
        ({"webhook": "ops", "quiet_from": "22:00"}, "/quiet_until", "quiet_from_and_until"),
        ({"webhook": "ops", "time_zone": "Europe/Atlantis"}, "/time_zone", "unknown_time_zone"),
    ],
)
def test_what_cannot_be_told_is_refused(desk: Desk, fields: dict[str, Any], path: str, code: str) -> None:
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    with pytest.raises(Unprocessable) as refused:
        desk.receiver("wrong", **fields)
    assert [(field.path, field.code) for field in refused.value.fields] == [(path, code)]


def test_an_e_mail_needs_a_mail_server_and_a_key_is_taken_once(desk: Desk) -> None:
    with pytest.raises(Conflict, match="LOOPWISE_SMTP_URL"):
        desk.receiver("ann", email="ann@shop.example")
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    desk.receiver("on-call", webhook="ops")
    with pytest.raises(Conflict, match="on-call"):
        receivers.create(desk.engine, desk.settings, ReceiverSpec(key="on-call", webhook="ops"), "ann")
