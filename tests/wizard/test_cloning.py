"""A clone is a draft with everything that its experiment says; a wizard that nobody typed into leaves nothing behind."""

import re

from app.design import experiments
from app.promotion import shipping
from app.promotion.shipping import ShipRequest
from tests.lab import AB, Lab
from tests.page_client import Browser
from tests.service import query
from tests.wizard.test_document import COMPOSED


def clone(editor: Browser, key: str) -> str:
    """Clone over the pages; returns the draft's address."""
    page = editor.post(f"/admin/experiments/{key}/clone")
    assert f"This is a copy of {key}." in page.text
    return page.address.rpartition("/")[0]


def create(editor: Browser, draft: str) -> None:
    version = editor.version(f"{draft}/review")
    page = editor.post(f"{draft}/review/publish", {"version": version, "do": "publish"})
    assert page.status == 200, page.text


def test_a_clone_says_the_same_under_a_free_key(lab: Lab, editor: Browser) -> None:
    lab.make("origin", arms=AB, control_arm="control", name="Origin", segments=["country"], hypothesis="Why not?")
    shipping.ship(lab.runtime.engine, "origin", ShipRequest(arm="treated", reason="better"), "ann")
    draft = clone(editor, "origin")
    assert "Copy of Origin" in editor.get("/admin/").text
    create(editor, draft)
    before, after = (experiments.get(lab.runtime.engine, key).config for key in ("origin", "origin-2"))
    expected = before | {"key": "origin-2", "name": "Copy of Origin", "shipped": None}
    expected["arms"] = [{**arm, "share": 0.5} for arm in expected["arms"]]  # type: ignore[union-attr, list-item]
    assert after == {name: value for name, value in expected.items() if name in after}
    assert experiments.get(lab.runtime.engine, "origin-2").status == "draft"
    create(editor, clone(editor, "origin"))
    assert experiments.get(lab.runtime.engine, "origin-3").status == "draft"


def test_a_composed_message_and_a_concluded_experiment_can_be_cloned(lab: Lab, editor: Browser) -> None:
    experiments.create(lab.runtime.engine, lab.settings, COMPOSED, "ann")
    experiments.move(lab.runtime.engine, COMPOSED["key"], "conclude", "ann", "done")
    create(editor, clone(editor, COMPOSED["key"]))
    made = experiments.get(lab.runtime.engine, f"{COMPOSED['key']}-2")
    assert made.config["composition"] == experiments.get(lab.runtime.engine, COMPOSED["key"]).config["composition"]


def test_leaving_the_wizard_leaves_no_draft(editor: Browser, database_url: str) -> None:
    page = editor.post("/admin/drafts")
    draft = page.address.rpartition("/")[0]
    home = editor.get("/admin/").text
    assert "Without a name" not in home and "Untitled" not in home
    assert editor.post("/admin/drafts").address == page.address  # the next one is the same
    version = editor.version(page.address)
    editor.post(f"{draft}/purpose", {"version": version, "/name": "Typed", "/key": "typed", "do": "save"})
    home_page = editor.get("/admin/")
    assert "Typed" in home_page.text
    match = re.search(rf'action="{draft}/discard">.*?name="version" value="(\d+)"', home_page.html, re.DOTALL)
    assert match
    assert "The draft is discarded" in editor.post(f"{draft}/discard", {"version": match[1]}).text
    assert query(database_url, "SELECT count(*) FROM drafts WHERE typed::text LIKE '%%Typed%%'") == [(0,)]


def test_a_change_that_nobody_typed_into_is_no_draft(lab: Lab, editor: Browser) -> None:
    lab.make("changes", name="Changes")
    editor.post("/admin/experiments/changes/edit")
    assert "a change of changes" not in editor.get("/admin/").text


def test_a_viewer_clones_nothing(lab: Lab, viewer: Browser) -> None:
    lab.make("kept")
    assert viewer.post("/admin/experiments/kept/clone").status == 403
