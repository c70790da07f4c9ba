"""Typed texts and configurations: stored configurations come back unchanged, and wrong texts have an error beside their field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.design.definition_rules import parse_config
from app.foundation.errors import FieldError
from app.foundation.pages.fields.kinds import Findings, Typed, listed_names, names_as_text
from app.foundation.pages.fields.trees import texts_of
from app.registry.store.experiments import StoredExperiment
from app.wizard.check import check, where
from app.wizard.document import document_of
from app.wizard.form import WHOLE, step_of
from app.wizard.typed import typed_of
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
        {
            "key": "m3",
            "source": {"type": "retention", "days": 3.5, "until_days": 10.0},
            "role": "guardrail",
            "min_effect": 0.07,
            "covariate": {"type": "history", "days": 14.0},
        },
        {"key": "m4", "source": {"type": "sessions", "gap_s": 100.0}},
        {
            "key": "bought",
            "source": {"type": "event", "event": "purchase", "value": "sum", "field": "cart.total", "late_s": 7200.0},
            "window_s": 604_800.0,
        },
        {"key": "m5", "name": "Mine", "source": {"type": "reward", "per": "unit"}, "role": "primary"},
        {
            "key": "m6",
            "source": {"type": "count", "metric": "clicks"},
            "covariate": {"type": "context", "field": "spent"},
        },
        {"key": "m7", "source": {"type": "quantile", "metric": "seconds", "quantile": 0.9}, "direction": "decrease"},
    ],
    segments=["device", "land"],
    context_schema=[
        {"name": "device", "type": "text", "example": "007"},
        {"name": "land", "type": "text", "example": None},
        {"name": "spent", "type": "number", "example": 0.5},
        {"name": "new", "type": "yes_no", "example": False},
        {"name": "cart", "type": "other", "example": {"total": [1, "x"]}},
    ],
    decision_rule={"alpha": 0.1, "min_units": 7, "min_days": 0.5, "max_days": 28.0, "planned_units": 900},
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
    repeats={"in_a_row": 2, "by": "kind", "caps": [{"limit": 3, "window_s": 86400.0}]},
    consent={"learn": "if_granted", "message": "if_granted"},
    profile={"recency": False, "tags": True, "half_life_s": 100.0, "lookback": 7},
    context_fields=[
        {"name": "street", "hashed": True},
        {"name": "plan"},
        {"name": ' a, "b"\nc', "hashed": True},
        {"name": "\u202e<b>"},
    ],
    retention_s=604_801.0,
    reward_formula={"text": 'reward + 0.2 * "time-on-page"', "relearn": False},
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
PARTLY = definition(
    "partly",
    repeats={"caps": [{"by": "size", "limit": 1, "window_s": 60.0}]},
    feedback={"limit": 5},
    fatigue={"min_distance_s": 1.0},
    consent={"learn": "if_granted"},
)
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


def bounded() -> list[dict[str, Any]]:
    """Learning arms with bounds on exposure, of both kinds, and one with diverse lists."""
    policies = (
        {"exposure": {"by": "supplier", "least": 0.07, "most": 0.6}},
        {"exposure": {"by": "action", "parity": 0.125, "window": 2000}},
        {"exposure": {"by": "supplier", "least": 0.1, "window_s": 86_400.0}},
        {"diversity": 0.35, "exposure": {"by": "a topic", "least": 1 / 3}},
    )
    return [
        {"key": f"learned-{number}", "share": 1 / 4, "policy": bandit()[0]["policy"] | policy}
        for number, policy in enumerate(policies)
    ]


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    return parse_config(document).model_dump(mode="json")


@pytest.mark.parametrize(
    "document",
    [
        *(EVERYTHING, MESSAGES, EMPTY, PARTLY, NO_REASON, COMPOSED, SEVERAL),
        definition("bounded", arms=bounded()),
        *(definition("small"), definition("learns", arms=bandit(), actions=[])),
    ],
)
def test_a_configuration_survives_the_form_unchanged(document: dict[str, Any]) -> None:
    before = _stored(document)
    findings = Findings()
    reopened = document_of(typed_of(before), findings, before)
    assert not findings.problems
    after = _stored(reopened)
    for arm, known in zip(after["arms"], before["arms"], strict=True):
        if arm["policy"]["type"] == "bandit":  # written out, with the same meaning
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
    assert _stored(document_of(typed_of(before), Findings())) == before


def draft(**parts: Any) -> Typed:
    """A draft with these parts; all other fields have their defaults."""
    return WHOLE.complete(parts)


def test_no_error_hides_another() -> None:
    typed = draft(
        key="with space",
        actions=[{"id": "a", "payload:kind": "json", "payload": "{"}],
        control_arm="0",
        arms=[
            {"key": "c", "share": "20", "policy": {"type": "fixed"}},
            {
                "key": "c",
                "share": "70",
                "policy": {"algorithm": "squarecb", "exploration_floor": "0", "parameters": {"bits": "99"}},
            },
        ],
        reward={"window_s": "0", "window_s:unit": "hours", "min": "3", "max": "1", "default": "x"},
        metrics=[{"key": "m", "role": "primary"}],
        decision_rule={"alpha": "60"},
    )
    checked = check(typed)
    assert checked.config is None
    assert set(checked.problems) >= {
        "/key",
        "/actions/0/payload",
        "/arms/0/policy/action",
        "/arms/1/key",
        "/arms/1/policy/exploration_floor",
        "/arms/1/policy/parameters/bits",
        "/arms",
        "/reward/default",
        "/reward/window_s",
        "/metrics/0/source/metric",
        "/decision_rule/alpha",
    }
    assert checked.problems["/arms"] == "The shares sum to 90%; make them sum to 100%."
    assert checked.problems["/arms/1/policy/exploration_floor"] == "Give a number from 0.1% to 100%."
    assert checked.problems["/decision_rule/alpha"] == "Give less than 50%."


def template_of(channel: str, *texts: dict[str, str]) -> Typed:
    return {"channel": channel, "texts": [{"locale": "en"} | text for text in texts]}


def assert_errors(typed: Typed, *errors: tuple[str, str]) -> None:
    problems = check(typed).problems
    for field, words in errors:
        assert problems.get(field) == words, (field, problems)


def test_errors_of_messages_are_beside_their_fields() -> None:
    typed = draft(
        key="k",
        actions=[
            {
                "id": "wrong",
                "template": template_of(
                    "push", {"body": "Hi {{ who }}"}, {"locale": "EN us", "body": "x"}, {"body": "again"}
                ),
            },
            {"id": "empty", "template": template_of("sms", {})},
            {"id": "where", "template": template_of("", {"title": "T"})},
            {"id": "unknown", "template": template_of("push", {"body": "{{ who }}"})},
            {"id": "long", "template": template_of("sms", {"body": "x" * 500})},
        ],
        variables=[
            {"name": "n", "sample:kind": "number", "sample": "many"},
            {"name": "b", "sample:kind": "yes_no"},
        ],
    )
    assert_errors(
        typed,
        ("/actions/0/template/texts/1/locale", "Give a language such as en or de-AT."),
        ("/actions/0/template/texts/2/locale", "Another text has this language; give each its own."),
        ("/actions/1/template/texts/0/body", "Fill this in."),
        ("/actions/2/template/channel", "Choose where the message is shown, or empty its texts."),
        ("/actions/3/template/texts/0/body", "Line 1: 'who' is not a declared variable; declared are n, b."),
        ("/actions/4/template/texts/0/body", "With sample values: the body has 500 characters, sms takes 480."),
        ("/variables/0/sample", "Write a number, such as 0.5."),
        ("/variables/1/sample", "Write yes or no."),
    )


def test_errors_of_feedback_are_beside_their_fields() -> None:
    typed = draft(
        feedback={
            **{"thumbs": {"up": "2"}, "stars": {"0": "1"}, "confidence": "101", "limit": "1.5", "mute_s": "366"},
            "reasons": [{"name": "a/b", "value": "9"}, {"value": "1"}, {"name": "a/b", "value": "x"}],
        },
    )
    assert_errors(
        typed,
        ("/feedback/thumbs/up", "Give a value from 0 to 1, the bounds of the reward."),
        ("/feedback/thumbs/down", "Give both values, or none."),
        ("/feedback/stars/1", "Give all five values, or none."),
        ("/feedback/confidence", "Give at most 100%."),
        ("/feedback/limit", "Write a whole number, such as 5."),
        ("/feedback/mute_s", "Give at most 365 days."),
        ("/feedback/reasons/0/value", "Give a value from 0 to 1, the bounds of the reward."),
        ("/feedback/reasons/1/name", "Give the reason a name, as your app sends it."),
        ("/feedback/reasons/2/name", "Another reason has this name; give each its own."),
    )


def test_errors_about_people_are_beside_their_fields() -> None:
    typed = draft(
        fatigue={
            "caps": [{"limit": "0", "window_s": "91", "action": "nowhere"}, {}],
            "quiet_hours": {"start": "25:00", "time_zone": "Wien"},
            "min_distance_s": "x",
        },
        profile={"half_life_s": "0", "lookback": "501"},
        retention_s="0.5",
        **{"profile:kept": "yes", "context_fields:names": "plan"},
    )
    assert_errors(
        typed,
        ("/fatigue/quiet_hours/start", "Give a time of day, such as 22:00."),
        ("/fatigue/quiet_hours/end", "Give a time of day, such as 22:00."),
        ("/fatigue/quiet_hours/time_zone", "Give a time zone's name as in Europe/Vienna."),
        ("/fatigue/min_distance_s", "Write a number, such as 0.5."),
        (
            "/context_fields:kind",
            "Choose that only these fields are used, or empty the two lists of names.",
        ),
        ("/profile/half_life_s", "Give at least 1 minute."),
        ("/profile/lookback", "Give at most 500."),
        ("/retention_s", "Give at least 1 day."),
        ("/fatigue/caps/0/limit", "Give at least 1."),
        ("/fatigue/caps/0/window_s", "Give at most 90 days."),
        ("/fatigue/caps/1/limit", "Fill this in."),
        ("/fatigue/caps/1/window_s", "Fill this in."),
    )


def test_a_variable_with_a_wrong_name_causes_no_error_of_a_text() -> None:
    template = {"channel": "push", "texts": [{"locale": "en", "body": "{{ name }}"}]}
    checked = check(draft(actions=[{"id": "a", "template": template}], variables=[{"name": "Name"}]))
    assert list(checked.of("actions")) == ["/variables/0/name"]


@pytest.mark.parametrize("document", [MESSAGES, EMPTY, COMPOSED, SEVERAL], ids=lambda document: document["key"])
def test_a_draft_without_a_part_leaves_it_unchanged(document: dict[str, Any]) -> None:
    stored = _stored(document)
    before = StoredExperiment(**dict.fromkeys(StoredExperiment._fields))._replace(key=document["key"], config=stored)
    typed = typed_of(stored)
    people = ("fatigue", "consent", "profile", "context_fields", "retention_s")
    for older in (
        typed,
        {name: part for name, part in typed.items() if name.partition(":")[0] not in people},
        {name: part for name, part in typed.items() if name != "variables"},
    ):
        checked = check(older, before)
        assert checked.problems == {}
        assert checked.config is not None
        assert checked.config.model_dump(mode="json") == stored


@pytest.mark.parametrize("text", ["NaN", "inf", "1e999", "one", "1,5", "0x10"])
def test_a_text_that_is_not_a_number_is_an_error(text: str) -> None:
    assert check(draft(reward={"max": text})).problems["/reward/max"].startswith("Write a number")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "appears twice"),
        ("[" * 5000, "nests"),
        ("{" + '"a": {' * 30, "not JSON"),
        ('{"a": 1e999}', "too large"),
        ('{"a": NaN}', "none (NaN)"),
        ('{"a": 99999999999999999999}', "too large"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "surrogate"),
    ],
)
def test_json_that_cannot_be_stored_is_an_error(text: str, words: str) -> None:
    row = {"id": "a", "payload:kind": "json", "payload": text}
    assert words in check(draft(actions=[row])).problems["/actions/0/payload"]


@pytest.mark.parametrize(
    ("path", "step", "field"),
    [
        ("/arms/0/policy/exploration_floor", "arms", "/arms/0/policy/exploration_floor"),
        ("/arms/1/policy/type", "arms", "/arms/1/policy/type"),
        ("/arms/3/share", "arms", "/arms:holdout_share"),
        ("/arms", "arms", "/arms"),
        ("/actions/0/features/a/b", "actions", "/actions/0/features"),
        ("/metrics/0/source/metric", "metrics", "/metrics/0/source/metric"),
        ("/decision_rule/alpha", "metrics", "/decision_rule/alpha"),
        ("/reward/window_s", "reward", "/reward/window_s"),
        ("/actions/0/template/texts/en/us/[key]", "actions", "/actions/0/template/texts/1/locale"),
        ("/actions/0/template/texts/en/us/body", "actions", "/actions/0/template/texts/1/body"),
        ("/variables/0/sample", "actions", "/variables/0/sample"),
        ("/composition/slots/0/name", "actions", "/composition/slots/0/name"),
        ("/composition/allow_nothing", "actions", "/composition/allow_nothing"),
        ("/composition", "actions", "/composition"),
        ("/fatigue/caps/0/window_s", "people", "/fatigue/caps/0/window_s"),
        ("/consent/learn", "people", "/consent/learn"),
        ("/context_fields/3/name", "people", "/context_fields:names"),
        ("/context_fields", "people", "/context_fields:names"),
        ("/feedback/stars/4", "reward", "/feedback/stars/4"),
        ("/feedback/reasons/a/b", "reward", "/feedback/reasons/0/value"),
        ("", "review", ""),
    ],
)
def test_an_error_of_a_rule_is_beside_the_field_of_its_pointer(path: str, step: str, field: str) -> None:
    typed = draft(
        actions=[{"id": "a", "template": {"channel": "push", "texts": [{"locale": "en"}, {"locale": "en/us"}]}}],
        variables=[{"name": "n"}],
        metrics=[{}],
        feedback={"reasons": [{"name": "a/b", "value": "0"}]},
        fatigue={"caps": [{}]},
        **{"arms:holdout": "yes"},
    )
    findings = Findings()
    document_of(typed, findings)
    findings.problems.clear()
    findings.beside(FieldError(path, "missing"), {name for name, _ in texts_of(typed)})
    assert list(findings.problems) == [field]
    assert step_of(field) == step


def test_each_text_of_a_composed_message_has_its_field() -> None:
    part = {":row": "r", "id": "a", "texts": [{"text": "x"}, {"text": "y"}]}
    composition = {"slots:languages": [{"locale": "e/n"}, {"locale": "de"}], "slots": [{"name": "s", "parts": [part]}]}
    typed = draft(composition=composition, **{"actions:among": "composed"})
    findings = Findings()
    document_of(typed, findings)
    fields = {name for name, _ in texts_of(typed)}
    here = "/composition/slots/0/parts/0"
    for path, field in (
        (f"{here}/texts/de", f"{here}/texts/1/text"),
        (f"{here}/texts/e/n/[key]", "/composition/slots:languages/0/locale"),
        (f"{here}/features/a", f"{here}/features"),
        (here, here),
    ):
        findings.problems.clear()
        findings.beside(FieldError(path, "missing"), fields)
        assert list(findings.problems) == [field]


@pytest.mark.parametrize(
    ("pointer", "words"),
    [
        ("/key", "key"),
        ("/arms/1/policy/exploration_floor", "arm 2, exploration floor"),
        ("/composition/slots/0/parts/1/texts/0/text", "slot 1, part 2, text 1, text"),
        ("/fatigue/caps/0/window_s", "limit 1, window"),
        ("/feedback/stars/4", "star 5"),
        ("/arms:holdout_share", "arms holdout share"),
        ("/arms", "arms"),
    ],
)
def test_a_field_is_named_in_words(pointer: str, words: str) -> None:
    assert where(pointer) == words


def test_bounds_are_typed_in_rows_and_their_errors_stand_beside_them() -> None:
    policy = {"type": "bandit", "exposure": {"by": "supplier", "least": "5", "parity": "10"}, "diversity": "100"}
    arms = [
        {"key": "a", "share": "50", "policy": policy},
        {"key": "b", "share": "50", "policy": {"type": "bandit", "exposure": {"most": "40"}}},
        {"key": "c", "policy": {"type": "bandit", "exposure": {"by": "action", "least": "5", "window": "99"}}},
    ]
    problems = check(draft(key="fair", arms=arms)).problems
    assert "/arms/0/policy/diversity" in problems and "/arms/0/policy/exposure/parity" in problems
    assert "A window has 100 to 10,000 decisions" in problems["/arms/2/policy/exposure/window"]
    assert problems["/arms/1/policy/exposure/by"] == "Name a feature of the actions, or action."


def test_limits_on_repeats_are_typed_in_rows_and_wrong_ones_have_an_error_beside_their_field() -> None:
    draft: Typed = {"key": "again", "repeats": {"in_a_row": "2", "by": "kind"}}
    assert document_of(draft, Findings())["repeats"] == {"in_a_row": 2, "by": "kind", "caps": []}
    assert document_of({"key": "again"}, Findings())["repeats"] is None
    row = {"by": "kind", "limit": "3", "window_s": "2", "window_s:unit": "days"}
    (cap,) = document_of({"key": "again", "repeats": {"caps": [row]}}, Findings())["repeats"]["caps"]
    assert cap == {"by": "kind", "limit": 3, "window_s": 172_800.0}
    wrong: Typed = {"repeats": {"in_a_row": "0", "caps": [row | {"limit": ""}, row | {"window_s": "9999"}]}}
    problems = check(typed_of(definition("again")) | wrong).of("people")
    assert set(problems) == {"/repeats/in_a_row", "/repeats/caps/0/limit", "/repeats/caps/1/window_s"}
