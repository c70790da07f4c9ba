"""The wizard's forms for messages, people and feedback: typed in words, previewed, and kept by every change."""

import html
import re
from typing import Any

import pytest

from tests.page_client import Browser, Page, signed_in
from tests.service import Client, Web
from tests.wizard.drafting import Draft, complete, fields
from tests.wizard.test_document import COMPOSED, EMPTY, EVERYTHING, MESSAGES, SEVERAL

NASTY = "\u202e<script>alert(1)</script> \"quotes' & \u05d0"
STEPS = ("purpose", "actions", "arms", "reward", "people", "metrics", "plan")
GREETING = {
    "/actions/-/id": "hello",
    "/actions/-/template/channel": "push",
    "/actions/-/template/texts/0/title": 'Hi {{ user_name | default: "there" }}',
    "/actions/-/template/texts/0/body": '{{ lessons }} {{ lessons | plural: one: "lesson", other: "lessons" }} to go',
    "/actions/-/template/texts/0/call_to_action": "Go",
}
VARIABLES = {
    "/variables/0/name": "user_name",
    "/variables/0/sample": "Ada <3",
    "/variables/1/name": "lessons",
    "/variables/1/sample:kind": "number",
    "/variables/1/sample": "1",
    "/variables/1/required": "yes",
}

PEOPLE = {
    "/fatigue/caps/0/limit": "2",
    "/fatigue/caps/0/window_s": "7",
    "/fatigue/caps/0/window_s:unit": "days",
    "/fatigue/caps/1/limit": "1",
    "/fatigue/caps/1/window_s": "24",
    "/fatigue/caps/1/window_s:unit": "hours",
    "/fatigue/caps/1/channel": "push",
    "/fatigue/quiet_hours/start": "22:00",
    "/fatigue/quiet_hours/end": "08:00",
    "/fatigue/quiet_hours/time_zone": "Europe/Vienna",
    "/fatigue/min_distance_s": "90",
    "/fatigue/min_distance_s:unit": "minutes",
    "/consent/message": "if_granted",
    "/profile:kept": "yes",
    "/context_fields:kind": "only",
    "/context_fields:names": "plan, street",
    "/context_fields:hashed": "street",
    "/retention_s": "90",
    "/retention_s:unit": "days",
}


def change_of(browser: Browser, key: str) -> Draft:
    return Draft(browser, browser.post(f"/admin/experiments/{key}/edit").address)


def beside(page: Page, name: str) -> str:
    """The text beside a field."""
    help_text = re.search(rf'<div id="{name}-help">(.*?)</div>', page.html, re.S)
    assert help_text, f"nothing is said beside {name}"
    return html.unescape(help_text[1])


@pytest.mark.parametrize(
    "document", [MESSAGES, EMPTY, COMPOSED, SEVERAL, EVERYTHING], ids=lambda document: document["key"]
)
def test_a_change_that_goes_through_every_step_of_a_running_experiment_loses_nothing(
    document: dict[str, Any], editor: Browser, client: Client
) -> None:
    key = document["key"]
    assert client.post("/v1/experiments", document).status == 201
    assert client.post(f"/v1/experiments/{key}/start").status == 200
    change = change_of(editor, key)
    for step in STEPS:
        assert change.save(step).status == 200, step
    rows = re.findall(r'value="edit ([0-9a-z]+)"', change.show("actions").html)
    for row in rows:  # also after each action was opened and saved
        page = change.save("actions", do=f"edit {row}")
        assert change.browser.post(f"{change.base}/actions", fields(page) | {"do": "save"}).status == 200
    assert "Nothing would change" in change.show("review").text


def test_a_message_in_two_languages_is_previewed_for_the_sample_user(draft: Draft, client: Client) -> None:
    complete(draft, "greeting")
    page = draft.save("actions", do="add /variables")
    page = draft.save("actions", do="add /variables")
    assert 'id="/variables/1/name"' in page.html
    page = draft.save("actions", GREETING | VARIABLES, "preview")
    shown = re.search(r'data-preview="en">.*?</div>', page.html, re.S)
    assert shown
    assert "Hi Ada &lt;3" in shown[0]
    assert "1 lesson to go" in shown[0]
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "add /actions/-/template/texts"})
    german = {
        "/actions/-/template/texts/1/locale": "de-AT",
        "/actions/-/template/texts/1/body": "Noch {{ lessons }}.",
        "do": "preview",
    }
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | german)
    assert "Noch 1." in page.text
    draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "save"})
    assert "push, en, de-AT" in draft.show("actions").text
    assert "says nothing" in draft.show("actions").text
    assert draft.save("review", do="publish").address == "/admin/experiments/greeting/integration"
    made = client.get("/v1/experiments/greeting").body
    assert [action.get("template", {}).get("channel") for action in made["actions"]] == [None, None, "push"]
    assert made["actions"][2]["template"]["texts"]["de-AT"]["body"] == "Noch {{ lessons }}."
    assert made["variables"] == [
        {"name": "user_name", "sample": "Ada <3", "required": False},
        {"name": "lessons", "sample": 1, "required": True},
    ]


