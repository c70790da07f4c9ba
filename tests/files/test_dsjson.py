"""dsjson as services write it: every shape is read as what it is, left out with a reason, or refused in one sentence."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from app.files.log_files import format_of
from app.files.records import AS_EXPORTED, LoggedDecision, read_decisions
from app.files.refused import FileRefused

ACTIONS = [{"_tag": "tea", "hot": {"x": 1}}, {"_tag": "water", "hot": {"x": 2}}]
SLOTS = {
    "c": {"day": "mon", "_multi": [{"_tag": name} for name in "abc"], "_slots": [{"_id": "s1", "size": "l"}, {"_id": "s2"}]},
    "_outcomes": [
        {"_label_cost": -1.0, "_id": "s1", "_a": [1, 2, 0], "_p": [0.5, 0.25, 0.25], "_o": []},
        {"_label_cost": -0.0, "_id": "s2", "_a": [2, 0], "_p": [0.33333334, 0.6666667], "_o": []},
    ],
    "EventId": "two",
}  # fmt: skip


def event(**more: Any) -> dict[str, Any]:
    """One decision: tea was chosen with probability 0.8 and earned 1. A value of ... removes a field."""
    whole = {
        "_label_cost": -1.0, "_label_probability": 0.8, "_label_Action": 1, "_labelIndex": 0, "EventId": "e1",
        "Timestamp": "2026-01-01T00:00:00.1234567Z", "a": [1, 2], "p": [0.8, 0.2], "c": {"_multi": ACTIONS},
    } | more  # fmt: skip
    return {name: value for name, value in whole.items() if value is not ...}


def read(path: Path) -> tuple[list[LoggedDecision], dict[str, int]]:
    left_out = Counter[str]()
    found = [decision for _, decision in read_decisions(path, format_of(path, None), AS_EXPORTED, left_out)]
    return found, dict(left_out)


def saved(path: Path, *events: Any) -> Path:
    path.write_text(
        "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in events), encoding="utf-8"
    )
    return path


READ: dict[str, tuple[dict[str, Any], float, float]] = {
    "as it is": (event(), 0.8, 1.0),
    "float32 in the label": (event(_label_probability=0.800000011920929), 0.8, 1.0),
    "float32 in p": (event(p=[0.800000012, 0.199999988], _label_probability=0.8), 0.8, 1.0),
    "no label of the probability": (event(_label_probability=...), 0.8, 1.0),
    "no label of the action": (event(_label_Action=..., _labelIndex=...), 0.8, 1.0),
    "numbers from 0": (event(a=[0, 1]), 0.8, 1.0),
    "no order": (event(a=..., p=...), 0.8, 1.0),
    "the chosen action only": (event(a=[1], p=[0.8]), 0.8, 1.0),
    "a reward": (event(_label_cost=..., _label_reward=0.25), 0.8, 0.25),
    "a cost and its reward": (event(_label_cost=-0.25, _label_reward=0.25), 0.8, 0.25),
    "one observation and no label": (event(_label_cost=..., o=[{"v": 0.5, "EventId": "e1"}]), 0.8, 0.5),
    "several observations and a label": (event(o=[{"v": 0.5}, {"v": 0.5, "ActionTaken": False}]), 0.8, 1.0),
    "observations that are objects": (event(o=[{"v": {"clicks": 3.0}, "EventId": "e1"}]), 0.8, 1.0),
    "deferred and shown": (event(DeferredAction=True, o=[{"ActionTaken": True}, {"v": 1.0}]), 0.8, 1.0),
    "not to be skipped": (event(_skipLearn=False, DeferredAction=False), 0.8, 1.0),
    "nothing was dropped": (event(pdrop=0.0), 0.8, 1.0),
    "every event dropped alike": (event(pdrop=0.9), 0.8, 1.0),
    "fields of the service": (event(VWState={"m": "N/A"}, _original_label_cost=0.0, Version="1"), 0.8, 1.0),
    "probabilities as texts": (event(_label_probability="0.8"), 0.8, 1.0),
}


@pytest.mark.parametrize("name", READ)
def test_an_event_is_read(tmp_path: Path, name: str) -> None:
    shape, propensity, reward = READ[name]
    (decision,), left_out = read(saved(tmp_path / "log.dsjson", shape))
    assert (decision.action, decision.reward, left_out) == ("tea", reward, {})
    assert decision.propensity == pytest.approx(propensity, rel=1e-6)
    assert decision.unit_id is None and decision.decided_at is not None
    if decision.distribution is not None:
        assert sum(decision.distribution) == pytest.approx(1, abs=1e-15)
        assert decision.propensity == decision.distribution[0]


LEFT_OUT: dict[str, tuple[dict[str, Any], str]] = {
    "a reward alone": (
        {"RewardValue": 1.0, "EnqueuedTimeUtc": "2026-01-01T00:00:05Z", "EventId": "e9"},
        "a reward without",
    ),
    "an observation alone": ({"o": [{"v": 1.0, "EventId": "e9"}], "EventId": "e9"}, "a reward without"),
    "skipped": (event(EventId="e2", _skipLearn=True), "never shown"),
    "skipped, another spelling": (event(EventId="e2", skipLearn=True), "never shown"),
    "deferred": (event(EventId="e2", DeferredAction=True, _label_cost=0.0), "never shown"),
    "deferred, with a reward": (
        event(EventId="e2", DeferredAction=True, o=[{"v": 1, "ActionTaken": False}]),
        "never shown",
    ),
    "no label": (event(EventId="e2", _label_cost=...), "without a reward"),
    "no label, two observations": (event(EventId="e2", _label_cost=..., o=[{"v": 0}, {"v": 1}]), "without a reward"),
    "the same event again": (event(), "twice"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_no_decision_is_left_out_and_counted(tmp_path: Path, name: str, first: bool) -> None:
    other, words = LEFT_OUT[name]
    events = [other, event()] if first else [event(), other]
    found, left_out = read(saved(tmp_path / "log.dsjson", *events))
    assert [decision.reward for decision in found] == [1.0]
    assert list(left_out.values()) == [1] and words in next(iter(left_out))


REFUSED: dict[str, tuple[Any, str]] = {
    "all dropped": (event(EventId="e2", pdrop=1), "pdrop is 1"),
    "pdrop is a word": (event(EventId="e2", pdrop="some"), "pdrop is 'some'"),
    "slates": ({"c": {"_multi": [{"_slot_id": 0}], "_slots": [{}]}}, "slates"),
    "slots without outcomes": ({"c": {"_multi": [{}], "_slots": [{}]}}, "needs _outcomes"),
    "continuous": ({"_label_ca": {"action": 1.5, "cost": 2.0, "pdf_value": 0.1}, "c": {"room=a": 1}}, "continuous"),
    "grounded": (event(EventId="e2", o=[{"v": {"v=click": 1}, "_definitely_bad": False}]), "interaction-grounded"),
    "plain JSON": ({"_label": 1, "features": {"x": 1}}, "plain JSON"),
    "no actions": (event(EventId="e2", c={"x": 1}), "c has no _multi"),
    "an empty list of actions": (event(EventId="e2", c={"_multi": []}), "_multi must be"),
    "actions that are texts": (event(EventId="e2", c={"_multi": ["a", "b"]}), "_multi must be"),
    "two choices": (event(EventId="e2", _labelIndex=1), "name different actions"),
    "a choice below 0": (event(EventId="e2", _labelIndex=-1, _label_Action=...), "that _multi does not have"),
    "a choice beyond the end": (event(EventId="e2", _labelIndex=..., _label_Action=3), "that _multi does not have"),
    "a choice that is a text": (event(EventId="e2", _labelIndex="0"), "must hold whole numbers"),
    "no choice": (event(EventId="e2", _labelIndex=..., _label_Action=..., a=...), "which action was chosen"),
    "two rewards": (event(EventId="e2", _label_reward=0.5), "contradict"),
    "a cost that is a text": (event(EventId="e2", _label_cost="much"), "_label_cost holds 'much'"),
    "p is longer": (event(EventId="e2", p=[0.5, 0.3, 0.2]), "lists of the same length"),
    "p for another action": (event(EventId="e2", a=[1, 1]), "every action"),
    "p holds a text": (event(EventId="e2", p=["x", 0.2]), "p holds 'x'"),
    "another probability": (event(EventId="e2", _label_probability=0.3), "propensity differs"),
    "a sum that is not 1": (event(EventId="e2", p=[0.8, 0.1]), "sums to 0.9"),
    "probability 0": (event(EventId="e2", _label_probability=0.0, p=[0.0, 1.0]), "propensity is 0"),
    "no probability": (event(EventId="e2", _label_probability=..., p=...), "propensity is nothing"),
    "no number": ('{"_label_cost":NaN,"c":{}}', "not JSON"),
    "infinite": ('{"_label_cost":-Infinity,"c":{}}', "not JSON"),
    "a list": ([1], "one JSON object per line"),
    "a time that is none": (event(EventId="e2", Timestamp="soon"), "decided_at is 'soon'"),
    "a time from far away": (event(EventId="e2", Timestamp="9999-12-31T23:59:59-14:00"), "decided_at is"),
    "nests deep": (event(EventId="e2", c={"_multi": ACTIONS, "x": json.loads("[" * 400 + "]" * 400)}), "nests too deep"),
    "outcomes that are texts": (SLOTS | {"_outcomes": ["a", "b"]}, "must be an object"),
    "too few outcomes": (SLOTS | {"_outcomes": SLOTS["_outcomes"][:1]}, "lists of the same length"),  # type: ignore[index]
    "a slot without a label": (
        SLOTS | {"_outcomes": [SLOTS["_outcomes"][0], {"_a": [2, 0], "_p": [0.5, 0.5]}]},  # type: ignore[index]
        "slot 2 has no _label_cost",
    ),
    "a slot that names the choice only": (
        SLOTS | {"_outcomes": [SLOTS["_outcomes"][0], {"_label_cost": 0, "_a": [2], "_p": [0.5]}]},  # type: ignore[index]
        "only the chosen action",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_is_refused_in_a_sentence_with_its_line(tmp_path: Path, name: str) -> None:
    other, words = REFUSED[name]
    with pytest.raises(FileRefused) as refused:
        read(saved(tmp_path / "log.dsjson", event(), other))
    assert words in str(refused.value) and "line 2" in str(refused.value), str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_the_slots_of_an_event_are_positions_of_a_list(tmp_path: Path) -> None:
    found, left_out = read(saved(tmp_path / "log.json", SLOTS))
    assert [(one.decision_id, one.action, one.reward) for one in found] == [("two", "b", 1.0), ("two#2", "c", 0.0)]
    assert [[action["id"] for action in one.actions or ()] for one in found] == [["b", "c", "a"], ["c", "a"]]
    assert {one.unit_id for one in found} == {"two"}
    assert found[0].context == {"day": "mon", "slot": {"size": "l"}} and found[1].context == {
        "day": "mon",
        "position": "2",
    }
    assert sum(found[1].distribution or ()) == pytest.approx(1, abs=1e-15) and left_out == {}


def test_the_slots_of_an_event_without_an_id_stay_together(tmp_path: Path) -> None:
    nameless = {name: value for name, value in SLOTS.items() if name != "EventId"}
    found, _ = read(saved(tmp_path / "log.dsjson", nameless, nameless))
    assert [one.decision_id for one in found] == ["line 1", "line 1#2", "line 2", "line 2#2"]
    assert [one.unit_id for one in found] == ["line 1", "line 1", "line 2", "line 2"]


def test_actions_without_tags_have_their_id_or_their_number_and_stay_apart(tmp_path: Path) -> None:
    multi = [{"i": {"constant": 1, "id": "x"}}, {"id": 7}, {"f": 1}, {"_tag": "x"}, {"_tag": "x", "_expires": "soon"}]
    shape = event(
        c={"_multi": multi, "_synthetic": False, "u": {"_age": 1, "k": 2}},
        a=[1, 2, 3, 4, 5],
        p=[0.8, 0.05, 0.05, 0.05, 0.05],
    )
    (decision,), _ = read(saved(tmp_path / "log.dsjson", shape))
    assert [action["id"] for action in decision.actions or ()] == ["x", "7", "3", "x #2", "x #3"]
    assert decision.context == {"u": {"k": 2}}, "Vowpal Wabbit ignores names that begin with an underscore"


@pytest.mark.parametrize("name", ["log.dsjson", "log.json", "log.jsonl", "log.dsjson.gz"])
def test_files_are_known_by_what_they_hold(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(event(EventId=f"e{number}")) for number in range(3)]
    text = "\ufeff" + "\r\n\r\n".join(lines) + "\r\n" + lines[0][:40]
    (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    found, left_out = read(tmp_path / name)
    assert len(found) == 3 and list(left_out.values()) == [1] and "cut off" in next(iter(left_out))
