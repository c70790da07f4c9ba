"""The pages of triggers: create, change, try and delete them without JSON; see firings and the reasons for skipping."""

from typing import Any

import pytest

from tests.messaging.trigger_support import Triggers, ago
from tests.page_client import Browser, Page
from tests.service import Loop, query, runtime_of

HOSTILE = "<script>alert(1)</script>\u202eevil"
COUNT = {
    "/key": "three-fails",
    "/name": "Three & more",
    "/experiment": "tips",
    "/pattern/event": "failed",
    "/pattern/type": "count",
    "/pattern/count": "3",
    "/pattern/window_s": "2",
    "/pattern/window_s:unit": "days",
    "/delay_s:wait": "none",
    "/priority": "7",
    "/delivery": "unit",
    "/conditions/0/property:what": "property",
    "/conditions/0/property": "plan",
    "/conditions/0/is": "in",
    "/conditions/0/value": 'pro, "5"',
    "/variables/0/name": "name",
    "/variables/0/property": "user.name",
    "do": "save",
}


@pytest.fixture(scope="module")
def loop(database_url: str) -> Any:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Triggers(Loop(runtime, database_url))


@pytest.fixture(scope="module", autouse=True)
def empty(viewer: Browser, loop: Triggers) -> Page:
    """The page before there is a trigger."""
    page = viewer.get("/admin/triggers")
    loop.experiment("tips")
    return page


def test_the_empty_page_explains_triggers(empty: Page, editor: Browser) -> None:
    assert empty.status == 200 and "No trigger yet" in empty.text and "no lesson for three days" in empty.text
    assert "Create the first trigger" not in empty.text  # a viewer only reads


def test_a_viewer_changes_nothing(viewer: Browser, loop: Triggers) -> None:
    loop.define("kept", {"type": "event", "event": "kept"})
    for address in ("new", "kept/change", "kept/delete"):
        assert viewer.get(f"/admin/triggers/{address}").status == 403
        assert viewer.post(f"/admin/triggers/{address}", COUNT).status == 403
    assert viewer.post("/admin/triggers/kept/move", {"do": "pause"}).status == 403
    page = viewer.get("/admin/triggers/kept")
    assert page.status == 200 and "Delete" not in page.text and "Pause" not in page.text and "Dry run" in page.text
    assert viewer.get("/admin/triggers/kept/dry-run").status == 200


def test_a_trigger_is_created_without_json_and_described_in_words(editor: Browser, database_url: str) -> None:
    page = editor.post("/admin/triggers/new", COUNT)
    assert page.status == 200 and page.address == "/admin/triggers/three-fails"
    for words in (
        "3 failed within 2 days",
        'plan is one of pro, "5"',
        "name ← user.name",
        "This trigger is paused",
        "not fired yet",
    ):
        assert words in page.text, words
    ((stored,),) = query(database_url, "SELECT definition FROM triggers WHERE key = 'three-fails'")
    assert stored["conditions"] == [{"property": "plan", "is": "in", "value": ["pro", "5"]}]
    assert (stored["pattern"]["window_s"], stored["priority"]) == (172_800, 7)
    listed = editor.get("/admin/triggers").text
    assert "Three & more" in listed and "3 failed within 2 days" in listed and "paused" in listed


