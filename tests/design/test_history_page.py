"""The audit log: filtered by actor, by kind of change, and by experiment."""

from tests.page_client import Browser
from tests.service import Client


def test_lines_are_found_by_what_was_done_by_whom_and_to_which_experiment(
    admin: Browser, editor: Browser, client: Client
) -> None:
    client.make("traced")
    editor.post("/admin/experiments/traced/notes", {"note": "Worth <keeping>"})
    page = admin.get("/admin/audit-log?experiment=traced")
    assert '<option value="note" >wrote a note</option>' in page.html
    assert "started the experiment" in page.text and "Worth <keeping>" in page.text
    only = admin.get("/admin/audit-log?experiment=traced&kind=note").html.partition("<ol")[2]
    assert only.count("<li") == 1 and "wrote a note" in only
    who = only.partition("<strong>")[2].partition("</strong>")[0]
    assert who.startswith("editor")
    by = admin.get(f"/admin/audit-log?experiment=traced&actor={who}").html.partition("<ol")[2]
    assert by.count("<li") == 1
    assert "Nothing matches" in admin.get("/admin/audit-log?actor=nobody-of-that-name").text


def test_an_unknown_experiment_is_an_error_beside_its_field(admin: Browser) -> None:
    page = admin.get("/admin/audit-log?experiment=nowhere")
    assert page.status == 404
    assert "There is no experiment 'nowhere'" in page.text
    assert 'value="nowhere"' in page.html
