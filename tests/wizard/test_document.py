"""Typed texts and configurations: a stored one comes back the very same; a wrong text is told beside its field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.design.definition_rules import parse_config
from app.registry.store.experiments import StoredExperiment
from app.wizard.check import check, place_of
from app.wizard.document import document_of, typed_of
from app.wizard.form import START, of_step
from app.wizard.people import listed_names, names_as_text
from tests.service import bandit, definition

EVERYTHING = definition(
    "all-of-it",
    name="Names \u202e<b>",
    hypothesis="two\nlines",
    actions=[
        {"id": "plain", "payload": {"title": "T", "text": "x\ny"}},
        {"id": "only-text", "payload": {"text": "t"}},
        {"id": "other order", "payload": {"text": "t", "title": "T"}},
        {"id": "empty text", "payload": {"title": "", "text": "t"}},
        {
            "id": "json",
            "payload": [1, 2.5, None, {"ä": "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")}],
        },
        {"id": "null", "payload": None, "features": {"a": 1, "b": [True, "x"]}},
        {"id": "list", "payload": "", "features": [{"a": 0.1}]},
        {"id": "no features", "features": []},
    ],
    arms=[
        {"key": "control", "share": 1 / 3, "policy": {"type": "fixed", "action": "plain"}},
        {
            "key": "learned",
            "share": 1 / 3 - 0.1,
            "policy": bandit("squarecb", 0.07, gamma_scale=3, bits=12)[0]["policy"],
        },
        {"key": "uniform", "share": 1 / 3, "policy": {"type": "uniform"}},
        {"key": "holdout", "share": 0.1, "policy": {"type": "fixed", "action": "plain"}},
    ],
    control_arm="control",
    reward={"window_s": 5400.0, "default": 0.1, "aggregation": "mean", "min": -1e-7, "max": 1e9},
    metrics=[
        {
            "key": "m1",
            "source": {"type": "value", "metric": "money", "per": "unit"},
            "winsorize": 0.999,
            "window_s": 7.5,
        },
        {"key": "m2", "source": {"type": "ratio", "numerator": "a", "denominator": "b"}, "direction": "decrease"},
        {"key": "m3", "source": {"type": "retention", "days": 3.5}, "role": "guardrail", "min_effect": 0.07},
        {"key": "m4", "source": {"type": "sessions", "gap_s": 100.0}},
        {"key": "m5", "name": "Mine", "source": {"type": "reward"}, "role": "primary"},
        {"key": "m6", "source": {"type": "count", "metric": "clicks"}},
    ],
    segments=["device", "land"],
    decision_rule={"alpha": 0.1, "min_units": 7, "min_days": 0.5, "max_days": 28.0},
)

TEXTS = {
    "en": {
        "title": 'Hi {{ user_name | default: "there" }}',
        "body": "{{ lessons }} to go.\nNow!",
        "call_to_action": "Go",
    },
    "de-AT": {"title": "", "body": "Noch {{ lessons }}. \u202e<b>", "call_to_action": ""},
}
MESSAGES = definition(
    "messages",
    actions=[
        {"id": "say", "payload": {"a": 1}, "template": {"channel": "push", "asks": "stars", "texts": TEXTS}},
        {"id": "silent"},
    ],
    variables=[
        {"name": "user_name", "sample": " Ada\n"},
        {"name": "lessons", "sample": 3, "required": True},
        {"name": "share", "sample": 3.0},
        {"name": "tiny", "sample": 1e-300},
        {"name": "large", "sample": -(2**63)},
        {"name": "pays", "sample": False},
    ],
    fatigue={
        "caps": [
            {"limit": 2, "window_s": 604800.0},
            {"limit": 1, "window_s": 90.5, "channel": "push", "action": "say", "across": "experiment"},
        ],
        "quiet_hours": {"start": "22:00", "end": "08:00", "time_zone": "Europe/Vienna"},
        "min_distance_s": 5400.0,
    },
    consent={"learn": "if_granted", "message": "if_granted"},
    profile={"recency": False, "tags": True, "half_life_s": 100.0, "lookback": 7},
    context_fields=[
        {"name": "street", "hashed": True},
        {"name": "plan"},
        {"name": ' a, "b"\nc', "hashed": True},
        {"name": "\u202e<b>"},
    ],
    retention_s=604_801.0,
    feedback={
        "thumbs": {"up": 1.0, "down": 0.0},
        "stars": [0.0, 0.1, 0.2, 0.7, 1.0],
        "score": {"low": 0.0, "high": 0.9},
        "reasons": {" too=long ": 0.25, "a/b": 0.0},
        "dismissed": 0.0,
        "not_interested": 0.1,
        "confidence": 0.33,
        "mute_s": 0.0,
        "limit": 3,
        "limit_window_s": 77.0,
    },
)
EMPTY = definition(
    "empty", fatigue={}, consent={}, profile={}, context_fields=[], feedback={}, actions=[{"id": "a"}, {"id": "b"}]
)
PARTLY = definition("partly", feedback={"limit": 5}, fatigue={"min_distance_s": 1.0}, consent={"learn": "if_granted"})
NO_REASON = definition("no-reason", feedback={"reasons": {}}, profile={"actions": False})
COMPOSED = definition(
    "composed",
    actions=[],
    arms=bandit("squarecb"),
    variables=[{"name": "name", "sample": "Ada", "required": True}],
    composition={
        "channel": "email",
        "allow_nothing": True,
        "slots": [
            {
                "name": "subject",
                "place": "title",
                "parts": [
                    {"id": "hello", "texts": {"en": "Hello {{ name }}"}},
                    {"id": "news", "features": {"urgent": True}, "texts": {"en": "<b>News</b>"}},
                ],
            },
            {
                "name": "tone",
                "place": "body",
                "parts": [{"id": "warm", "texts": {"en": "Lovely."}}, {"id": "brisk", "texts": {"en": "Go!"}}],
            },
        ],
        "forbidden": [[{"slot": "subject", "part": "hello"}, {"slot": "tone", "part": "brisk"}]],
    },
    fatigue={"caps": [{"limit": 1, "window_s": 60.0, "action": "subject=hello|tone=warm"}]},
)
SEVERAL = definition(
    "several",
    actions=[],
    variables=[{"name": "name", "sample": "Ada"}],
    composition={
        "slots": [
            {
                "name": "greeting",
                "place": "body",
                "parts": [
                    {"id": "none", "features": [], "texts": {"de-AT": "", "en": ""}},
                    {"id": "1.x", "features": [{"a": 0.1}, {"b": [True, "x"]}], "texts": {"en": " Hi\n\n", "pt": "Oi"}},
                ],
            },
            {
                "name": "text",
                "place": "body",
                "parts": [
                    {"id": "a", "texts": {"fr-CA": "\u202e<b>", "en": "{{ name | default: 'du' }}", "de-AT": "\"'"}},
                    {"id": "b", "features": {"n": {"m": 1}}, "texts": {"en": "\n x", "pt": "x" * 3000}},
                    {"id": "c", "texts": {"en": "c"}},
                ],
            },
            {"name": "button", "place": "call_to_action", "parts": [{"id": "a", "texts": {"en": "Go", "pt": "Va"}}]},
        ],
        "forbidden": [
            [{"slot": "text", "part": "b"}, {"slot": "greeting", "part": "none"}],
            [{"slot": "greeting", "part": "1.x"}, {"slot": "text", "part": "c"}],
            [{"slot": "greeting", "part": "none"}, {"slot": "text", "part": "b"}],
        ],
    },
)


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    return parse_config(document).model_dump(mode="json")


@pytest.mark.parametrize(
    "document",
    [
        *(EVERYTHING, MESSAGES, EMPTY, PARTLY, NO_REASON, COMPOSED, SEVERAL),
        *(definition("small"), definition("learns", arms=bandit(), actions=[])),
    ],
)
def test_a_configuration_survives_the_form_unchanged(document: dict[str, Any]) -> None:
    before = _stored(document)
    again, problems = document_of(typed_of(before))
    assert not any(problems.values())
    after = _stored(again)
    for arm, known in zip(after["arms"], before["arms"], strict=True):
        if arm["policy"]["type"] == "bandit":  # written out, and the same (see services.experiments.changed)
            arm["policy"] = known["policy"]
    assert after == before


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), min_size=1), unique=True))
def test_names_survive_the_form_whatever_is_in_them(names: list[str]) -> None:
    assert listed_names(names_as_text(names)) == names


def test_names_are_typed_with_commas_or_lines_between_them() -> None:
    assert listed_names(' plan,device,\n,"a, ""b""" , it\'s 5" \n') == ["plan", "device", 'a, "b"', "it's 5\""]


