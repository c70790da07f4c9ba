"""The wizard's fields for a fallback: made, kept through a change, explained beside the field if they cannot be."""

from tests.page_client import Browser
from tests.service import Client
from tests.wizard.drafting import Draft, complete

HERE = "/arms/1/fallback"


def test_a_fallback_is_made_and_a_change_through_the_wizard_keeps_it(
    draft: Draft, editor: Browser, client: Client
) -> None:
    complete(draft, "trusted")
    draft.save("arms", {f"{HERE}/to": "uniform", f"{HERE}/margin": "25", f"{HERE}/tell": "yes"})
    draft.save("review", do="publish")
    made = client.get("/v1/experiments/trusted").body["arms"]
    assert [arm.get("fallback") for arm in made][:2] == [
        None,
        {"to": {"type": "uniform"}, "margin": 0.25, "probe": 0.05, "act": False},
    ]
    change = Draft(editor, editor.post("/admin/experiments/trusted/edit").address)
    change.save("arms")
    assert "Nothing would change" in change.show("review").text


def test_without_a_choice_the_defaults_hold_and_nothing_is_stored(draft: Draft, client: Client) -> None:
    complete(draft, "trusting")
    draft.save("arms", {f"{HERE}/margin": "10"})
    draft.save("review", do="publish")
    assert all("fallback" not in arm for arm in client.get("/v1/experiments/trusting").body["arms"])


def test_an_unknown_action_is_explained_beside_its_field(draft: Draft) -> None:
    complete(draft, "mistrusted")
    page = draft.save("arms", {f"{HERE}/to": "fixed", f"{HERE}/action": "ghost", f"{HERE}/probe": "90"})
    assert page.html.count("mistake") >= 2 and f'id="{HERE}/action"' in page.html
    assert "at most 50" in page.text.lower() or "50" in page.text
