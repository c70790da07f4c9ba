"""Reasons of ineligibility: every code of the source has words, every word has a code, and the words read well."""

import re
from pathlib import Path
from typing import Any

import pytest

from app.content.message_templates import NotFor
from app.content.reasons import WORDS, Reason, words

APP = Path(__file__).resolve().parents[2] / "app"
DAY_S = 86_400.0


def test_the_codes_of_the_source_are_the_codes_with_words() -> None:
    folders = (APP / "content", APP / "deciding")  # verdicts of reports have reasons of their own
    sources = "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    assert set(re.findall(r'\b(?:Reason|NotFor)\(\s*"([a-z_]+)"', sources)) == set(WORDS)


@pytest.mark.parametrize(
    ("code", "params", "expected"),
    [
        ("excluded", {}, "excluded"),
        ("earlier_position", {"position": 2}, "shown at position 2"),
        ("min_distance", {"min_distance_s": 3600.0}, "another message within 3600 s"),
        (
            "cap",
            {"limit": 1, "window_s": DAY_S, "channel": None, "scope": "platform"},
            "cap: at most 1 message of all experiments in 86400 s",
        ),
        (
            "cap",
            {"limit": 2, "window_s": DAY_S, "channel": "push", "scope": "action"},
            "cap: at most 2 push messages of this action in 86400 s",
        ),
        ("other_channel", {"channel": "sms"}, "its channel is sms"),
    ],
)
def test_each_reason_has_words(code: str, params: dict[str, Any], expected: str) -> None:
    assert words(code, params) == expected


def test_the_reason_for_a_part_names_the_part_and_the_cause() -> None:
    inner = NotFor("too_long", place="title", length=70, channel="push", limit=65).reason
    outer = NotFor("of_part", slot="greeting", part="formal", code=inner.code, **inner.params)
    assert str(outer) == "greeting=formal: the title has 70 characters, push takes 65"


def test_a_reason_without_words_is_an_error() -> None:
    with pytest.raises(KeyError):
        _ = Reason("no_such_code", {}).words