def test_errors_of_texts_are_beside_them_with_their_line_and_nothing_typed_is_lost(draft: Draft) -> None:
    wrong = GREETING | {
        "/actions/-/template/texts/0/body": f"{NASTY}\n{{{{ nobody }}}}",
        "/actions/-/template/texts/0/title": "{% include 'x' %}",
    }
    page = draft.save("actions", wrong | VARIABLES, "preview")
    assert "'nobody' is not a declared variable" in beside(page, "/actions/-/template/texts/0/body")
    assert "Line 2" in beside(page, "/actions/-/template/texts/0/body")
    assert "annot be read" in beside(page, "/actions/-/template/texts/0/title")
    assert "The message appears here once it has a text and no errors." in page.text
    assert "<script>alert" not in page.html
    reopened = fields(page)
    assert reopened["/actions/-/template/texts/0/body"] == wrong["/actions/-/template/texts/0/body"]
    assert reopened["/variables/1/sample"] == "1"
    assert "action 1, text 1, body" in draft.show("review").text


def test_a_language_and_a_variable_are_removed_without_a_script(draft: Draft) -> None:
    page = draft.save("actions", GREETING | VARIABLES, "add /actions/-/template/texts")
    page = draft.browser.post(
        f"{draft.base}/actions",
        fields(page) | {"/actions/-/template/texts/1/locale": "fr", "do": "remove /actions/-/template/texts/0"},
    )
    assert fields(page)["/actions/-/template/texts/0/locale"] == ["fr"]
    assert "/actions/-/template/texts/1/locale" not in fields(page)
    page = draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "remove /variables/0"})
    assert fields(page)["/variables/0/name"] == ["lessons"]
    assert "/variables/1/name" not in fields(page)


def test_a_copy_keeps_the_message_and_so_does_a_table_that_names_the_action(draft: Draft) -> None:
    draft.save("actions", GREETING | VARIABLES)
    (row,) = re.findall(r'value="edit ([0-9a-f]+)"', draft.show("actions").html)
    page = draft.save("actions", do=f"duplicate {row}")
    assert fields(page)["/actions/-/id"] == ["hello-2"]
    assert fields(page)["/actions/-/template/texts/0/title"] == GREETING["/actions/-/template/texts/0/title"]
    for how in ("add", "replace"):
        given = {
            "version": draft.fields("actions")["version"],
            "text": "id,text\nhello,new\n",
            "do": "take",
            "how": how,
        }
        page = draft.browser.post(f"{draft.base}/actions/import", given)
        assert "push, en" in page.text
        assert fields(page)["/variables/0/name"] == ["user_name"]


def test_two_people_who_write_variables_and_messages_lose_neither(draft: Draft, web: Web, database_url: str) -> None:
    other = Draft(signed_in(web, database_url, "editor", "dora"), f"{draft.base}/")
    mine = draft.fields("actions") | GREETING | VARIABLES | {"do": "save"}
    other.save("actions", {"/actions/-/id": "theirs"})
    page = draft.browser.post(f"{draft.base}/actions", mine)
    assert page.status == 409
    assert fields(page)["/variables/0/sample"] == "Ada <3"
    draft.browser.post(f"{draft.base}/actions", fields(page) | {"do": "save"})
    page = draft.show("actions")
    assert re.findall(r'aria-label="Edit ([^"]+)"', page.html) == ["theirs", "hello"]
    assert "push, en" in page.text


def test_limits_consent_and_privacy_are_typed_in_words_and_shown_in_the_review(draft: Draft, client: Client) -> None:
    complete(draft, "gentle")
    draft.save("actions", GREETING | VARIABLES)
    draft.save("people", do="add /fatigue/caps")
    page = draft.save("people", do="add /fatigue/caps")
    assert "/fatigue/caps/1/limit-help" not in page.html  # a new row has no errors yet
    assert draft.save("people", PEOPLE, "next").address.endswith("/metrics")
    review = draft.show("review").text
    for words in (
        "Nobody gets more than 2 messages in 7 days, nor more than 1 push message in 1 day",
        "It is quiet from 22:00 to 08:00",
        "Europe/Vienna",
        "at least 90 minutes apart",
        "only those who said yes get messages",
        "Of the context only plan and street (scrambled) are used and stored",
        "After 90 days",
        "what was chosen for the user before",
    ):
        assert words in review, words
    assert draft.save("review", do="publish").status == 200
    made = client.get("/v1/experiments/gentle").body
    assert [cap["window_s"] for cap in made["fatigue"]["caps"]] == [604_800, 86_400]
    assert made["fatigue"]["min_distance_s"] == 5400
    assert made["fatigue"]["quiet_hours"]["time_zone"] == "Europe/Vienna"
    assert made["consent"]["message"] == "if_granted"
    assert made["context_fields"] == [{"name": "plan", "hashed": False}, {"name": "street", "hashed": True}]
    assert made["retention_s"] == 90 * 86_400
    assert made["profile"]["counts"] is True


