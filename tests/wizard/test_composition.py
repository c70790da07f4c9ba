"""The wizard's form for a message composed of parts: built without code, previewed, and never lost."""

import html
import json
import re
from typing import Any

import pytest

from tests.page_client import Browser, Page, signed_in
from tests.service import Client, Web, bandit, definition
from tests.wizard.drafting import Draft, complete, fields
from tests.wizard.test_document import COMPOSED
from tests.wizard.test_messages import NASTY, beside, change_of

UNIFORM = {"/arms/0/policy/type": "uniform", "/arms/1/policy/type": "uniform"}
MESSAGE = {
    **{
        "/composition/slots/0/name": "subject",
        "/composition/slots/0/parts/0/id": "hello",
        "/composition/slots/0/parts/0/texts/0/text": "Hello {{ name }}",
    },
    **{"/composition/slots/0/parts/1/id": "news", "/composition/slots/0/parts/1/texts/0/text": "News"},
    **{
        "/composition/slots/1/name": "tone",
        "/composition/slots/1/parts/0/id": "warm",
        "/composition/slots/1/parts/0/texts/0/text": "Lovely.",
    },
    **{"/composition/slots/1/parts/1/id": "brisk", "/composition/slots/1/parts/1/texts/0/text": "Go!"},
    **{"/variables/0/name": "name", "/variables/0/sample": "Ada <3", "/variables/0/required": "yes"},
}


def composed(draft: Draft) -> Draft:
    """A draft of two slots with two empty parts each."""
    for button in (
        "among composed",
        "add /composition/slots/0/parts",
        "add /composition/slots/1/parts",
        "add /variables",
    ):
        assert draft.save("actions", do=button).status == 200
    return draft


def row_of(page: Page, slot: int, part: int) -> str:
    """The row name by which a part is chosen."""
    return str(fields(page)[f"/composition/slots/{slot}/parts/{part}/:row"][0])


def kept(page: Page, names: dict[str, str]) -> dict[str, Any]:
    """The values of these fields in the form."""
    sent = fields(page)
    return {name: sent[name][0] if isinstance(sent[name], list) else sent[name] for name in names}


def seen(page: Page) -> str:
    """The preview's words."""
    section = re.search(r'<section[^>]*id="combinations".*?</section>', page.html, re.S)
    assert section
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", section[0])))


def subject_and_tone(draft: Draft, key: str) -> Page:
    """A complete draft of a composed message with a forbidden pair; the page of its step."""
    complete(draft, key)
    draft.save("arms", UNIFORM)
    page = composed(draft).save(
        "actions", MESSAGE | {"/composition/channel": "email", "/composition/allow_nothing": "yes"}
    )
    assert "4 combinations are allowed, and saying nothing is one more choice" in page.text
    pair = {"/composition/forbidden:first": row_of(page, 0, 0), "/composition/forbidden:second": row_of(page, 1, 1)}
    return draft.save("actions", pair, "pair")


def test_the_allowed_combinations_are_counted_and_described(draft: Draft) -> None:
    page = subject_and_tone(draft, "counted")
    assert "subject: hello and tone: brisk" in page.text
    assert "3 combinations are allowed of 4" in page.text
    assert "Hello Ada <3" in seen(page)  # the first combination
    review = draft.show("review").text
    assert "Loopwise composes a message of subject and tone, in one of 3 combinations, or says nothing." in review
    assert "20% get every combination equally often" in review


def test_a_message_is_drawn_by_chance_and_another_one_when_asked_again(draft: Draft) -> None:
    page = subject_and_tone(draft, "by-chance")
    assert "A message drawn by chance" not in page.text
    drawn = set()
    for _ in range(25):
        page = draft.save("actions", do="draw")
        match = re.search(r'id="drawn".*?<code>(.*?)</code>', page.html, re.S)
        assert match and "Try again" in page.text
        drawn.add(html.unescape(match[1]))
        assert "nothing" not in match[1] or "It says nothing to this person." in page.text
    assert len(drawn) > 1
    assert drawn <= {"subject=hello|tone=warm", "subject=news|tone=warm", "subject=news|tone=brisk", "nothing"}