@given(st.floats(0, 1), st.floats(1, 1e6), st.floats(-1e6, 1e6))
def test_numbers_survive_the_form_to_the_last_bit(share: float, window: float, low: float) -> None:
    arms = [
        {"key": "a", "share": share, "policy": {"type": "uniform"}},
        {"key": "b", "share": 1 - share, "policy": {"type": "uniform"}},
    ]
    reward = {"window_s": window, "min": low, "max": low + 1e7, "default": low}
    before = _stored(definition("numbers", arms=arms, reward=reward))
    assert _stored(document_of(typed_of(before))[0]) == before


def test_one_mistake_hides_no_other() -> None:
    typed: dict[str, Any] = {
        "purpose": {"key": "with space"},
        "actions": {"rows": [{"id": "a", "kind": "json", "payload": "{"}]},
        "arms": {
            "control": "0",
            "rows": [
                {"key": "c", "kind": "fixed", "action": "", "share": "20"},
                {"key": "c", "kind": "bandit", "algorithm": "squarecb", "floor": "0", "share": "70", "bits": "99"},
            ],
        },
        "reward": {"window": "0", "unit": "hours", "min": "3", "max": "1", "default": "x", "aggregation": "sum"},
        "metrics": {"rows": [{"key": "m", "type": "value", "role": "primary", "direction": "increase"}], "alpha": "60"},
    }
    found = check(typed)
    assert found.config is None
    assert {(step, field) for step, fields in found.problems.items() for field in fields} >= {
        ("purpose", "key"),
        ("actions", "rows-0-payload"),
        ("arms", "rows-0-action"),
        ("arms", "rows-1-key"),
        ("arms", "rows-1-floor"),
        ("arms", "rows-1-bits"),
        ("arms", "rows"),
        ("reward", "default"),
        ("reward", "window"),
        ("metrics", "rows-0-metric"),
        ("metrics", "alpha"),
    }
    assert found.of("arms")["rows"] == "The shares sum to 90%; make them sum to 100%."
    assert found.of("arms")["rows-1-floor"] == "Give a number from 0.1% to 100%."
    assert found.of("metrics")["alpha"] == "Give less than 50%."


