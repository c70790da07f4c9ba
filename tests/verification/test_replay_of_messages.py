"""A replay shows the message as text."""

import re

from tests.page_client import Browser
from tests.service import Client


def test_a_replay_shows_the_message_as_the_person_got_it(client: Client, viewer: Browser) -> None:
    text = {"title": "Hi {{ user_name }}", "body": "Go on, {{ user_name }}.", "call_to_action": "Start"}
    actions = [{"id": "a", "template": {"texts": {"en": text}}}]
    client.make("said", actions=actions, variables=[{"name": "user_name", "sample": "Ada", "required": True}])
    body = {"experiment": "said", "unit_id": "u", "decision_id": "s", "variables": {"user_name": "<b>Ada</b>"}}
    assert client.post("/v1/messages/decide", body).status == 201
    page = viewer.get("/admin/experiments/said/replay?id=s")
    assert "What was said" in page.text and "Go on, <b>Ada</b>." in page.text
    assert "<b>Ada</b>" not in page.html
    assert "Recomputing gives the same" in page.text


def rename(editor: Browser, key: str) -> None:
    """Give an experiment another name in the wizard, and change nothing else."""
    draft = re.match(r"/admin/drafts/\d+", editor.post(f"/admin/experiments/{key}/edit").address)
    assert draft
    purpose, review = f"{draft[0]}/purpose", f"{draft[0]}/review"
    typed = {"/name": "Another name", "/key": key, "/hypothesis": "", "do": "next"}
    editor.post(purpose, {"version": editor.version(purpose)} | typed)
    editor.post(f"{review}/publish", {"version": editor.version(review)})


def test_changing_the_name_in_the_wizard_keeps_the_templates(client: Client, editor: Browser) -> None:
    actions = [{"id": "a", "template": {"texts": {"en": {"body": "Go on."}}}}, {"id": "b"}]
    client.make("kept", actions=actions, start=False)
    rename(editor, "kept")
    stored = client.get("/v1/experiments/kept").body
    assert stored["name"] == "Another name"
    assert stored["actions"][0]["template"]["texts"]["en"]["body"] == "Go on."


COMPOSED = {
    "slots": [
        {
            "name": "subject",
            "place": "title",
            "parts": [{"id": part, "texts": {"en": part}} for part in ("news", "hello")],
        },
        {"name": "tone", "place": "body", "parts": [{"id": part, "texts": {"en": part}} for part in ("warm", "brisk")]},
    ],
    "forbidden": [[{"slot": "subject", "part": "news"}, {"slot": "tone", "part": "warm"}]],
    "allow_nothing": True,
}


def test_a_replay_shows_a_composed_message_slot_by_slot(client: Client, viewer: Browser) -> None:
    client.make("slots-shown", actions=[], composition=COMPOSED)
    body = {"experiment": "slots-shown", "unit_id": "u", "decision_id": "c", "excluded_actions": ["nothing"]}
    answer = client.post("/v1/messages/decide", body).body
    page = viewer.get("/admin/experiments/slots-shown/replay?id=c")
    assert "Slot by slot" in page.text and "configuration's 4" in page.text
    for slot in answer["slots"]:
        assert f"{slot['slot']} {slot['part']} " in page.text
    assert "Recomputing gives the same" in page.text


def test_changing_the_name_in_the_wizard_keeps_the_composition(client: Client, editor: Browser) -> None:
    learned = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit", "algorithm": "squarecb"}}]
    made = client.make("kept-slots", actions=[], composition=COMPOSED, arms=learned)
    rename(editor, "kept-slots")
    stored = client.get("/v1/experiments/kept-slots").body
    assert stored["name"] == "Another name"
    assert stored["composition"] == made["composition"] and stored["arms"] == made["arms"]
