"""A field that is gone or has another unit, doubled rewards and a stale model are told; ordinary contexts are not."""

from typing import Any

import numpy as np
import pytest

from app.guardian import context, incidents, watching
from tests.guardian.world import World
from tests.lab import Lab
from tests.service import query


class Shop:
    """An experiment whose contexts have a price and a plan, and a day that grows."""

    def __init__(self, lab: Lab, key: str) -> None:
        self.lab, self.key, self.rng, self.day = lab, key, np.random.default_rng(4), 0
        lab.make(key)

    def begin(self) -> None:
        """Let the platform know the contexts for a week."""
        assert self.turn(10, 250) == []
        week = "UPDATE latest SET body = replace(body::text, '\"began\": \"20', '\"began\": \"19')::jsonb WHERE kind = 'context'"
        query(self.lab.database_url, week)

    def turn(self, batches: int = 1, size: int = 100, **change: Any) -> list[str]:
        """Some rounds; returns the fields that changed, as the looks found."""
        found: list[str] = []
        for _ in range(batches):
            self.day += 1
            bodies = [
                {"context": self.person() | {k: v(self) if callable(v) else v for k, v in change.items()}}
                for _ in range(size)
            ]
            for body in bodies:
                body["context"] = {name: value for name, value in body["context"].items() if value is not None}
            self.lab.play(self.key, bodies)
            found += context.look(self.lab.runtime.engine, self.key)
        return found

    def price(self) -> float:
        """In euros."""
        return round(float(self.rng.lognormal(3.0, 0.8)), 2)

    def person(self) -> dict[str, Any]:
        """One context."""
        rare = {"coupon": "yes"} if self.rng.random() < 0.1 else {}
        named = {"name": f"n{self.rng.integers(10**9)}", "member": bool(self.rng.random() < 0.5)}
        return {"price": self.price(), "plan": str(self.rng.choice(["free", "pro"])), "day": self.day, **named, **rare}


@pytest.mark.parametrize(
    ("key", "field", "to"),
    [
        ("cents", "price", lambda shop: 100 * shop.price()),
        ("gone", "plan", None),
        ("renamed", "plan", lambda shop: shop.rng.choice(["gratis", "premium"]).item()),
    ],
)
def test_a_field_that_changed_is_noticed_once(lab: Lab, key: str, field: str, to: Any) -> None:
    shop = Shop(lab, key)
    shop.begin()
    assert shop.turn(4) == []
    assert shop.turn(3, **{field: to}) == [field]
    (incident,) = incidents.listed(lab.runtime.engine, key)
    assert incident.kind == "context_drift" and f"The context field {field} is not what it was" in incident.text
    assert ("Most decisions lack it." in incident.text) == (to is None)
    assert [action.code for action in incident.actions] == ["told"]
    assert shop.turn(6, **{field: to}) == [], "what it is now is usual from now on"


def test_ordinary_contexts_raise_nothing(lab: Lab) -> None:
    shop = Shop(lab, "ordinary")
    shop.begin()
    assert shop.turn(20) == [] and incidents.listed(lab.runtime.engine, "ordinary") == []


def test_rewards_that_are_reported_twice_are_noticed(lab: Lab) -> None:
    world = World(lab, "twice", 1, reward={"window_s": 600.0, "aggregation": "max"})
    world.turn(12)
    engine = lab.runtime.engine
    for _ in range(5):
        answers = lab.decide("twice", world.bodies(100))
        events = [
            {"decision_id": a["decision_id"], "value": 1.0, "reward_id": f"r{n}"} for a in answers for n in (0, 1)
        ]
        lab.report(events)
        lab.settle("twice")
        assert watching.look(engine, "twice")
    kinds = {incident.kind for incident in world.incidents()}
    assert kinds == {"rewards_doubled"}
    assert "Does the app report them twice?" in world.incidents()[0].text


def test_a_model_that_does_not_follow_is_stale_until_it_does(lab: Lab) -> None:
    world = World(lab, "old", 2)
    world.turn(8)
    assert world.incidents() == []
    older = "UPDATE model_versions SET created_at = created_at - interval '3 days'"
    query(lab.database_url, older)
    world.lab.settle("old")
    assert watching.look(lab.runtime.engine, "old")
    (incident,) = world.incidents()
    assert (incident.kind, incident.arm) == ("stale_model", "learned") and "days old" in incident.text
    world.turn(1)
    (incident,) = world.incidents()
    assert incident.closed_at is not None and incident.actions[-1].code == "recovered"