def test_errors_are_beside_their_fields_and_nothing_typed_is_lost(editor: Browser, database_url: str) -> None:
    wrong = {
        **COUNT,
        "/key": "not a key",
        "/pattern/count": "many",
        "/pattern/window_s": "999",
        "/experiment": "ghost",
        "/variables/0/name": "Not Small",
        "/conditions/0/property": "a b",
    }
    page = editor.post("/admin/triggers/new", wrong)
    assert page.status == 422
    for words in (
        "beginning with a letter or a digit",
        "Give at most 90 days.",
        "small letters",
        "property's name without spaces",
    ):
        assert words in page.text, words
    for name in (
        *("/key", "/pattern/count", "/pattern/window_s"),
        *("/variables/0/name", "/conditions/0/property"),
    ):
        assert f'aria-describedby="{name}-help" aria-invalid="true"' in page.html, name
    for typed in ("not a key", "many", "999", "Not Small", "a b", "pro, &#34;5&#34;", "user.name"):
        assert f'value="{typed}"' in page.html, typed
    page = editor.post("/admin/triggers/new", {**COUNT, "/experiment": "ghost", "/key": "unmade"})
    assert page.status == 422 and "There is no experiment with this key." in page.text
    taken = editor.post("/admin/triggers/new", COUNT)
    assert taken.status == 409 and "choose another key" in taken.text
    assert query(database_url, "SELECT 1 FROM triggers WHERE key IN ('unmade', 'not a key')") == []


def test_no_posted_form_causes_a_server_error(editor: Browser) -> None:
    for odd in ("\0", "\ud800".encode("utf-8", "surrogatepass"), "9" * 400, "nan", "-inf", HOSTILE, "", "1e308"):
        for name in (
            "/key",
            "/pattern/event",
            "/pattern/count",
            "/pattern/window_s",
            "/priority",
            "/conditions/0/value",
            "/conditions/0/is",
            "/pattern/type",
        ):
            page = editor.post("/admin/triggers/new", {**COUNT, "/key": "odd", "do": "try", name: odd})
            assert page.status in (200, 422), (name, odd, page.text[:300])
            assert "<script>alert" not in page.html
    assert editor.post("/admin/triggers/kept/move", {"do": "fly"}).status == 422
    assert editor.get("/admin/triggers/ghost").status == 404


def test_rows_are_added_and_removed_without_a_script(editor: Browser) -> None:
    page = editor.post("/admin/triggers/new", {**COUNT, "do": "add /conditions"})
    assert page.status == 200 and 'name="/conditions/1/property"' in page.html and 'value="user.name"' in page.html
    page = editor.post("/admin/triggers/new", {**COUNT, "do": "remove /conditions/0"})
    assert 'name="/conditions/0/property"' not in page.html and 'value="user.name"' in page.html


def test_the_second_of_two_concurrent_changes_is_reported_and_loses_nothing(
    editor: Browser, admin: Browser, loop: Triggers
) -> None:
    loop.define("shared", {"type": "event", "event": "shared"}, variables={"name": "user.name"})
    address, typed = (
        "/admin/triggers/shared/change",
        {**COUNT, "/key": "", "/pattern/type": "event", "/pattern/event": "shared"},
    )
    both = editor.version(address)
    assert admin.post(address, {**typed, "/priority": "8", "version": both}).status == 200
    late = {**typed, "/priority": "9", "/name": HOSTILE, "version": both}
    conflict = editor.post(address, late)
    assert (
        conflict.status == 409 and "Somebody changed this trigger" in conflict.text and "priority 8 9" in conflict.text
    )
    assert (
        "<script>alert" not in conflict.html and 'value="user.name"' in conflict.html and 'value="9"' in conflict.html
    )
    assert "priority 8" in admin.get("/admin/triggers/shared").text.lower()
    more = editor.post(address, {**late, "do": "add /conditions"})
    assert more.status == 200 and f'name="version" value="{both}"' in more.html  # it still began from the old one
    over = editor.post(address, {**late, "version": str(int(both) + 1)})
    assert over.status == 200 and "priority 9" in over.text.lower()
    assert editor.post(address, typed).status == 409  # a form without a version overwrites nothing