def test_a_message_is_composed_in_the_wizard_and_decided(draft: Draft, client: Client) -> None:
    subject_and_tone(draft, "built")
    assert draft.save("review", do="publish").address == "/admin/experiments/built/integration"
    made = client.get("/v1/experiments/built").body
    assert made["actions"] == []
    assert made["composition"] == {
        "slots": [
            {
                "name": "subject",
                "place": "title",
                "parts": [
                    {"id": "hello", "features": {}, "texts": {"en": "Hello {{ name }}"}},
                    {"id": "news", "features": {}, "texts": {"en": "News"}},
                ],
            },
            {
                "name": "tone",
                "place": "body",
                "parts": [
                    {"id": "warm", "features": {}, "texts": {"en": "Lovely."}},
                    {"id": "brisk", "features": {}, "texts": {"en": "Go!"}},
                ],
            },
        ],
        "forbidden": [[{"slot": "subject", "part": "hello"}, {"slot": "tone", "part": "brisk"}]],
        "channel": "email",
        "allow_nothing": True,
    }
    assert client.post("/v1/experiments/built/start").status == 200
    body = {"experiment": "built", "unit_id": "u", "variables": {"name": "Bo"}, "excluded_actions": ["nothing"]}
    answer = client.post("/v1/messages/decide", body)
    assert answer.status == 201
    assert (answer.body["message"]["title"], answer.body["message"]["body"]) in [
        ("Hello Bo", "Lovely."),
        ("News", "Lovely."),
        ("News", "Go!"),
    ]


def test_any_combination_is_previewed_for_the_sample_user(draft: Draft) -> None:
    page = composed(draft).save(
        "actions", MESSAGE | {"/composition/slots:languages/0/locale": "en"}, "add /composition/slots:languages"
    )
    german = {
        "/composition/slots:languages/1/locale": "de",
        "/composition/slots/0/parts/1/texts/1/text": "Neues",
        "/composition/slots/1/parts/1/texts/1/text": "Los!",
    }
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | german | {"do": "pair"})
    picked = {"pick-0": row_of(page, 0, 1), "pick-1": row_of(page, 1, 1)}
    page = draft.save("actions", picked, "preview")
    assert "The combination that you picked subject=news|tone=brisk" in seen(page)
    assert re.findall(r'data-preview="(\w+)"', page.html) == ["en", "en", "de"]
    assert "Neues Los!" in seen(page)
    assert kept(page, picked) == picked
    draft.save(
        "actions",
        {"/composition/forbidden:first": picked["pick-0"], "/composition/forbidden:second": picked["pick-1"]},
        "pair",
    )
    page = draft.save("actions", picked, "preview")
    assert "Two of these parts are never combined" in seen(page)
    page = draft.save("actions", {"/composition/slots/1/parts/1/id": "a b"}, "preview")
    assert "to see the preview" in seen(page)


def test_slots_and_parts_are_added_copied_moved_and_removed_and_pairs_follow(draft: Draft) -> None:
    page = composed(draft).save("actions", MESSAGE)
    page = draft.save(
        "actions",
        {"/composition/forbidden:first": row_of(page, 0, 0), "/composition/forbidden:second": row_of(page, 1, 1)},
        "pair",
    )
    page = draft.save(
        "actions",
        {"/composition/slots/1/name": "voice", "/composition/slots/1/parts/1/id": "short"},
        "up /composition/slots/1",
    )
    assert kept(page, {"/composition/slots/0/name": "", "/composition/slots/1/name": ""}) == {
        "/composition/slots/0/name": "voice",
        "/composition/slots/1/name": "subject",
    }
    assert "subject: hello and voice: short" in page.text
    page = draft.save("actions", do="copy /composition/slots/0/parts/1")
    assert kept(page, {"/composition/slots/0/parts/2/id": ""}) == {"/composition/slots/0/parts/2/id": "short-2"}
    assert "subject: hello and voice: short-2" in page.text  # the copy has the forbidden pairs of the original
    assert "6 combinations" not in page.text and "4 combinations are allowed of 6" in page.text
    page = draft.save("actions", do="remove /composition/slots/0/parts/1")
    assert "subject: hello and voice: short " not in page.text
    page = draft.save("actions", do="copy /composition/slots/1")
    assert kept(page, {"/composition/slots/2/name": ""}) == {"/composition/slots/2/name": "subject_2"}
    assert "subject_2: hello and voice: short-2" in page.text
    page = draft.save("actions", do="down /composition/slots/0")
    assert kept(page, {"/composition/slots/0/name": "", "/composition/slots/1/name": ""}) == {
        "/composition/slots/0/name": "subject",
        "/composition/slots/1/name": "voice",
    }
    page = draft.save("actions", do="remove /composition/forbidden/0")
    assert "subject: hello and voice: short-2" not in page.text
    page = draft.save("actions", do="remove /composition/slots/1")
    assert len(re.findall(r'name="/composition/forbidden"', page.html)) == 0
    page = draft.save("actions", do="add /composition/slots")
    assert 'id="/composition/slots/2/name-help"' not in page.html  # a new slot has no errors yet
    assert "/composition/slots/2/name" in fields(page)