def test_mistakes_in_messages_and_about_people_stand_beside_their_fields() -> None:
    text = {"locale": "en", "title": "", "body": "", "call_to_action": ""}
    texts = [text | {"body": "Hi {{ who }}"}, text | {"locale": "EN us", "body": "x"}, text | {"body": "again"}]
    typed: dict[str, Any] = {
        "purpose": {"key": "k"},
        "actions": {
            "rows": [
                {"id": "wrong", "template": json.dumps({"channel": "push", "texts": texts})},
                {"id": "empty", "template": json.dumps({"channel": "sms", "texts": [text]})},
                {"id": "where", "template": json.dumps({"channel": "", "texts": [text | {"title": "T"}]})},
                {"id": "unknown", "template": json.dumps({"channel": "push", "texts": [text | {"body": "{{ who }}"}]})},
                {"id": "long", "template": json.dumps({"channel": "sms", "texts": [text | {"body": "x" * 500}]})},
            ],
            "variables": [{"name": "n", "kind": "number", "sample": "many"}, {"name": "b", "kind": "yes_no"}],
        },
        "reward": START["reward"]
        | {"thumbs_up": "2", "thumbs_down": "", "stars_1": "1", "confidence": "101", "limit": "1.5", "mute": "366"}
        | {"rows": [{"name": "a/b", "value": "9"}, {"name": "", "value": "1"}, {"name": "a/b", "value": "x"}]},
        "people": START["people"]
        | {"quiet_start": "25:00", "quiet_zone": "Wien", "distance": "x", "context": "all", "context_names": "plan"}
        | {"profile": "yes", "half_life": "0", "lookback": "501", "retention": "0.5"}
        | {"rows": [{"limit": "0", "window": "91", "unit": "days", "action": "nowhere"}, {}]},
    }
    found = check(typed)
    for step, field, words in (
        ("actions", "rows-0-texts-1-locale", "Give a language such as en or de-AT."),
        ("actions", "rows-0-texts-2-locale", "Another text has this language; give each its own."),
        ("actions", "rows-1-texts-0-body", "Fill this in."),
        ("actions", "rows-2-channel", "Choose where the message is shown, or empty its texts."),
        ("actions", "rows-3-texts-0-body", "Line 1: 'who' is not a declared variable; declared are n, b."),
        ("actions", "rows-4-texts-0-body", "With sample values: the body has 500 characters, sms takes 480."),
        ("actions", "variables-0-sample", "Write a number, such as 0.5."),
        ("actions", "variables-1-sample", "Write yes or no."),
        ("reward", "thumbs_up", "Give a value from 0 to 1, the bounds of the reward."),
        ("reward", "thumbs_down", "Give both values, or none."),
        ("reward", "stars_2", "Give all five values, or none."),
        ("reward", "confidence", "Give at most 100%."),
        ("reward", "limit", "Write a whole number, such as 5."),
        ("reward", "mute", "Give at most 365 days."),
        ("reward", "rows-0-value", "Give a value from 0 to 1, the bounds of the reward."),
        ("reward", "rows-1-name", "Give the reason a name, as your app sends it."),
        ("reward", "rows-2-name", "Another reason has this name; give each its own."),
        ("people", "quiet_start", "Give a time of day, such as 22:00."),
        ("people", "quiet_end", "Give a time of day, such as 22:00."),
        ("people", "quiet_zone", "Give a time zone's name as in Europe/Vienna."),
        ("people", "distance", "Write a number, such as 0.5."),
        ("people", "context", "Choose that only these fields are used, or empty the two lists of names."),
        ("people", "half_life", "Give at least 1 minute."),
        ("people", "lookback", "Give at most 500."),
        ("people", "retention", "Give at least 1 day."),
        ("people", "rows-0-limit", "Give at least 1."),
        ("people", "rows-1-limit", "Say how many messages at most."),
        ("people", "rows-1-window", "Say within which time."),
    ):
        assert found.of(step).get(field) == words, (field, found.of(step))
    assert "at most 90 days" in found.of("people")["rows-0-window"]


