"""dsjson that we write: Vowpal Wabbit tells actions apart by their ids, and reading gives back exactly what was written."""

import json
from pathlib import Path
from typing import Any

import pytest
import vowpalwabbit

from app.files.dsjson import records
from app.files.dsjson_writing import to_dsjson


def record(number: int, features: list[Any] | None = None, context: Any = None) -> dict[str, Any]:
    """One of three actions was taken; the second is worth 1, the others 0."""
    chosen, given = number % 3, features or [{}, {}, {}]
    return {
        "decision_id": f"d{number}", "decided_at": "2026-01-01T00:00:00+00:00", "unit_id": "u", "arm": "on",
        "arm_probability": 0.5, "policy_version": 3, "context": {} if context is None else context,
        "actions": [{"id": name, "features": part} for name, part in zip("abc", given, strict=True)],
        "distribution": [1 / 3] * 3, "action": "abc"[chosen], "propensity": 1 / 3, "arm_propensity": 0.25,
        "arm_distributions": {"on": [0.25, 0.25, 0.5]}, "experiment": {"arms": []}, "reward": float(chosen == 1),
    }  # fmt: skip


def test_vowpal_wabbit_tells_actions_without_features_apart(tmp_path: Path) -> None:
    path = tmp_path / "log.dsjson"
    path.write_text("".join(json.dumps(to_dsjson(record(number))) + "\n" for number in range(300)))
    files = ["-d", str(path), "-p", str(tmp_path / "predictions")]
    reader = vowpalwabbit.Workspace(
        arg_list=["--cb_explore_adf", "--dsjson", "--strict_parse", "--no_stdin", "--quiet", "--epsilon", "0.1", *files]
    )
    reader.finish()
    last = [line for line in (tmp_path / "predictions").read_text().splitlines() if line][-1]
    chances = {int(number): float(chance) for number, _, chance in (pair.partition(":") for pair in last.split(","))}
    assert chances[1] > 0.9


SHAPES: list[tuple[list[Any], Any]] = [
    ([{"id": "own"}, {"action_id": 1}, {}], {"id": 5}),
    ([{"_hidden": 1}, {"x": [1, "a", None]}, {"x": {"_y": [[1], {"z": None}]}}], {"_u": {"_v": 1}, "_multi": [1]}),
    ([[{"x": 1}, {"y": 2}], [], {}], [{"a": 1}, {"b": "🙂"}]),
    ([{"_tag": "other"}, {"": 1}, {"i": {"id": "z"}}], {"": {}, "c": [], "n": None}),
]


@pytest.mark.parametrize("number", range(len(SHAPES)))
def test_whatever_the_features_are_they_come_back(number: int) -> None:
    features, context = SHAPES[number]
    written = record(number, features, context)
    event = json.loads(json.dumps(to_dsjson(written)))
    (back,) = records(event)
    assert back == written | {"stands_for": None}
    assert {action["_tag"] for action in event["c"]["_multi"]} == {"a", "b", "c"}
    names = [name for name, value in event["c"]["_multi"][0].items() if value == "a" and name != "_tag"]
    assert len(names) == 1 and all(action[names[0]] == action["_tag"] for action in event["c"]["_multi"])


def test_an_unknown_distribution_is_not_written() -> None:
    written = record(0) | {"distribution": None, "arm_distributions": None}
    event = to_dsjson(written)
    assert "p" not in event and records(event)[0]["distribution"] is None
    assert records(event)[0]["propensity"] == written["propensity"]