def test_a_language_is_added_to_every_part_and_removed_with_its_texts(draft: Draft) -> None:
    page = composed(draft).save("actions", MESSAGE, "add /composition/slots:languages")
    texts = {
        f"/composition/slots/{slot}/parts/{part}/texts/1/text": f"{slot}{part}" for slot in (0, 1) for part in (0, 1)
    }
    page = draft.browser.post(
        f"{draft.base}/actions",
        fields(page)
        | texts
        | {"/composition/slots:languages/1/locale": "de", "do": "remove /composition/slots:languages/0"},
    )
    assert kept(page, {"/composition/slots:languages/0/locale": ""}) == {"/composition/slots:languages/0/locale": "de"}
    assert {fields(page)[name.replace("texts/1", "texts/0")] for name in texts} == set(texts.values())
    assert "/composition/slots:languages/1/locale" not in fields(page)


def test_no_error_of_a_message_hides_another(draft: Draft) -> None:
    incomplete = {
        "/composition/slots/1/parts/0/id": "a b",
        "/composition/slots/1/parts/1/texts/0/text": "",
        "/composition/slots/0/parts/0/texts/0/text": "{{ nobody }}",
    }
    page = composed(draft).save("actions", MESSAGE | incomplete)
    assert "Give letters, digits" in beside(page, "/composition/slots/1/parts/0/id")
    assert "Write its text" in beside(page, "/composition/slots/1/parts/1/texts/0/text")
    assert "'nobody' is not a declared variable" in beside(page, "/composition/slots/0/parts/0/texts/0/text")


def test_errors_of_a_message_are_beside_their_fields_and_nothing_typed_is_lost(draft: Draft) -> None:
    wrong = {
        **{
            "/composition/slots/0/name": "Subject!",
            "/composition/slots/0/parts/0/id": "a b",
            "/composition/slots/0/parts/1/features": "{",
            "/composition/slots/0/parts/1/features:kind": "json",
        },
        **{"/composition/slots/1/parts/1/texts/0/text": "", "/composition/slots:languages/0/locale": "EN us"},
    }
    page = composed(draft).save("actions", MESSAGE | wrong)
    assert "fixing in this step" in page.text
    for name, words in (
        ("/composition/slots/0/name", "Give small letters, digits and _ (at most 30)"),
        ("/composition/slots/0/parts/0/id", "Give letters, digits, dots, - or _ (at most 40)"),
        ("/composition/slots/0/parts/1/features", "not JSON"),
        ("/composition/slots/1/parts/1/texts/0/text", "Write its text, or say that it adds nothing."),
        ("/composition/slots:languages/0/locale", "Give a language such as en or de-AT."),
    ):
        assert words in beside(page, name), name
    assert kept(page, wrong) == wrong
    assert "Actions, slot 1, part 1, id : Give letters" in draft.show("review").text


