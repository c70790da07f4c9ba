"""The Python client's check of webhooks, with calls that the server really sends and signs."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import loopwise_client
from app.messaging.delivery import sending as delivering
from app.messaging.delivery import webhooks
from app.messaging.delivery.webhooks import WebhookSpec, signature
from loopwise_client import Delivery, Message
from loopwise_client.webhooks import InvalidSignature, verify
from tests.messaging.trigger_support import Triggers
from tests.receiver import Call, receiving
from tests.service import ROOT, Loop, runtime_of, settings

SECRET = "whsec_0123456789abcdef"
NOW_S = 1_800_000_000
DOCUMENT = {
    "delivery_id": 817,
    "decision_id": "firing-12-5f0c",
    "experiment": "welcome",
    "unit_id": "ünït 🎯",
    "message": {"locale": "en", "channel": "push", "title": "Hi", "body": "10 lessons!", "call_to_action": ""},
    "created_at": "2026-01-31T12:10:00Z",
}
BODY = json.dumps(DOCUMENT).encode()
HEADER = signature(SECRET, BODY, NOW_S)
DELIVERY = Delivery(
    delivery_id=817,
    decision_id="firing-12-5f0c",
    experiment="welcome",
    unit_id="ünït 🎯",
    message=Message("Hi", "10 lessons!", "", "en", "push"),
    created_at=datetime(2026, 1, 31, 12, 10, tzinfo=UTC),
)


@pytest.fixture(scope="module")
def sent(database_url: str) -> Iterator[tuple[str, Call]]:
    """A webhook's secret, and a call that the server made to it because a trigger fired."""
    local = settings(database_url, LOOPWISE_ALLOW_HTTP_LOOPBACK="1")
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10") as runtime, receiving() as receiver:
        work = Triggers(Loop(runtime, database_url))
        work.experiment("tips")
        _, secret = webhooks.create(work.engine, local, WebhookSpec(key="hook", url=receiver.url), "test")
        work.define("hook", {"type": "event", "event": "hook"}, delivery={"to": "webhook", "webhook": "hook"})
        work.report({"name": "hook", "unit_id": "ada"})
        work.match()
        assert (work.fire(), delivering.deliver_due(work.engine, local)) == (1, 1)
        (call,) = receiver.calls
        yield secret, call


def test_calls_of_the_server_are_verified_and_read(sent: tuple[str, Call]) -> None:
    secret, call = sent
    delivery = loopwise_client.webhooks.verify(secret, call.headers["loopwise-signature"], call.raw)
    assert str(delivery.delivery_id) == call.headers["loopwise-delivery"]
    assert (delivery.unit_id, delivery.experiment) == ("ada", "tips")
    assert delivery.message == Message("", "Hello you", "", "en", "in_app")
    assert delivery.decision_id == call.body["decision_id"]


def test_a_changed_call_of_the_server_is_refused(sent: tuple[str, Call]) -> None:
    secret, call = sent
    header = call.headers["loopwise-signature"]
    for wrong in ((secret + "x", header, call.raw), (secret, header, call.raw + b" "), (secret, header[:-1], call.raw)):
        with pytest.raises(InvalidSignature):
            verify(*wrong)


def test_a_call_is_accepted_within_the_tolerance_on_both_sides() -> None:
    for now_s in (NOW_S, NOW_S - 300, NOW_S + 300):
        assert verify(SECRET, HEADER, BODY, now_s=now_s) == DELIVERY
    assert verify(SECRET, HEADER, BODY, 3600, now_s=NOW_S + 3600) == DELIVERY
    for now_s, tolerance_s in ((NOW_S - 301, 300.0), (NOW_S + 301, 300.0), (NOW_S + 1, 0.5), (NOW_S, float("nan"))):
        with pytest.raises(InvalidSignature, match="seconds ago"):
            verify(SECRET, HEADER, BODY, tolerance_s, now_s=now_s)


def test_the_clock_is_the_machines_unless_another_is_given() -> None:
    assert verify(SECRET, signature(SECRET, BODY, int(time.time())), BODY) == DELIVERY
    with pytest.raises(InvalidSignature, match="seconds ago"):
        verify(SECRET, signature(SECRET, BODY, int(time.time()) - 600), BODY)


def test_a_header_may_have_later_kinds_of_signatures_too() -> None:
    assert verify(SECRET, f"{HEADER}, v2=something", BODY, now_s=NOW_S) == DELIVERY


def _signed_at(text: str) -> str:
    """A header whose signature is right, but whose time is not a number."""
    return f"t={text},v1=" + hmac.new(SECRET.encode(), text.encode() + b"." + BODY, hashlib.sha256).hexdigest()


HEADERS = {
    "none": None,
    "empty": "",
    "words": "let me in",
    "no time": HEADER.partition(",")[2],
    "no signature": HEADER.partition(",")[0],
    "another time": HEADER.replace("t=1", "t=2"),
    "upper case": HEADER.upper(),
    "not ASCII": HEADER[:-1] + "é",
    "half a character": HEADER[:-1] + "\udcff",
    "long": "t=1," * 100_000,
    "huge time": _signed_at("9" * 5000),
    "negative time": _signed_at("-5"),
    "another script's digits": _signed_at("١٢٣"),
    "fraction": _signed_at("1.5"),
    "infinity": _signed_at("inf"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_malformed_header_is_refused(name: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, HEADERS[name], BODY, now_s=NOW_S)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"delivery_id": 1}', b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_not_a_delivery_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidSignature, match="not a delivery"):
        verify(SECRET, signature(SECRET, body, NOW_S), body, now_s=NOW_S)


def test_without_a_secret_nothing_is_verified() -> None:
    with pytest.raises(ValueError, match="secret"):
        verify("", signature("", BODY, NOW_S), BODY, now_s=NOW_S)


def test_a_refusal_shows_neither_the_secret_nor_the_right_signature() -> None:
    right = HEADER.partition("v1=")[2]
    with pytest.raises(InvalidSignature) as caught:
        verify(SECRET, HEADER[:-1] + "x", BODY, now_s=NOW_S)
    assert SECRET not in str(caught.value) and right not in str(caught.value)


def test_the_readmes_receiver_takes_each_message_once(
    sent: tuple[str, Call], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "clients/python/README.md").read_text(encoding="utf-8")
    (program,) = [
        program for program in re.findall(r"```python\n(.*?)^```", readme, re.M | re.S) if "webhooks.verify" in program
    ]
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)  # noqa: S102 - our own documentation
    secret, call = sent
    header = call.headers["loopwise-signature"]
    monkeypatch.setenv("LOOPWISE_WEBHOOK_SECRET", secret)
    assert [names["take"](header, call.raw) for _ in range(2)] == [204, 204]
    assert [names["take"](header, call.raw + b" "), names["take"](None, call.raw)] == [400, 400]
    assert capsys.readouterr().out == "to ada : Hello you\n"


def test_a_delivery_can_be_rewarded_and_answered(sent: tuple[str, Call], loopwise: Any) -> None:
    secret, call = sent
    delivery = verify(secret, call.headers["loopwise-signature"], call.raw)
    assert loopwise.reward(delivery, 1.0).decision_id == delivery.decision_id
    assert loopwise.feedback(delivery, "dismissed").logged
