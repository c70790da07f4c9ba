"""The wizard for a list of actions: how many positions, what is rewarded, the preview, the review, and the definition."""

import re
from typing import Any

import pytest

from tests.page_client import Browser
from tests.service import Client, definition
from tests.wizard.drafting import Draft, complete
from tests.wizard.test_messages import beside, change_of

NASTY = '<b onclick="x()">Tip</b> & co'


def listed(draft: Draft, key: str, places: str = "2") -> Draft:
    """A complete draft of a list of two actions."""
    complete(draft, key)
    assert draft.save("actions", do="among ranked").status == 200
    draft.save("actions", {"/lists/positions": places})
    return draft


def drawn(page: Any) -> list[list[str]]:
    """The lists of the preview, by arm: the words of each place."""
    section = re.search(r'<section[^>]*id="drawn".*?</section>', page.html, re.S)
    assert section
    lists = re.findall(r"<ol[^>]*>(.*?)</ol>", section[0], re.S)
    return [re.findall(r'<li class="user-text">(.*?)</li>', items) for items in lists]


def test_a_list_is_described_in_plain_words_and_decided(draft: Draft, client: Client) -> None:
    listed(draft, "shelf-by-form")
    review = draft.show("review").text
    assert (
        "Loopwise answers with a list of 2 different actions from the 2 actions, one position after the other."
        in review
    )
    assert "Your app reports what each position earned; each position is a decision of its own." in review
    assert "20% get “list” first and then any other equally often" in review
    assert draft.save("review", do="publish").address == "/admin/experiments/shelf-by-form/integration"
    made = client.get("/v1/experiments/shelf-by-form").body
    assert made["lists"] == {"positions": 2, "reward": "position"} and len(made["actions"]) == 2
    assert client.post("/v1/experiments/shelf-by-form/start").status == 200
    answer = client.decide("shelf-by-form", slots=made["lists"]["positions"])
    assert sorted(place["action"]["id"] for place in answer.body["positions"]) == ["list", "video"]


def test_the_preview_shows_a_list_of_each_arm_and_draws_anew(draft: Draft) -> None:
    listed(draft, "drawn")
    draft.save("actions", {"/actions/-/id": "nasty", "/actions/-/payload:text": NASTY})
    lists = drawn(draft.save("actions", {"/lists/positions": "3"}, do="draw"))
    assert len(lists) == 3 and all(len(places) == 3 for places in lists)
    control, *_ = lists
    assert control[0] == "Tip list"
    escaped = "&lt;b onclick=&#34;x()&#34;&gt;Tip&lt;/b&gt; &amp; co"
    assert all(escaped in places for places in lists)
    seen = {tuple(map(tuple, drawn(draft.save("actions", do="draw"))[1:])) for _ in range(8)}
    assert len(seen) > 1
    assert len(drawn(draft.show("actions"))) == 3


@pytest.mark.parametrize(
    ("places", "words"), [("0", "at least 1"), ("51", "at most 50"), ("", "fill"), ("2.5", "whole")]
)
def test_a_wrong_number_of_positions_is_said_beside_the_field(draft: Draft, places: str, words: str) -> None:
    listed(draft, f"wrong-{places.replace('.', '-')}", places)
    page = draft.show("actions")
    assert words in beside(page, "/lists/positions").lower()


def test_more_positions_than_actions_are_a_warning_and_show_as_empty(draft: Draft) -> None:
    listed(draft, "too-long", "50")
    assert "2 actions cannot fill 50 positions: the lowest positions stay empty." in draft.show("review").text
    page = draft.save("actions", do="draw")
    assert "48 positions stay empty" in page.text and all(len(places) == 2 for places in drawn(page))


def test_a_list_without_actions_waits_for_those_of_the_app(draft: Draft) -> None:
    draft.save("purpose", {"/name": "Own", "/key": "own-candidates-list"})
    draft.save("actions", do="among ranked")
    page = draft.save("arms", {"/arms/0/policy/type": "uniform"})
    page = draft.save("actions", do="draw")
    assert page.status == 200 and "Add actions" in page.text and not drawn(page)
    assert (
        "a list of 3 different actions from the actions that your app sends with each call" in draft.show("review").text
    )


def test_what_was_typed_into_the_other_kinds_is_kept(draft: Draft) -> None:
    listed(draft, "kept", "7")
    draft.save("actions", {"/lists/reward": "list"})
    draft.save("actions", do="among list")
    assert "/lists/positions" not in draft.fields("actions")
    fields = Draft(draft.browser, draft.save("actions", do="among ranked").address).fields("actions")
    assert (fields["/lists/positions"], fields["/lists/reward"]) == (["7"], ["list"])


def test_a_running_experiment_may_begin_and_end_to_speak_of_lists(client: Client, editor: Browser) -> None:
    client.make("begins-lists")
    change = change_of(editor, "begins-lists")
    change.save("actions", do="among ranked")
    assert change.save("review", do="publish").status == 200
    assert client.get("/v1/experiments/begins-lists").body["lists"]["positions"] == 3
    change_of(editor, "begins-lists").save("actions", do="among list")
    assert client.patch("/v1/experiments/begins-lists", {"lists": None}).status == 200
    assert "lists" not in client.get("/v1/experiments/begins-lists").body


def test_lists_of_messages_are_refused_with_the_field_that_has_to_change(client: Client) -> None:
    said = [{"id": "a", "template": {"texts": {"en": {"body": "hi"}}}}, {"id": "b"}]
    answer = client.post("/v1/experiments", definition("list-of-messages", actions=said, lists={}))
    assert answer.status == 422
    assert [error["path"] for error in answer.body["errors"]] == ["/actions/0/template"]
    slots = [
        {"name": name, "place": "body", "parts": [{"id": "p", "texts": {"en": "x"}}]} for name in ("first", "second")
    ]
    body = definition("list-of-parts", actions=[], composition={"slots": slots}, lists={"positions": 2})
    answer = client.post("/v1/experiments", body)
    assert [error["path"] for error in answer.body["errors"]] == ["/lists"]


def test_a_message_that_was_typed_first_stays_visible_in_a_list_so_that_it_can_be_taken_out(draft: Draft) -> None:
    complete(draft, "message-first")
    page = draft.save(
        "actions",
        {"/actions/-/id": "said", "/actions/-/template/channel": "in_app", "/actions/-/template/texts/0/body": "Hi"},
    )
    page = draft.save("actions", do="among ranked")
    assert (
        "there are no lists of messages" in page.text.lower()
        or "no lists of messages" in draft.show("review").text.lower()
    )
