"""Tags, owners and stars; and archiving what was ticked in the list."""

import pytest

from tests.page_client import Browser, signed_in
from tests.service import Client, Web


def test_tags_and_owner_are_changed_in_every_status_and_found(client: Client, editor: Browser, viewer: Browser) -> None:
    client.make("tagged")
    client.post("/v1/experiments/tagged/conclude")
    page = editor.post("/admin/experiments/tagged/labels", {"tags": "mail, spring mail", "owner": "editor-0"})
    assert "Tags and owner are saved." in page.text
    stored = client.get("/v1/experiments/tagged").body
    assert (stored["tags"], stored["owner"]) == (["mail", "spring"], "editor-0")
    assert "tagged" in viewer.get("/admin/?search=spring").text
    assert "No experiment matches" in viewer.get("/admin/?search=autumn").text
    assert "changed the tags or the owner" in viewer.get("/admin/experiments/tagged/log").text
    assert client.call("PUT", "/v1/experiments/tagged/labels", {"tags": []}).body["owner"] == "editor-0"
    assert viewer.post("/admin/experiments/tagged/labels", {"tags": "x"}).status == 403


@pytest.mark.parametrize(
    "wrong",
    [{"owner": "nobody"}, {"tags": ["two words"]}, {"tags": [f"t{n}" for n in range(11)]}, {"tags": "mail"}, []],
)
def test_wrong_labels_are_refused(client: Client, wrong: object) -> None:
    if client.get("/v1/experiments/wrong").status == 404:
        client.make("wrong", start=False)
    assert client.call("PUT", "/v1/experiments/wrong/labels", wrong).status in (400, 422)


def test_a_star_is_a_persons_own(client: Client, web: Web, database_url: str) -> None:
    client.make("starred")
    ann, ben = (signed_in(web, database_url, "viewer", name) for name in ("ann", "ben"))
    for _ in range(2):  # again: nothing changes
        assert "★ Starred" in ann.post("/admin/experiments/starred/star", {"do": "star"}).text
    assert "Your and starred experiments" in ann.get("/admin/").text
    assert "Your and starred experiments" not in ben.get("/admin/").text
    assert "☆ Star" in ann.post("/admin/experiments/starred/star", {"do": "unstar"}).text
    assert "Your and starred experiments" not in ann.get("/admin/").text
    assert ann.post("/admin/experiments/nowhere/star", {"do": "star"}).status == 404


def test_what_was_ticked_is_archived_together_or_not_at_all(client: Client, editor: Browser, viewer: Browser) -> None:
    for key, start in (("old-1", False), ("old-2", False), ("busy", True)):
        client.make(key, start=start)
    html = editor.get("/admin/").html
    assert 'value="old-1"' in html and 'id="tick-busy"' not in html
    refused = editor.post("/admin/experiments/archive", {"key": ["old-1", "busy"]})
    assert refused.status == 409 and "old-1" in editor.get("/admin/").text
    assert "2 experiments archived." in editor.post("/admin/experiments/archive", {"key": ["old-1", "old-2"]}).text
    assert "old-1" not in editor.get("/admin/").text and "old-2" in editor.get("/admin/?status=archived").text
    assert "Tick the experiments" in editor.post("/admin/experiments/archive").text
    assert viewer.post("/admin/experiments/archive", {"key": "busy"}).status == 403
