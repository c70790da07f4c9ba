"""Fills logs through the services, and reads them back for independent computations."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from app.design import experiments
from app.learning.training import train_round
from app.reporting import health_checks, results
from tests.service import Loop, query, settings

BATCH = 1000
Reward = Callable[[dict[str, Any], dict[str, Any]], float | None]

AB = [
    {"key": "control", "share": 0.5, "policy": {"type": "fixed", "action": "a"}},
    {"key": "treated", "share": 0.5, "policy": {"type": "uniform"}},
]


def arm(key: str, share: float, policy: dict[str, Any] | str = "uniform") -> dict[str, Any]:
    """An arm; a string is the fixed action, "uniform" the uniform policy."""
    if isinstance(policy, str):
        policy = {"type": "uniform"} if policy == "uniform" else {"type": "fixed", "action": policy}
    return {"key": key, "share": share, "policy": policy}


class Lab(Loop):
    """The loop's services, and whole logs in one call."""

    def play(
        self, key: str, bodies: list[dict[str, Any]], reward: Reward | None = None, *, settled: bool = True
    ) -> list[dict[str, Any]]:
        """Decide the bodies in batches, report each reward, close the windows, settle every arm; returns the answers."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(bodies), BATCH):
            answers += self.decide(key, bodies[start : start + BATCH])
        if reward is not None:
            values = [(answer, reward(body, answer)) for body, answer in zip(bodies, answers, strict=True)]
            events = [
                {"decision_id": answer["decision_id"], "value": value} for answer, value in values if value is not None
            ]
            self.report(events)
        if settled:
            self.settle(key)
        return answers

    def report(self, events: list[dict[str, Any]]) -> None:
        """Rewards and metrics, in batches."""
        for start in range(0, len(events), BATCH):
            self.reward(events[start : start + BATCH])

    def settle(self, key: str) -> None:
        """Close every window and settle all arms."""
        experiment = experiments.get(self.runtime.engine, key)
        self.close_windows(experiment.id)
        for arm in experiment.config["arms"]:
            self.settle_arm(experiment.id, arm["key"])
        self.runtime.snapshots.refresh()

    def settle_arm(self, experiment_id: int, name: str) -> None:
        """Settle one arm."""
        once = settings(self.database_url, LOOPWISE_ROUND_DECISIONS="5000")
        while train_round(self.runtime.engine, once, experiment_id, name):
            pass

    def age(self, key: str, days: float) -> None:
        """Make an experiment's whole past older, as if it had begun so many days earlier."""
        experiment_id = experiments.get(self.runtime.engine, key).id
        columns = {
            "experiment_configs": ["created_at"],
            "decisions": ["decided_at", "closes_at"],
            "outcomes": ["decided_at", "opened_at", "settled_at"],
            "rewards": ["occurred_at", "received_at"],
        }
        for table, names in columns.items():
            older = ", ".join(f"{name} = {name} - make_interval(secs => %s)" for name in names)
            seconds = [days * 86_400.0] * len(names)
            query(self.database_url, f"UPDATE {table} SET {older} WHERE experiment_id = %s", *seconds, experiment_id)

    def change(self, key: str, **patch: Any) -> None:
        """Change a running experiment."""
        experiments.change(self.runtime.engine, self.settings, key, patch, "test")
        self.runtime.snapshots.refresh()

    def results(self, key: str, *, fresh: bool = True, **options: Any) -> dict[str, Any]:
        """A report, computed now; fails if a value of it is not JSON."""
        if fresh:
            results.compute(self.runtime.engine, key, options.get("segment"))
        return dict(sound(results.get(self.runtime.engine, key, **options).as_json()))

    def health(self, key: str, **options: Any) -> dict[str, Any]:
        """The health checks, computed now."""
        return dict(sound(health_checks.get(self.runtime.engine, key, **options).as_json()))

    def outcomes(self, key: str) -> pd.DataFrame:
        """The settled decisions of an experiment."""
        rows = query(
            self.database_url,
            "SELECT o.decision_id, o.arm, o.unit_id, o.reward, o.events, o.decided_at, d.context, d.propensity"
            " FROM outcomes o JOIN decisions d ON d.id = o.decision_id JOIN experiments e ON e.id = o.experiment_id"
            " WHERE e.key = %s ORDER BY o.decided_at, o.decision_id",
            key,
        )
        names = ["decision_id", "arm", "unit_id", "reward", "events", "decided_at", "context", "propensity"]
        return pd.DataFrame(rows, columns=names)

    def events(self, key: str) -> pd.DataFrame:
        """Everything that was reported."""
        rows = query(
            self.database_url,
            "SELECT r.decision_id, r.reward_id, r.metric, r.value, r.occurred_at, r.late"
            " FROM rewards r JOIN experiments e ON e.id = r.experiment_id WHERE e.key = %s",
            key,
        )
        return pd.DataFrame(rows, columns=["decision_id", "reward_id", "metric", "value", "occurred_at", "late"])


def sound(document: Any) -> Any:
    """Return the document after a check of every number: none may be NaN or infinite, or of a type of numpy."""
    for path, value in _leaves(document, ""):
        assert value is None or type(value) in (str, bool, int, float), f"{path} is a {type(value)}"
        assert not isinstance(value, float) or math.isfinite(value), f"{path} is {value}"
    json.dumps(document, allow_nan=False)
    return document


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, f"{path}/{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}/{index}")
    else:
        yield path, value