def test_a_trigger_is_changed_started_paused_and_deleted_after_confirmation(editor: Browser, admin: Browser) -> None:
    form = editor.get("/admin/triggers/three-fails/change")
    assert form.status == 200 and 'value="user.name"' in form.html
    changed = {**COUNT, "/pattern/type": "absence", "/pattern/for_s": "3", "/pattern/for_s:unit": "days"}
    address = "/admin/triggers/three-fails/change"
    page = editor.post(address, {**changed, "version": editor.version(address)})
    assert "no failed for 3 days" in page.text
    assert "runs now" in editor.post("/admin/triggers/three-fails/move", {"do": "start"}).text
    assert "is paused now" in editor.post("/admin/triggers/three-fails/move", {"do": "pause"}).text
    confirmation = editor.get("/admin/triggers/three-fails/delete")
    assert "Waiting firings are skipped" in confirmation.text
    assert "is deleted" in editor.post("/admin/triggers/three-fails/delete").text
    assert editor.get("/admin/triggers/three-fails").status == 404
    assert "deleted a trigger" in admin.get("/admin/audit-log").text


def test_firings_link_to_their_decisions(viewer: Browser, loop: Triggers) -> None:
    loop.define("greets", {"type": "event", "event": "came"}, name=HOSTILE)
    loop.report({"event_id": HOSTILE, "unit_id": HOSTILE, "name": "came"})
    loop.match()
    loop.fire()
    page = viewer.get("/admin/triggers/greets")
    assert "decided" in page.text and HOSTILE in page.text and "<script>alert" not in page.html
    link = page.html.split('href="/admin/experiments/tips/replay?id=')[1].split('"')[0]
    assert "What was said" in viewer.get(f"/admin/experiments/tips/replay?id={link}").text
    assert "greets running each came tips 0 1" in viewer.get("/admin/triggers").text
    loop.define("mute", {"type": "event", "event": "noise"}, delay_s=0)
    loop.report({"event_id": "n1", "unit_id": "n", "name": "noise"})
    loop.match()
    from app.messaging.triggers import lifecycle as triggers

    triggers.move(loop.engine, "mute", "pause", "test")
    loop.fire()
    page = viewer.get("/admin/triggers/mute")
    assert "nothing said" in page.text and "the trigger was paused" in page.text


def test_a_dry_run_shows_days_and_units_and_sends_nothing(editor: Browser, viewer: Browser, loop: Triggers) -> None:
    loop.define("would", {"type": "event", "event": "seen"}, start=False)
    for n in range(3):
        loop.report({"event_id": f"s{n}", "unit_id": f"seer-{n % 2}", "name": "seen", "occurred_at": ago(days=n)})
    page = viewer.get("/admin/triggers/would/dry-run")
    assert page.status == 200 and "Who it would have reached" in page.text and "seer-1" in page.text
    assert "3 firings" in page.text and "2 units" in page.text and page.html.count("chart fluid") == 1
    assert f"{ago(days=1):%Y-%m-%d} 1 1" in page.text  # the table under the chart
    seen = {
        "/pattern/type": "event",
        "/pattern/event": "seen",
        "/conditions/0/is": "exists",
        "/conditions/0/value": "no",
        "do": "try",
    }
    tried = editor.post("/admin/triggers/new", {**COUNT, **seen})
    assert tried.status == 200 and "3 firings" in tried.text and 'value="seen"' in tried.html
    assert "Nobody" in editor.post("/admin/triggers/new", {**COUNT, "/pattern/event": "never", "do": "try"}).text
    assert query(loop.loop.database_url, "SELECT 1 FROM firings WHERE unit_id LIKE 'seer%%'") == []


def test_an_unreadable_definition_does_not_hide_the_other_triggers(
    viewer: Browser, editor: Browser, loop: Triggers
) -> None:
    loop.define("odd-one", {"type": "event", "event": "odd"}, start=False)
    broken = (
        """UPDATE triggers SET definition = '{"key": "odd-one", "pattern": {"type": "dream"}}' WHERE key = 'odd-one'"""
    )
    query(loop.loop.database_url, broken)
    page = viewer.get("/admin/triggers")
    assert page.status == 200 and "cannot be read" in page.text and "greets" in page.text
    assert "is deleted" in editor.post("/admin/triggers/odd-one/delete").text
