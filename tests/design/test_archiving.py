"""Archiving, deleting drafts, pausing with a reason: over the API and through the pages, and what lists show then."""

import re

import pytest

from tests.page_client import Browser
from tests.service import Client, Web, definition, make_key, query


def made(client: Client, key: str, *, start: bool = True) -> str:
    client.make(key, start=start)
    return key


def listed(browser: Browser, status: str = "") -> str:
    return browser.get(f"/admin/?status={status}").text


def test_an_archived_experiment_leaves_the_list_and_keeps_everything(client: Client, editor: Browser) -> None:
    key = made(client, "shelved")
    refused = client.post(f"/v1/experiments/{key}/archive")
    assert (refused.status, refused.body["code"]) == (409, "archive_running")
    client.post(f"/v1/experiments/{key}/conclude")
    archived = client.post(f"/v1/experiments/{key}/archive")
    assert archived.status == 200 and archived.body["archived_at"]
    assert client.post(f"/v1/experiments/{key}/archive").body == archived.body  # again: nothing changes
    assert key not in listed(editor) and key not in listed(editor, "concluded")
    assert key in listed(editor, "archived")
    assert client.get(f"/v1/experiments/{key}").status == 200
    assert "archived" in editor.get(f"/admin/experiments/{key}/").text
    restored = client.post(f"/v1/experiments/{key}/restore")
    assert restored.body["archived_at"] is None and key in listed(editor)


def test_starting_an_archived_experiment_shows_it_again(client: Client, editor: Browser) -> None:
    key = made(client, "woken", start=False)
    page = editor.post(f"/admin/experiments/{key}/shelve", {"do": "archive"})
    assert "The experiment is archived." in page.text and key not in listed(editor)
    editor.post(f"/admin/experiments/{key}/move", {"do": "start"})
    assert key in listed(editor) and client.get(f"/v1/experiments/{key}").body["archived_at"] is None


def test_a_draft_is_deleted_with_its_keys_and_its_key_is_free_again(
    client: Client, web: Web, database_url: str, editor: Browser
) -> None:
    key = made(client, "mistake", start=False)
    bound = web.client(make_key(database_url, "decide", "read", "manage", experiment=key))
    assert bound.decide(key).body["code"] == "not_running"
    deleted = client.call("DELETE", f"/v1/experiments/{key}")
    assert (deleted.status, deleted.body) == (200, {"key": key, "deleted": True})
    assert client.get(f"/v1/experiments/{key}").status == 404
    assert client.decide(key).body["code"] == "unknown_experiment"
    assert bound.get(f"/v1/experiments/{key}").status in (401, 403)
    assert key not in listed(editor)
    assert client.call("DELETE", f"/v1/experiments/{key}").status == 404
    again = client.make(key)
    assert again["config_version"] == 1 and client.decide(key).status == 201
    kept = "SELECT before->>'key' FROM changes WHERE kind = 'experiment_deleted' AND before->>'key' = %s"
    assert query(database_url, kept, key) == [(key,)]


@pytest.mark.parametrize("verb", ["start", "conclude"])
def test_only_what_never_ran_is_deleted(client: Client, verb: str) -> None:
    key = made(client, f"ran-{verb}", start=verb == "start")
    client.post(f"/v1/experiments/{key}/{verb}")
    refused = client.call("DELETE", f"/v1/experiments/{key}")
    assert (refused.status, refused.body["code"]) == (409, "not_a_draft")


def test_a_pause_says_who_and_why(client: Client, editor: Browser, viewer: Browser) -> None:
    key = made(client, "paused")
    editor.post(f"/admin/experiments/{key}/move", {"do": "pause", "reason": "The <b>app</b> sends wrong prices."})
    page = viewer.get(f"/admin/experiments/{key}/results")
    assert re.search(r"Paused (just now|\d+ seconds? ago) by editor-\d: The <b>app</b> sends wrong prices.", page.text)
    assert "Resume" in editor.get(f"/admin/experiments/{key}/").text
    client.post(f"/v1/experiments/{key}/start")
    assert "wrong prices" not in viewer.get(f"/admin/experiments/{key}/results").text
    assert client.post(f"/v1/experiments/{key}/pause", {"reason": "over the API"}).status == 200
    assert "over the API" in viewer.get(f"/admin/experiments/{key}/").text
    assert client.post(f"/v1/experiments/{key}/pause", {"reason": 1}).status == 422
    long = editor.post(f"/admin/experiments/{key}/move", {"do": "pause", "reason": "x" * 10_001})
    assert long.status == 422


def test_a_viewer_changes_nothing(client: Client, viewer: Browser) -> None:
    key = made(client, "kept", start=False)
    for do in ("archive", "restore", "delete"):
        assert viewer.post(f"/admin/experiments/{key}/shelve", {"do": do}).status == 403
    page = viewer.get(f"/admin/experiments/{key}/")
    assert "Delete this draft" not in page.text and "Clone" not in page.text


def test_a_key_of_one_experiment_archives_no_other(client: Client, web: Web, database_url: str) -> None:
    made(client, "own"), made(client, "others", start=False)
    bound = web.client(make_key(database_url, "manage", experiment="own"))
    for method, path in (("POST", "archive"), ("POST", "restore"), ("DELETE", "")):
        answer = bound.call(method, f"/v1/experiments/others/{path}".rstrip("/"))
        assert (answer.status, answer.body["code"]) == (403, "wrong_experiment")


def test_an_unknown_verb_is_refused(client: Client, editor: Browser) -> None:
    made(client, "verbs", start=False)
    assert editor.post("/admin/experiments/verbs/shelve", {"do": "burn"}).status == 422
    assert client.post("/v1/experiments", definition("verbs")).status == 409