def test_a_variable_with_an_odd_name_hides_no_text_and_no_text_is_blamed_for_it() -> None:
    template = json.dumps({"channel": "push", "texts": [{"locale": "en", "body": "{{ name }}"}]})
    actions = {"rows": [{"id": "a", "template": template}], "variables": [{"name": "Name"}]}
    assert list(check({"actions": actions}).of("actions")) == ["variables-0-name"]


@pytest.mark.parametrize("document", [MESSAGES, EMPTY, COMPOSED, SEVERAL], ids=lambda document: document["key"])
def test_a_draft_that_says_nothing_of_a_part_leaves_it_as_it_is(document: dict[str, Any]) -> None:
    stored = _stored(document)
    before = StoredExperiment(**dict.fromkeys(StoredExperiment._fields))._replace(key=document["key"], config=stored)
    typed = typed_of(stored)
    older_actions = {"rows": typed["actions"]["rows"]}
    for older in (
        typed,
        {name: part for name, part in typed.items() if name != "people"},
        typed | {"actions": older_actions},
    ):
        found = check(older, before)
        assert found.problems == {}
        assert found.config is not None
        assert found.config.model_dump(mode="json") == stored


@pytest.mark.parametrize("text", ["NaN", "inf", "1e999", "one", "1,5", "0x10"])
def test_what_is_no_number_is_told(text: str) -> None:
    assert check({"reward": {**of_step({}, "reward"), "max": text}}).of("reward")["max"].startswith("Write a number")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "stands twice"),
        ("[" * 5000, "nests"),
        ("{" + '"a": {' * 30, "not JSON"),
        ('{"a": 1e999}', "too large"),
        ('{"a": NaN}', "none (NaN)"),
        ('{"a": 99999999999999999999}', "too large"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_json_that_could_not_be_stored_is_told(text: str, words: str) -> None:
    row = {"id": "a", "kind": "json", "payload": text}
    assert words in check({"actions": {"rows": [row]}}).of("actions")["rows-0-payload"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/arms/0/policy/exploration_floor", ("arms", "rows-0-floor")),
        ("/arms/1/policy/parameters/bits", ("arms", "rows-1-bits")),
        ("/arms/1/policy/type", ("arms", "rows-1-kind")),
        ("/arms", ("arms", "rows")),
        ("/actions/3/features/a/b", ("actions", "rows-3-features")),
        ("/metrics/0/source/metric", ("metrics", "rows-0-metric")),
        ("/metrics/0/source", ("metrics", "rows-0-type")),
        ("/decision_rule/alpha", ("metrics", "alpha")),
        ("/reward/window_s", ("reward", "window")),
        ("/actions/2/template/texts/en/us/[key]", ("actions", "rows-2-texts-en/us-locale")),
        ("/actions/2/template/channel", ("actions", "rows-2-channel")),
        ("/variables/1/sample", ("actions", "variables-1-sample")),
        ("/composition/slots/0/name", ("actions", "slots-0-name")),
        ("/composition/slots/1/parts/0/texts/en", ("actions", "slots-1-parts-0-texts-en")),
        ("/composition/slots/1/parts/0/texts/e/n/[key]", ("actions", "languages-e/n")),
        ("/composition/slots/1/parts/2/features/a/b", ("actions", "slots-1-parts-2-features")),
        ("/composition/slots/1/parts/2", ("actions", "slots-1-parts-2-id")),
        ("/composition/slots/1/parts", ("actions", "slots-1-parts")),
        ("/composition/slots", ("actions", "slots")),
        ("/composition/forbidden/3/1/part", ("actions", "pairs-3")),
        ("/composition/allow_nothing", ("actions", "nothing")),
        ("/composition", ("actions", "among")),
        ("/fatigue/caps/3/window_s", ("people", "rows-3-window")),
        ("/fatigue/quiet_hours/time_zone", ("people", "quiet_zone")),
        ("/fatigue/min_distance_s", ("people", "distance")),
        ("/consent/learn", ("people", "consent_learn")),
        ("/profile/half_life_s", ("people", "half_life")),
        ("/context_fields/3/name", ("people", "context_names")),
        ("/context_fields", ("people", "context_names")),
        ("/retention_s", ("people", "retention")),
        ("/feedback/thumbs/up", ("reward", "thumbs_up")),
        ("/feedback/stars/4", ("reward", "stars_5")),
        ("/feedback/mute_s", ("reward", "mute")),
        ("/feedback/reasons/a/b", ("reward", "rows-a/b-value")),
        ("", ("review", "draft")),
    ],
)
def test_a_pointer_leads_to_the_field_of_the_form(path: str, place: tuple[str, str]) -> None:
    assert place_of(path) == place
