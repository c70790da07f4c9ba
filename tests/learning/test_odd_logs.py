"""`auto` through the service: whatever apps send is learned from or left out with a word, serves, and is audited."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from app.foundation.store.engine import transaction
from app.learning import refit
from app.registry.store.models import left_out
from tests.learning.test_refit import versions
from tests.service import Loop, settings

AUTO = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}]
Body = Callable[[random.Random, int], dict[str, Any]]


def actions_of(names: list[str], **features: float) -> list[dict[str, Any]]:
    return [{"id": name, "features": features} for name in names]


BODIES: dict[str, Body] = {
    "text": lambda r, n: {
        "context": {"f": "7" if n % 2 else 7, "g": r.choice([1.5, "NaN", "Infinity", "-inf", "null", ""])}
    },
    "lists": lambda r, n: {
        "context": {"f": [1.0, 2.0] if n % 2 else 3.0, "g": [{"a": n}, {"b": "x"}] if n % 3 else {"a": 1}}
    },
    "billions": lambda r, n: {"context": {"f": 1e9 * (-1) ** n, "g": 1e-300, "h": r.lognormvariate(8, 4) % 1e9}},
    "constant": lambda r, n: {"context": {"f": 3.0, "g": "same"}},
    "wide": lambda r, n: {"context": {f"f{k}": round(r.random(), 2) for k in range(5000)}},
    "catalogue": lambda r, n: {
        "context": {"x": r.random()},
        "actions": actions_of([f"i{n}-{k}" for k in range(3)], p=n % 7),
    },
    "half gone": lambda r, n: {"context": {"x": r.random()}, "actions": actions_of(["a", "b", "c"][: 1 + n % 3])},
}
MANY = {"wide": 20}  # others: 70


@pytest.mark.parametrize("name", BODIES)
def test_whatever_is_sent_is_learned_served_and_recomputed(loop: Loop, name: str) -> None:
    key, chance, count = f"odd-{name.replace(' ', '-')}", random.Random(3), MANY.get(name, 70)
    own = {"actions": []} if name in ("catalogue", "half gone") else {}
    made = loop.make(key, arms=AUTO, **own)
    for turn in range(2):
        bodies = [{"unit_id": f"u{n % 20}"} | BODIES[name](chance, turn * count + n) for n in range(count)]
        decided = [answer for start in range(0, count, 10) for answer in loop.decide(key, bodies[start : start + 10])]
        loop.reward([{"decision_id": one["decision_id"], "value": float(chance.random() < 0.4)} for one in decided])
        loop.close_windows(made)
        loop.train(made)
        loop.runtime.snapshots.refresh()
    refit.ask(loop.runtime.engine, key, "learned", "test")
    assert refit.refit(loop.runtime.engine, settings(loop.database_url), made, "learned") is not None
    loop.runtime.snapshots.refresh()
    (answer,) = loop.decide(key, [{"unit_id": "probe"} | BODIES[name](chance, 7)])
    assert answer["policy_version"] == versions(loop, key)[-1]["number"]
    assert sum(item["probability"] for item in answer["ranking"]) == pytest.approx(1.0)
    report = loop.audit(key)
    assert report.ok and report.versions == 4
    learner = versions(loop, key)[-1]["manifest"]["learner"]
    codes = {note["code"] for note in learner["notes"]}
    with transaction(loop.runtime.engine) as connection:
        counted = {row.reason: row.features for row in left_out(connection) if row.experiment == key}
    if name == "constant":
        assert codes == {"constant"} and counted == {"constant": 1}
    if name == "wide":
        assert "crowded" in codes and counted["crowded"] == 1 and learner["columns_left_out"] > 1000


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["nothing-pays", "all-pay-the-most"])
def test_rewards_that_are_all_alike_break_nothing(loop: Loop, value: float) -> None:
    key = f"alike-{value:g}"
    made = loop.make(key, arms=AUTO)
    for _ in range(2):
        decided = loop.decide(key, [{"context": {"x": n % 9}} for n in range(60)])
        loop.reward([{"decision_id": one["decision_id"], "value": value} for one in decided])
        loop.close_windows(made)
        loop.train(made)
        refit.refit(loop.runtime.engine, settings(loop.database_url), made, "learned")
        loop.runtime.snapshots.refresh()
    (answer,) = loop.decide(key, [{"context": {"x": 4}}])
    assert max(item["probability"] for item in answer["ranking"]) < 0.8
    assert loop.audit(key).ok


def test_a_log_of_one_decision_is_learned(loop: Loop) -> None:
    made = loop.make("single", arms=AUTO)
    (one,) = loop.decide("single", [{"context": {"x": 4}}])
    loop.reward([{"decision_id": one["decision_id"], "value": 1.0}])
    loop.close_windows(made)
    loop.train(made)
    loop.runtime.snapshots.refresh()
    (answer,) = loop.decide("single", [{"context": {"x": 4}}])
    assert answer["policy_version"] == 1
    assert loop.audit("single").ok
