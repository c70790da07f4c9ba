"""The wizard's fields for lineages and scaling: made, kept through a change, explained beside the field if they cannot be."""

from tests.page_client import Browser
from tests.service import Client
from tests.wizard.drafting import Draft, complete

TWO = {"/arms/2/policy/type": "bandit", "/arms/1/share": "40", "/arms/2/share": "40"}


def test_lineages_are_made_and_a_change_through_the_wizard_keeps_them(
    draft: Draft, editor: Browser, client: Client
) -> None:
    complete(draft, "lineages-made")
    draft.save("arms", TWO | {"/arms/1/lineage_of": "learner", "/arms/2/lineage_of": "learner"})
    assert "are lineages of “learner”" in draft.show("review").text
    draft.save("review", do="publish")
    made = client.get("/v1/experiments/lineages-made").body["arms"]
    assert [arm.get("lineage_of") for arm in made] == [None, "learner", "learner"]
    change = Draft(editor, editor.post("/admin/experiments/lineages-made/edit").address)
    change.save("arms")
    assert "Nothing would change" in change.show("review").text


def test_a_lineage_alone_is_explained_beside_its_field(draft: Draft) -> None:
    complete(draft, "lineage-alone")
    page = draft.save("arms", {"/arms/1/lineage_of": "learner"})
    assert "No other arm is a lineage of 'learner'" in page.text
    assert 'id="/arms/1/lineage_of"' in page.html and "mistake" in page.html


def test_an_algorithm_learns_numbers_at_their_own_scale_where_the_box_is_ticked(
    draft: Draft, editor: Browser, client: Client
) -> None:
    complete(draft, "scaled-by-hand")
    box = "/arms/1/policy/scaling"
    draft.save("arms", {"/arms/1/policy/algorithm": "squarecb", box: "yes"})
    draft.save("review", do="publish")
    made = client.get("/v1/experiments/scaled-by-hand").body["arms"]
    assert [arm["policy"].get("scaling") for arm in made] == [None, True, None][: len(made)]
    change = Draft(editor, editor.post("/admin/experiments/scaled-by-hand/edit").address)
    change.save("arms")
    assert "Nothing would change" in change.show("review").text


def test_a_change_keeps_what_a_staged_arm_does_not_see_and_that_it_learns_nothing(
    editor: Browser, client: Client
) -> None:
    policy = {"type": "bandit", "algorithm": "squarecb", "features_off": ["mood", "plan"], "learns": False}
    arms = [{"key": "a", "share": 0.5, "policy": policy}, {"key": "b", "share": 0.5, "policy": {"type": "uniform"}}]
    client.make("staged-arms", arms=arms)
    change = Draft(editor, editor.post("/admin/experiments/staged-arms/edit").address)
    assert "It does not see mood, plan." in change.show("arms").text
    change.save("arms")
    assert "Nothing would change" in change.show("review").text