def test_slots_need_names_of_their_own_and_a_text_in_the_body(draft: Draft) -> None:
    without_text = {
        "/composition/slots/1/parts/1/texts/0/nothing": "yes",
        "/composition/slots/0/parts/1/features": '[{"a": 1}]',
        "/composition/slots/0/parts/1/features:kind": "json",
    }
    page = composed(draft).save(
        "actions",
        MESSAGE
        | without_text
        | {"/composition/slots/1/parts/1/texts/0/text": "", "/composition/slots/1/name": "subject"},
    )
    assert "another slot has this name" in beside(page, "/composition/slots/1/name").lower()
    page = draft.save(
        "actions",
        {"/composition/slots/1/name": "say", "/composition/slots/0/parts/0/texts/0/text": f"{NASTY}\n{{{{ nobody }}}}"},
    )
    assert "Loopwise decides whether" in beside(page, "/composition/slots/1/name")
    assert "Line 2: 'nobody' is not a declared variable" in beside(page, "/composition/slots/0/parts/0/texts/0/text")
    assert "<script>alert" not in page.html
    page = draft.save(
        "actions", {"/composition/slots/1/name": "tone", "/composition/slots/0/parts/0/texts/0/text": "x"}
    )
    assert "subject=x|tone=brisk" not in page.text
    assert "the body is empty" in page.text  # it has only the part that adds nothing


def test_errors_of_other_steps_and_of_the_message_are_all_shown(draft: Draft) -> None:
    draft.save("purpose", {"/key": "no key!"})
    composed(draft).save("actions", MESSAGE | {"/composition/slots/0/parts/0/texts/0/text": "{{ nobody }}"})
    limit = {
        "/fatigue/caps/0/limit": "1",
        "/fatigue/caps/0/window_s": "1",
        "/fatigue/caps/0/window_s:unit": "days",
        "/fatigue/caps/0/action": "subject=news|tone=warm",
    }
    draft.save("people", limit)
    review = draft.show("review").text
    assert "slot 1, part 1, text 1" in review
    assert "Purpose, key" in review
    assert "People, limit 1, action" not in review
    draft.save("actions", {"/composition/slots/0/parts/0/texts/0/text": "x"})
    assert (
        "Actions, allow nothing : Let saying nothing be a choice: people who must not get" in draft.show("review").text
    )
    draft.save("actions", {"/composition/allow_nothing": "yes"})
    draft.save("people", {"/fatigue/caps/0/action": "subject=old|tone=warm"})
    assert "People, limit 1, action : No action of this experiment has this id." in draft.show("review").text


def test_more_than_a_thousand_combinations_are_refused_with_their_number(draft: Draft) -> None:
    parts = {
        f"/composition/slots/{slot}/parts/{part}/{name}": value
        for slot in range(3)
        for part in range(11)
        for name, value in (("id", f"p{part}"), ("texts/0/text", "x"), (":row", f"r{slot}-{part}"))
    }
    names = {
        f"/composition/slots/{slot}/{name}": value
        for slot in range(3)
        for name, value in (("name", f"s{slot}"), ("place", "body"))
    }
    page = composed(draft).save("actions", parts | names)
    assert "fixing in this step" in page.text
    assert "There are 1,331 combinations; at most 1,000 can be decided among" in page.text
    assert 'value="p10"' in page.html


def test_other_steps_can_name_a_combination(editor: Browser, client: Client) -> None:
    assert client.post("/v1/experiments", COMPOSED | {"key": "named"}).status == 201
    change = change_of(editor, "named")
    change.save("people", do="add /fatigue/caps")
    for step in ("arms", "people"):
        assert re.search(r'<option value="subject=hello\|tone=warm" *>', change.show(step).html)
        assert re.search(r'<option value="nothing" *>', change.show(step).html)
    change.save("purpose", {"/name": "x" * 300})
    assert re.search(r'<option value="subject=hello\|tone=warm" *>', change.show("arms").html)


