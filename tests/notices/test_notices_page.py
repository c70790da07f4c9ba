"""The pages of notices, without JSON; and the same over the API."""

import pytest

from tests.notices.desk import Desk
from tests.page_client import Browser
from tests.service import Client, Loop, make_key, query

FORM = {"webhook": "ops", "form": "slack", "topics": "drift", "experiments": "shop", "time_zone": "Europe/Berlin"}


@pytest.fixture(scope="module")
def desk(loop: Loop) -> Desk:
    desk = Desk(loop)
    loop.make("shop")
    desk.webhook("ops", "http://127.0.0.1:1111/hook")
    return desk


def test_an_editor_adds_changes_pauses_tests_and_deletes_a_receiver(desk: Desk, editor: Browser) -> None:
    page = editor.post(
        "/admin/notices/receivers", FORM | {"key": "on-call", "quiet_from": "22:00", "quiet_until": "07:00"}
    )
    assert page.status == 200 and "The receiver on-call gets notices now" in page.text
    assert 'value="22:00"' in page.html and 'value="Europe/Berlin"' in page.html
    assert "on-call" in editor.get("/admin/notices/receivers").text
    one = "/admin/notices/receivers/on-call"
    page = editor.post(one, FORM | {"do": "change", "topics": "audit", "experiments": ""})
    assert page.status == 200 and "is changed" in page.text and 'value="22:00"' not in page.html
    assert "is paused now" in editor.post(one, {"do": "pause"}).text
    assert "is running now" in editor.post(one, {"do": "start"}).text
    assert query(desk.url, "SELECT topics, experiments, status FROM notice_receivers") == [(["audit"], [], "running")]
    page = editor.post(one, {"do": "test"})
    assert "A test of the receiver on-call" in page.text and "waiting" in page.text
    assert editor.post(one, {"do": "dance"}).status == 422
    assert "is deleted" in editor.post(one, {"do": "delete"}).text
    assert editor.get(one).status == 404
    assert "the receiver was deleted" in editor.get("/admin/notices?topic=test").text
    kinds = query(desk.url, "SELECT kind FROM changes WHERE kind LIKE 'receiver%%' ORDER BY id")
    assert [kind for (kind,) in kinds] == ["receiver_created", *["receiver_changed"] * 3, "receiver_deleted"]


def test_mistakes_stand_beside_their_fields_and_nothing_typed_is_lost(desk: Desk, editor: Browser) -> None:
    wrong = FORM | {"key": "wrong", "experiments": "shop ghost", "time_zone": "Mars/Base", "quiet_from": "22:00"}
    page = editor.post("/admin/notices/receivers", wrong)
    assert page.status == 422
    for words in (
        "There is no experiment with this key",
        "Give a time zone",
        "Quiet hours have a beginning and an end",
    ):
        assert words in page.text
    assert 'value="Mars/Base"' in page.html and "ghost" in page.text
    page = editor.post("/admin/notices/receivers", {"key": "mail", "email": "ann@shop.example", "topics": "drift"})
    assert page.status == 409 and "LOOPWISE_SMTP_URL is empty" in page.text
    page = editor.post("/admin/notices/receivers", FORM | {"key": "none", "topics": ""})
    assert page.status == 422


def test_a_viewer_reads_the_log_and_changes_nothing(desk: Desk, viewer: Browser) -> None:
    incident = desk.incident(1)
    desk.collect()
    page = viewer.get("/admin/notices?topic=drift&experiment=shop")
    assert page.status == 200 and "learned earned 0.1 per decision" in page.text and "is so" in page.text
    desk.close(incident)
    desk.collect()
    assert "over" in viewer.get("/admin/notices").text
    assert "Receivers" not in page.text
    assert viewer.get("/admin/notices/receivers").status == 403
    assert viewer.get("/admin/notices?topic=ghost").status == 422
    assert "There is none." in viewer.get("/admin/notices?topic=budget").text


def test_the_api_does_the_same(desk: Desk, client: Client) -> None:
    made = client.post("/v1/notices/receivers", {"key": "api", "webhook": "ops", "topics": ["drift"]})
    assert made.status == 201 and made.body["time_zone"] == "UTC" and made.body["quiet_from"] is None
    assert client.post("/v1/notices/receivers", {"key": "api", "webhook": "ops"}).status == 409
    changed = client.patch("/v1/notices/receivers/api", {"quiet_from": "22:00", "quiet_until": "07:00"})
    assert changed.status == 200 and changed.body["topics"] == ["drift"] and changed.body["quiet_until"] == "07:00"
    wrong = client.patch("/v1/notices/receivers/api", {"quiet_from": "25:00"})
    assert [(error["path"], error["code"]) for error in wrong.body["errors"]] == [("/quiet_from", "not_a_time_of_day")]
    assert [row["key"] for row in client.get("/v1/notices/receivers").body["receivers"]] == ["api"]
    number = client.post("/v1/notices/receivers/api/test").body["notice_id"]
    (test,) = [row for row in client.get("/v1/notices?topic=test").body["notices"] if row["id"] == number]
    assert [(message["receiver"], message["state"]) for message in test["messages"]] == [("api", "test")]
    assert client.call("DELETE", "/v1/notices/receivers/api").body == {"key": "api", "deleted": True}
    assert client.get("/v1/notices/receivers/api").body["code"] == "unknown_receiver"


def test_a_key_that_is_bound_to_an_experiment_sees_no_notices(desk: Desk, client: Client) -> None:
    bound = Client(client.port, make_key(desk.url, "read", "manage", experiment="shop"))
    assert bound.get("/v1/notices").status == 403 and bound.post("/v1/notices/receivers/api/test").status == 403
