"""Each template of an experiment can be started once it has a name, and decides; it changes nothing that was typed before."""

from typing import Any

import pytest

from app.design import experiments
from app.wizard.beginning.examples import EXAMPLES
from tests.lab import Lab
from tests.page_client import Browser
from tests.wizard.drafting import Draft, fields


def _begun(editor: Browser, example: str, **typed: str) -> tuple[Draft, Any]:
    page = editor.post("/admin/drafts")
    assert "Start from a template" in page.text
    draft = Draft(editor, page.address)
    body = {**fields(page), **{f"/{field}": text for field, text in typed.items()}, "example": example}
    return draft, editor.post(f"{draft.base}/example", body)


@pytest.mark.parametrize("name", [*EXAMPLES])
def test_a_template_needs_only_a_name(lab: Lab, editor: Browser, name: str) -> None:
    draft, page = _begun(editor, name)
    assert page.status == 200 and EXAMPLES[name].title in page.text and "Start from a template" not in page.text
    key = name.replace("_", "-")
    assert draft.save("purpose", {"/name": f"Our {name}", "/key": key}, do="next").status == 200
    for step in ("actions", "arms", "reward", "people", "metrics"):
        shown = draft.show(step)
        assert shown.status == 200 and "fixing in this step" not in shown.text, step
        saved = draft.save(step)
        assert saved.status == 200 and "fixing in this step" not in saved.text, step
    review = draft.show("review")
    assert review.status == 200 and "fixing" not in review.text, review.text
    made = draft.browser.post(
        f"{draft.base}/review/publish", {"version": editor.version(f"{draft.base}/review"), "do": "publish"}
    )
    assert made.status == 200
    config = experiments.get(lab.runtime.engine, key).config
    wanted = EXAMPLES[name].definition
    assert config["hypothesis"] == wanted["hypothesis"] and len(config["arms"]) == len(wanted["arms"])
    experiments.move(lab.runtime.engine, key, "start", "test")
    lab.runtime.snapshots.refresh()
    body: dict[str, Any] = {"context": {}}
    if not wanted["actions"]:
        body["actions"] = [{"id": f"candidate-{number}"} for number in range(5)]
    assert lab.decide(key, [body])[0]["arm"] in {arm["key"] for arm in wanted["arms"]}


def test_a_name_that_was_typed_stays(lab: Lab, editor: Browser) -> None:
    draft, _ = _begun(editor, "in_app_message", name="Kept name", hypothesis="Kept hypothesis")
    typed = draft.fields("purpose")
    assert "Kept name" in str(typed) and "Kept hypothesis" in str(typed)
    assert draft.show("actions").text.count("tour") >= 1


def test_a_template_that_does_not_exist_is_refused(lab: Lab, editor: Browser) -> None:
    _, page = _begun(editor, "ghost")
    assert page.status == 422 and "subject_lines" in page.text


def test_a_change_of_an_experiment_has_no_templates(lab: Lab, editor: Browser) -> None:
    lab.make("stays")
    page = editor.post("/admin/experiments/stays/edit")
    draft = Draft(editor, page.address)
    assert "Start from a template" not in page.text
    body = {**fields(page), "example": "price_display"}
    assert editor.post(f"{draft.base}/example", body).status == 422