def test_other_steps_speak_of_combinations(draft: Draft) -> None:
    draft.save("purpose", {"/key": "words"})
    composed(draft).save("actions", MESSAGE)
    page = draft.save("arms", {"/arms/1/policy/algorithm": "cover", "/arms/0/policy/action": "tour"})
    assert "every combination equally often" in page.text and "over the parts of each slot" in page.text
    assert "cover does not learn composed messages" in beside(page, "/arms/1/policy/algorithm").lower()
    assert "No action of this experiment has this id" in beside(page, "/arms/0/policy/action")
    assert "saying nothing must be a choice" in draft.show("people").text
    assert "Each combination of your message counts as one action" in draft.show("plan").text
    draft.save("actions", {"/composition/slots/0/parts/0/id": "a b"})
    assert 'id="/arms/0/policy/action-help"' in draft.show("arms").html
    assert "No action of this experiment" not in draft.show("arms").text  # unknown until the parts have ids


def test_two_people_who_compose_one_message_lose_nothing(draft: Draft, web: Web, database_url: str) -> None:
    composed(draft).save("actions", MESSAGE)
    other = Draft(signed_in(web, database_url, "editor", "cleo"), f"{draft.base}/")
    mine = draft.fields("actions") | {"/composition/slots/0/parts/0/texts/0/text": "Mine", "do": "save"}
    other.save("actions", {"/composition/slots/0/parts/0/texts/0/text": "Theirs"})
    page = draft.browser.post(f"{draft.base}/actions", mine)
    assert page.status == 409
    assert "cleo saved this draft" in page.text
    assert "Theirs" in page.text
    assert kept(page, {"/composition/slots/0/parts/0/texts/0/text": ""}) == {
        "/composition/slots/0/parts/0/texts/0/text": "Mine"
    }
    draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "save"})
    assert draft.fields("actions")["/composition/slots/0/parts/0/texts/0/text"] == "Mine"
    mine = draft.fields("actions") | {"/composition/slots/0/parts/0/texts/0/text": "Still mine", "do": "save"}
    other.save("actions", do="among list")
    other.save("actions", {"/actions/-/id": "listed"})
    page = draft.browser.post(f"{draft.base}/actions", mine)
    assert page.status == 409
    assert kept(page, {"/composition/slots/0/parts/0/texts/0/text": ""}) == {
        "/composition/slots/0/parts/0/texts/0/text": "Still mine"
    }
    theirs = other.fields("actions") | {"/actions/-/id": "too late", "do": "save"}
    draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "save"})
    page = other.browser.post(f"{draft.base}/actions", theirs)
    assert page.status == 409
    assert kept(page, {"/actions/-/id": ""}) == {"/actions/-/id": "too late"}


def test_changing_between_a_list_and_a_message_keeps_both_in_the_draft(draft: Draft, client: Client) -> None:
    complete(draft, "either")
    draft.save("arms", UNIFORM)
    composed(draft).save("actions", MESSAGE)
    page = draft.save("actions", do="among list")
    assert "Edit video" in page.html
    page = draft.save("actions", do="among composed")
    assert kept(page, {"/composition/slots/0/parts/0/texts/0/text": ""}) == {
        "/composition/slots/0/parts/0/texts/0/text": "Hello {{ name }}"
    }
    draft.save("actions", do="among list")
    assert draft.save("review", do="publish").status == 200
    made = client.get("/v1/experiments/either").body
    assert [action["id"] for action in made["actions"]] == ["video", "list"]
    assert "composition" not in made
    change = change_of(draft.browser, "either")  # it has not started: everything but its key may change
    composed(change).save("actions", MESSAGE, "remove /variables/1")
    change.save("actions", MESSAGE)
    assert change.save("review", do="publish").address == "/admin/experiments/either/"
    assert client.get("/v1/experiments/either").body["composition"]["channel"] == "in_app"


def test_a_learning_arm_that_has_run_fixes_the_kind_of_experiment_and_the_page_says_why(
    editor: Browser, client: Client
) -> None:
    assert client.post("/v1/experiments", COMPOSED | {"key": "ran"}).status == 201
    assert "You may change your mind" in change_of(editor, "ran").show("actions").text
    client.post("/v1/experiments/ran/start")
    client.make("ran-list", arms=bandit())
    for key, words, other in (
        ("ran", "stays with a message composed of parts", "list"),
        ("ran-list", "stays with actions", "composed"),
    ):
        page = change_of(editor, key).show("actions")
        assert f"{words}: the policies of its arms learned are fixed" in page.text
        (button,) = re.findall(rf'<button[^>]*value="among {other}"[^>]*>', page.html)
        assert " disabled" in button
    client.make("ran-alike")
    change = change_of(editor, "ran-alike")  # all its arms choose uniformly, which works for both kinds
    composed(change).save("actions", MESSAGE)
    assert change.save("review", do="publish").address == "/admin/experiments/ran-alike/"


