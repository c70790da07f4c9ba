"""Nobody has to write JSON, or an id: rows of name and value, pasted lines, ids from what people read, declared variables."""

import re

from tests.page_client import Browser
from tests.service import Client
from tests.wizard.drafting import Draft, complete, fields

FEATURES = "/actions/-/features"


def edited(draft: Draft) -> dict[str, object]:
    """The fields of the first action's form."""
    (row, *_) = re.findall(r'value="edit ([0-9a-f]+)"', draft.show("actions").html)
    return fields(draft.save("actions", do=f"edit {row}"))


def test_features_are_rows_whose_types_are_found(draft: Draft, client: Client) -> None:
    complete(draft, "rows")
    rows = {
        f"{FEATURES}:rows/{index}/{name}": text
        for index, row in enumerate((("minutes", "3"), ("style", "video"), ("new", "yes"), ("code", '"007"')))
        for name, text in zip(("name", "value"), row, strict=True)
    }
    page = draft.save("actions", {"/actions/-/id": "rich", "/actions/-/payload:text": "x"} | rows)
    assert "minutes: 3; style: video; new: yes" in page.text
    assert draft.save("review", do="publish").status == 200
    made = client.get("/v1/experiments/rows").body["actions"][-1]
    assert made["features"] == {"minutes": 3, "style": "video", "new": True, "code": "007"}


def test_json_is_a_switch_that_keeps_what_is_typed(draft: Draft) -> None:
    row = {f"{FEATURES}:rows/0/name": "minutes", f"{FEATURES}:rows/0/value": "3", "/actions/-/id": "a"}
    page = draft.save("actions", row, f"as json {FEATURES}")
    assert fields(page)[FEATURES] == '{"minutes": 3}'
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | {FEATURES: "{", "do": f"as rows {FEATURES}"})
    assert fields(page)[FEATURES] == "{" and "This is not JSON" in page.text
    typed = {FEATURES: '{"minutes": 4, "style": "007"}', "do": f"as rows {FEATURES}"}
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | typed)
    assert fields(page)[f"{FEATURES}:rows/1/value"] == '"007"'
    assert fields(page)[f"{FEATURES}:rows/0/value"] == "4"


def test_four_pasted_lines_make_four_actions(draft: Draft) -> None:
    lines = "Watch the tour\nFünf erste Schritte\r\n\nWatch the tour\nown-id\tIts text"
    page = draft.save("actions", {"/actions:pasted": lines}, "paste")
    assert "4 actions" in page.text
    assert re.findall(r'aria-label="Edit ([^"]*)"', page.html) == [
        "watch-the-tour",
        "funf-erste-schritte",
        "watch-the-tour-2",
        "own-id",
    ]
    assert edited(draft)["/actions/-/payload:text"] == "Watch the tour"


def test_ids_that_nobody_types_come_from_what_people_read(draft: Draft) -> None:
    draft.save("purpose", {"/name": "Which tip, for whom?"})
    assert draft.fields("purpose")["/key"] == ["which-tip-for-whom"]
    draft.save("actions", {"/actions/-/payload:title": "Watch the tour"})
    assert edited(draft)["/actions/-/id"] == ["watch-the-tour"]
    draft.save("metrics", do="add /metrics")
    draft.save("metrics", {"/metrics/0/name": "Money spent", "/metrics/0/source/metric": "money"})
    assert draft.fields("metrics")["/metrics/0/key"] == ["money-spent"]


def test_a_variable_that_a_text_names_is_added_with_a_button(draft: Draft) -> None:
    message = {"/actions/-/template/channel": "in_app", "/actions/-/template/texts/0/body": "{{ first_items }} wait"}
    page = draft.save("actions", {"/actions/-/id": "say"} | message, "preview")
    assert "'first_items' is not a declared variable" in page.text
    assert 'value="variable first_items"' in page.html
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "variable first_items"})
    assert fields(page)["/variables/0/name"] == ["first_items"]
    assert "not a declared variable" not in page.text
    assert "first items wait" in page.text  # the preview, with the sample


def test_a_preview_is_rendered_without_storing_anything(draft: Draft) -> None:
    typed = draft.fields("actions") | {
        "/actions/-/template/channel": "in_app",
        "/actions/-/template/texts/0/body": "Hi <b>{{ name }}</b>",
        "/variables/0/name": "name",
        "/variables/0/sample:kind": "text",
        "/variables/0/sample": "Ada",
        "/variables/0/required": "yes",
    }
    page = draft.browser.post(f"{draft.base}/actions/preview", typed)
    assert "Hi &lt;b&gt;Ada&lt;/b&gt;" in page.html and "<form" not in page.html
    broken = typed | {"/actions/-/template/texts/0/body": "{{ nobody }}"}
    assert "once it has a text and no errors" in draft.browser.post(f"{draft.base}/actions/preview", broken).text
    assert "0 actions" in draft.show("actions").text


def test_the_answer_is_picked_where_it_is_known(draft: Draft, editor: Browser, client: Client) -> None:
    complete(draft, "picked")
    assert re.search(r'<option value="list" selected>', draft.show("arms").html)
    draft.save("arms", {"/arms/0/policy/action": "gone"})
    assert "gone (unknown)" in draft.show("arms").text and draft.fields("arms")["/arms/0/policy/action"] == "gone"
    assert re.search(r'<option value="Europe/Vienna" *>', draft.show("people").html)
    draft.save("people", do="add /fatigue/caps")
    assert "every message" in draft.show("people").text