def test_limits_without_an_action_that_says_nothing_are_explained(draft: Draft) -> None:
    draft.save("purpose", {"/key": "loud"})
    draft.save("actions", GREETING | VARIABLES)
    draft.save(
        "people",
        {"/fatigue/caps/0/limit": "1", "/fatigue/caps/0/window_s": "1", "/fatigue/caps/0/window_s:unit": "days"},
    )
    assert "Add an action without a message: it says nothing" in draft.show("actions").text


def test_errors_about_people_are_beside_their_fields_and_nothing_typed_is_lost(draft: Draft) -> None:
    typed = {
        **{
            "/fatigue/caps/0/limit": "two",
            "/fatigue/caps/0/window_s": "1000",
            "/fatigue/caps/0/window_s:unit": "days",
            "/fatigue/caps/0/action": NASTY,
        },
        **{
            "/fatigue/quiet_hours/start": "22:00",
            "/fatigue/quiet_hours/time_zone": "Vienna",
            "/context_fields:names": NASTY,
            "/retention_s": "1",
            "/profile/half_life_s": "-",
        },
        "/retention_s:unit": "hours",
    }
    page = draft.save("people", typed, "next")
    assert "fixing in this step" in page.text
    for name, words in (
        ("/fatigue/caps/0/limit", "Write a whole number"),
        ("/fatigue/caps/0/window_s", "at most 90 days"),
        ("/fatigue/quiet_hours/end", "Give a time of day"),
        ("/fatigue/quiet_hours/time_zone", "as in Europe/Vienna"),
        ("/context_fields:kind", "Choose that only these"),
        ("/retention_s", "at least 1 day"),
    ):
        assert words in beside(page, name), name
    sent = fields(page)
    assert {name: sent[name][0] if isinstance(sent[name], list) else sent[name] for name in typed} == typed
    review = draft.show("review").text
    assert "People, limit 1, window" in review


def test_rewards_of_answers_may_change_during_a_run_and_the_review_explains_the_consequences(
    editor: Browser, client: Client
) -> None:
    client.make("asked")
    change = change_of(editor, "asked")
    page = change.save("reward", do="add /feedback/reasons")
    worth = {
        "/feedback/thumbs/up": "1",
        "/feedback/thumbs/down": "0",
        "/feedback/reasons/0/name": "too long",
        "/feedback/reasons/0/value": "0.2",
        "/feedback/mute_s": "3",
    }
    worth |= {f"/feedback/stars/{count - 1}": str((count - 1) / 4) for count in range(1, 6)}
    page = change.save("reward", worth | {"/feedback/confidence": "50"}, "next")
    assert page.address.endswith("/people"), page.text
    review = change.show("review").text
    assert "worked out again" in review
    assert "the old models go on deciding" in review
    assert "A thumb up is worth 1" in review
    assert change.save("review", do="publish").address == "/admin/experiments/asked/"
    made = client.get("/v1/experiments/asked").body["feedback"]
    assert (made["thumbs"], made["stars"]) == ({"up": 1.0, "down": 0.0}, [0.0, 0.25, 0.5, 0.75, 1.0])
    assert (made["reasons"], made["confidence"], made["mute_s"]) == ({"too long": 0.2}, 0.5, 259_200)
    reopened = change_of(editor, "asked")
    assert "worked out again" not in reopened.show("review").text
    for name in ("/feedback/thumbs/up", "/feedback/thumbs/down", "/feedback/reasons/0/name"):
        assert reopened.fields("reward")[name] != [""]
    reopened.save(
        "reward",
        {f"/feedback/stars/{count - 1}": "" for count in range(1, 6)}
        | {"/feedback/thumbs/up": "", "/feedback/thumbs/down": ""},
    )
    reopened.save("reward", {"/feedback/confidence": "", "/feedback/mute_s": "30"}, "remove /feedback/reasons/0")
    assert reopened.save("review", do="publish").address == "/admin/experiments/asked/"
    assert "feedback" not in client.get("/v1/experiments/asked").body


@pytest.mark.parametrize("text", ["-1", "1e999", "9" * 400, NASTY, "{{ x", '"', ",,", "\0", "\n" * 50])
def test_every_posted_text_gets_a_page_that_still_has_it(text: str, draft: Draft) -> None:
    draft.save("actions", do="add /variables")
    draft.save("reward", do="add /feedback/reasons")
    draft.save("people", do="add /fatigue/caps")
    for step in ("actions", "reward", "people"):
        kept = ("version", "/actions/-/:row", "/actions:among")
        values = {name: text for name in draft.fields(step) if name not in kept}
        page = draft.save(
            step,
            values | {"/variables/0/sample:kind": "number", "/context_fields:kind": "only", "/profile:kept": "yes"},
        )
        assert page.status in (200, 422), (step, page.text[:500])
        assert draft.show(step).status == 200
        assert draft.show("review").status == 200
    typed = draft.fields("people")["/fatigue/quiet_hours/time_zone"]
    assert typed == text.replace("\0", "")