def test_a_running_message_gets_another_part_in_the_wizard(editor: Browser, client: Client) -> None:
    assert client.post("/v1/experiments", COMPOSED | {"key": "more"}).status == 201
    client.post("/v1/experiments/more/start")
    change = change_of(editor, "more")
    assert change.fields("actions")["/composition/slots/0/parts/0/texts/0/text"] == "Hello {{ name }}"
    change.save("actions", do="add /composition/slots/1/parts")
    change.save(
        "actions", {"/composition/slots/1/parts/2/id": "calm", "/composition/slots/1/parts/2/texts/0/text": "Soon."}
    )
    assert "composition/slots/1/parts" in change.show("review").text
    assert change.save("review", do="publish").address == "/admin/experiments/more/"
    made = client.get("/v1/experiments/more").body["composition"]
    assert [part["id"] for part in made["slots"][1]["parts"]] == ["warm", "brisk", "calm"]
    assert made["forbidden"] == COMPOSED["composition"]["forbidden"]


def test_ten_thousand_characters_and_html_are_kept_and_shown_as_text(draft: Draft) -> None:
    long = NASTY + "w" * 9_000
    page = composed(draft).save(
        "actions", MESSAGE | {"/composition/slots/0/parts/0/texts/0/text": long, "/composition/slots/1/name": NASTY}
    )
    assert "Keep it to 5,000 characters" in beside(page, "/composition/slots/0/parts/0/texts/0/text")
    assert kept(page, {"/composition/slots/0/parts/0/texts/0/text": ""}) == {
        "/composition/slots/0/parts/0/texts/0/text": long
    }
    assert "<script>alert" not in page.html


@pytest.mark.parametrize("text", ["-1", "1e999", NASTY, "{{ x", '"', "\0", "\n" * 50, "0.0 0.1", "[]", "null"])
def test_every_posted_text_gets_a_page_that_still_has_it(text: str, draft: Draft) -> None:
    composed(draft)
    for button in (
        "save",
        "preview",
        "pair",
        "add /composition/slots:languages",
        f"remove /composition/forbidden/{text}",
        f"copy {text}",
        f"remove /composition/slots/9/{text}",
        "up /composition/slots/99",
    ):
        values = {name: text for name in draft.fields("actions") if name not in ("version", "/actions:among")}
        page = draft.save("actions", values | {"/variables/0/sample:kind": "number"}, button)
        assert page.status in (200, 422), (button, page.text[:500])
        assert draft.show("review").status == 200
        assert draft.show("people").status == 200
    assert kept(draft.show("actions"), {"/composition/slots/0/name": ""}) == {
        "/composition/slots/0/name": text.replace("\0", "")
    }


def test_a_form_of_a_thousand_messages_in_three_languages_opens(editor: Browser, client: Client) -> None:
    texts = {locale: f"{locale} {{{{ name }}}}" for locale in ("en", "de", "fr")}
    parts = [{"id": f"p{n}", "features": {"n": n}, "texts": texts} for n in range(10)]
    slots = [{"name": f"s{n}", "place": "body", "parts": parts} for n in range(3)]
    pairs = [[{"slot": "s0", "part": f"p{n}"}, {"slot": "s1", "part": f"p{m}"}] for n in range(9) for m in range(9)]
    variables = [{"name": "name", "sample": "Ada", "required": True}]
    whole = definition("large", actions=[], variables=variables, composition={"slots": slots, "forbidden": pairs})
    answer = client.post("/v1/experiments", whole)
    assert answer.status == 201, json.dumps(answer.body)
    change = change_of(editor, "large")
    page = change.save("actions", do="preview")
    assert "190 combinations are allowed of 1,000" in page.text
    assert "Nothing would change" in change.show("review").text
