"""What changed, in words and percent."""

import pytest

from app.design.pages.change_words import name_of, value_of


@pytest.mark.parametrize(
    ("path", "value", "name", "text"),
    [
        ("arms/learned/share", 0.2, "Arms, learned: share", "20.0%"),
        ("reward/window_s", 3600.0, "Reward: window", "1 hour"),
        ("name", "New", "Name", "New"),
        ("", None, "Details", "\N{EM DASH}"),
        ("shares", {"a": 0.5, "b": 0.5}, "Shares", "a 50.0%, b 50.0%"),
        (
            "",
            {"key": "greedy", "policy": {"epsilon": 0.01}, "model": None},
            "Details",
            "key greedy, policy epsilon 0.0100",
        ),
        ("segments", ["country", "device"], "Segments", "country, device"),
        ("safety/relearn", True, "safety: relearn", "yes"),
        ("decision_rule/min_units", 1000, "Decision rule: min units", "1,000"),
    ],
)
def test_a_change_reads_as_people_say_it(path: str, value: object, name: str, text: str) -> None:
    assert name_of(path) == name
    assert value_of(path, value) == text
