"""Typed texts and configurations: a stored one comes back the very same; a wrong text is told beside its field."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.admin.wizard_check import check, place_of
from app.admin.wizard_document import document_of, typed_of
from app.admin.wizard_form import of_step
from app.services.experiment_config import parse_config
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


def _stored(document: dict[str, Any]) -> dict[str, Any]:
    return parse_config(document).model_dump(mode="json")


@pytest.mark.parametrize("document", [EVERYTHING, definition("small"), definition("learns", arms=bandit(), actions=[])])
def test_a_configuration_survives_the_form_unchanged(document: dict[str, Any]) -> None:
    before = _stored(document)
    again, problems = document_of(typed_of(before))
    assert not any(problems.values())
    after = _stored(again)
    for arm, known in zip(after["arms"], before["arms"], strict=True):
        if arm["policy"]["type"] == "bandit":  # written out, and the same (see services.experiments.changed)
            arm["policy"] = known["policy"]
    assert after == before


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


@pytest.mark.parametrize("text", ["NaN", "inf", "1e999", "one", "1,5", "0x10"])
def test_what_is_no_number_is_told(text: str) -> None:
    assert check({"reward": {**of_step({}, "reward"), "max": text}}).of("reward")["max"].startswith("Write a number")


@pytest.mark.parametrize(
    "text, words",
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
    "path, place",
    [
        ("/arms/0/policy/exploration_floor", ("arms", "rows-0-floor")),
        ("/arms/1/policy/parameters/bits", ("arms", "rows-1-bits")),
        ("/arms/1/policy/type", ("arms", "rows-1-kind")),
        ("/arms", ("arms", "rows")),
        ("/actions/3/features/a/b", ("actions", "rows-3-features")),
        ("/metrics/0/source/value/metric", ("metrics", "rows-0-metric")),
        ("/metrics/0/source", ("metrics", "rows-0-type")),
        ("/decision_rule/alpha", ("metrics", "alpha")),
        ("/reward/window_s", ("reward", "window")),
        ("", ("review", "draft")),
    ],
)
def test_a_pointer_leads_to_the_field_of_the_form(path: str, place: tuple[str, str]) -> None:
    assert place_of(path) == place
