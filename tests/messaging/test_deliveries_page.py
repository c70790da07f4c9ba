"""The pages of deliveries and webhooks: every attempt is shown, secrets are shown once, and only some roles may send data out."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.messaging.test_delivering import Sending
from tests.page_client import Browser, Page
from tests.receiver import receiving
from tests.service import Loop, query, runtime_of

HOSTILE = "<script>alert(1)</script>\u202eevil"
URL = "https://push.example/loopwise"


@pytest.fixture(scope="module")
def sending(database_url: str) -> Iterator[Sending]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Sending(Loop(runtime, database_url))


@pytest.fixture(scope="module", autouse=True)
def empty(viewer: Browser, admin: Browser) -> tuple[Page, Page]:
    """Both pages before there is anything."""
    return viewer.get("/admin/deliveries"), admin.get("/admin/webhooks")


def test_empty_pages_explain_their_content(empty: tuple[Page, Page]) -> None:
    log, hooks = empty
    assert log.status == 200 and "No delivery yet" in log.text
    assert hooks.status == 200 and "There are no webhooks yet" in hooks.text


def test_only_an_administrator_manages_webhooks(viewer: Browser, editor: Browser, admin: Browser) -> None:
    admin.post("/admin/webhooks", {"key": "mine", "url": URL})
    for person in (viewer, editor):
        assert person.get("/admin/webhooks").status == 403 and person.get("/admin/webhooks/mine").status == 403
        assert person.post("/admin/webhooks", {"key": "theirs", "url": URL}).status == 403
        assert person.post("/admin/webhooks/mine", {"do": "rotate"}).status == 403
        assert "Webhooks</a>" not in person.get("/admin/deliveries").html


def test_a_secret_is_shown_once_and_another_one_after_a_rotation(admin: Browser) -> None:
    made = admin.post("/admin/webhooks", {"key": "once", "url": URL})
    (first,) = re.findall(r"whsec_[0-9a-f]{64}", made.html)
    assert "not shown again" in made.text and URL in made.text
    assert "whsec_" not in admin.get("/admin/webhooks").html + admin.get("/admin/webhooks/once").html
    rotated = admin.post("/admin/webhooks/once", {"do": "rotate", "version": "1"})
    (second,) = re.findall(r"whsec_[0-9a-f]{64}", rotated.html)
    assert first != second and "whsec_" not in admin.get("/admin/webhooks/once").html
    assert "whsec_" not in admin.get("/admin/audit-log").html


def test_errors_are_beside_their_fields(admin: Browser, database_url: str) -> None:
    for key, url, told in (
        ("no key", URL, "beginning with a letter or a digit"),
        ("inside", "https://127.0.0.1/hook", "public"),
        ("plain", "http://push.example/", "https"),
        (HOSTILE, HOSTILE, "https"),
        ("", "", "a letter or a digit"),
    ):
        page = admin.post("/admin/webhooks", {"key": key, "url": url})
        assert page.status == 422 and told in page.text and 'aria-invalid="true"' in page.html, (key, page.text)
        assert "<script>alert" not in page.html and "Copy it now" not in page.text
    page = admin.post("/admin/webhooks", {"key": "plain", "url": "http://push.example/"})
    assert 'value="http://push.example/"' in page.html and 'value="plain"' in page.html
    assert admin.post("/admin/webhooks", {"key": "mine", "url": URL}).status == 409
    assert query(database_url, "SELECT count(*) FROM webhooks WHERE key IN ('plain', 'inside', 'no key')") == [(0,)]
    page = admin.post("/admin/webhooks/mine", {"do": "url", "url": "https://10.0.0.1/", "version": "1"})
    assert page.status == 422 and 'value="https://10.0.0.1/"' in page.html
    assert admin.post("/admin/webhooks/mine", {"do": "fly"}).status == 422
    assert admin.get("/admin/webhooks/ghost").status == 404


def test_a_webhook_is_moved_paused_and_deleted_when_its_key_is_typed(admin: Browser, sending: Sending) -> None:
    moved = {"do": "url", "url": URL + "/2", "version": admin.version("/admin/webhooks/mine")}
    assert "has another address" in admin.post("/admin/webhooks/mine", moved).text
    assert "It is paused" in admin.post("/admin/webhooks/mine", {"do": "pause"}).text
    assert "is running now" in admin.post("/admin/webhooks/mine", {"do": "start"}).text
    refused = admin.post("/admin/webhooks/mine", {"do": "delete", "confirm": "yes"})
    assert refused.status == 422 and "Type mine to delete it." in refused.text and 'value="yes"' in refused.html
    sending.work.define("uses", {"type": "event", "event": "u"}, delivery={"to": "webhook", "webhook": "mine"})
    used = admin.post("/admin/webhooks/mine", {"do": "delete", "confirm": "mine"})
    assert used.status == 409 and "delivers to this webhook" in used.text
    assert "is deleted" in admin.post("/admin/webhooks/once", {"do": "delete", "confirm": "once"}).text
    assert admin.get("/admin/webhooks/once").status == 404


def test_the_second_of_two_people_who_change_a_webhook_sees_the_conflict(admin: Browser) -> None:
    """A second rotation would invalidate the secret that the first person has just copied."""
    admin.post("/admin/webhooks", {"key": "shared", "url": URL})
    address = "/admin/webhooks/shared"
    both = admin.version(address)
    assert "Copy it now" in admin.post(address, {"do": "rotate", "version": both}).text
    second = admin.post(address, {"do": "rotate", "version": both})
    assert second.status == 409 and "Somebody changed this webhook" in second.text and "whsec_" not in second.html
    conflict = admin.post(address, {"do": "url", "url": URL + "/mine", "version": both})
    assert (
        conflict.status == 409 and f'value="{URL}/mine"' in conflict.html and "Nothing was overwritten" in conflict.text
    )
    newest = {"do": "url", "url": URL + "/mine", "version": str(int(both) + 1)}
    assert "has another address" in admin.post(address, newest).text


def test_a_webhook_that_does_not_answer_is_shown(admin: Browser, sending: Sending) -> None:
    with receiving() as gone:
        sending.webhook("gone", gone.url)
    sending.make("gone", "waits")
    sending.send()
    assert "It does not answer since" in admin.get("/admin/webhooks/gone").text
    assert "gone " in admin.get("/admin/webhooks").text and "does not answer" in admin.get("/admin/webhooks").text
    query(sending.database_url, "UPDATE deliveries SET status = 'failed', next_at = NULL WHERE unit_id = 'waits'")


def test_every_attempt_is_shown_and_a_delivery_is_sent_again(
    viewer: Browser, editor: Browser, sending: Sending
) -> None:
    with receiving(lambda _, number: 500 if number == 1 else 200) as receiver:
        sending.webhook("calls", receiver.url)
        sending.make("calls", HOSTILE)
        sending.send()
        page = viewer.get("/admin/deliveries?webhook=calls")
        assert "1 attempt" in page.text and "HTTP 500 after" in page.text and "next at" in page.text
        assert HOSTILE in page.text and "<script>alert" not in page.html and "Send again" not in page.text
        sending.hurry()
        sending.send()
        page = editor.get("/admin/deliveries?webhook=calls&status=delivered")
        assert "2 attempts" in page.text and "HTTP 200 after" in page.text
        number = sending.log("calls")[0]["id"]
        assert viewer.post(f"/admin/deliveries/{number}/replay").status == 403
        second = editor.post(f"/admin/deliveries/{number}/replay", {"webhook": "calls", "status": "delivered"})
        assert "is on its way again" in second.text and second.address.endswith("?webhook=calls&status=delivered")
        assert "No delivery is like that" in second.text
        sending.send()
        assert len(receiver.calls) == 3
        assert "3 attempts" in viewer.get("/admin/deliveries").text


def test_a_held_message_waits_for_the_app_and_is_not_sent(editor: Browser, sending: Sending) -> None:
    sending.work.define("held", {"type": "event", "event": "held"})
    sending.make("held", "holder")
    page = editor.get("/admin/deliveries?status=waiting")
    assert "holder" in page.text and "the unit's app" in page.text and "Send again" not in page.text
    ((number,),) = query(sending.database_url, "SELECT id FROM deliveries WHERE unit_id = 'holder'")
    refused = editor.post(f"/admin/deliveries/{number}/replay")
    assert refused.status == 409 and "held for its unit" in refused.text


def test_a_log_longer_than_a_page_has_more_pages(viewer: Browser, sending: Sending) -> None:
    sending.make("held", *(f"many-{n}" for n in range(30)))
    page = viewer.get("/admin/deliveries")
    seen = re.findall(r"many-\d+", page.text)
    assert len(seen) == 25
    older: Any = re.search(r'href="(/admin/deliveries\?after=\d+)"', page.html)
    assert set(re.findall(r"many-\d+", viewer.get(older[1]).text)) == {f"many-{n}" for n in range(30)} - set(seen)


def test_odd_addresses_are_refused_in_words(viewer: Browser, editor: Browser) -> None:
    assert viewer.get("/admin/deliveries?webhook=ghost").status == 404
    assert viewer.get("/admin/deliveries?status=lost").status == 422
    assert viewer.get("/admin/deliveries?after=" + "9" * 40).status == 200
    for number in ("0", "9" * 30, "x", "%C2%B2"):
        assert editor.post(f"/admin/deliveries/{number}/replay").status == 404
