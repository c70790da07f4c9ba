"""A street of honest people, who come once, and of one bot that wants everybody to get what is worst."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from app.foundation.store.engine import transaction
from app.learning import refit
from app.learning.rebuild import rebuild_lineage
from app.registry.versions import describe
from tests.lab import Lab
from tests.service import query

AUTO = [{"key": "learned", "share": 1.0, "policy": {"type": "bandit"}}]
BEST, WORST = "b", "c"


class Street:
    """An experiment in which b is right for honest people, who come once, and a bot that says that c is."""

    def __init__(self, lab: Lab, key: str, seed: int = 1, **fields: Any) -> None:
        self.lab, self.key, self.rng = lab, key, np.random.default_rng(seed)
        self.people: Iterator[int] = iter(range(10**6))
        self.id = lab.make(key, **fields)

    def value(self, unit: str, action: str) -> float:
        """What a unit reports for an action."""
        if unit == "bot":
            return float(action == WORST)
        return float(self.rng.random() < {BEST: 0.75, WORST: 0.05}.get(action, 0.3))

    def play(self, honest: int, bot: int) -> float:
        """One round; returns the share of the honest people who got what is right."""
        units = [f"p{next(self.people)}" for _ in range(honest)] + ["bot"] * bot
        self.rng.shuffle(units)
        bodies = [{"unit_id": unit, "context": {"hour": int(self.rng.integers(24))}} for unit in units]
        answers = self.lab.play(
            self.key, bodies, lambda body, answer: self.value(body["unit_id"], answer["action"]["id"])
        )
        for experiment_id, arm in refit.due_arms(self.lab.runtime.engine):
            refit.refit(self.lab.runtime.engine, self.lab.settings, experiment_id, arm)
        self.lab.runtime.snapshots.refresh()
        pairs = zip(units, answers, strict=True)
        right = [answer["action"]["id"] == BEST for unit, answer in pairs if unit != "bot"]
        return float(np.mean(right)) if right else 0.0

    def learned(self) -> dict[bool, int]:
        """Decisions that the serving generation of the ledger learned: of the bot (True), of people (False)."""
        statement = """
            SELECT d.unit_id = 'bot', count(*) FROM training_ledger l JOIN lineages g USING (experiment_id, arm, generation)
            JOIN decisions d ON d.id = l.decision_id WHERE l.experiment_id = %s AND l.version_id > 0 GROUP BY 1
        """
        return dict(query(self.lab.database_url, statement, self.id))

    def held(self) -> dict[str, int]:
        """Decisions that are held out, by rule."""
        statement = "SELECT rule, count(*) FROM held_out WHERE experiment_id = %s GROUP BY 1"
        return dict(query(self.lab.database_url, statement, self.id))

    def versions(self) -> list[dict[str, Any]]:
        """Every version of the arm."""
        return list(describe(self.lab.runtime.engine, self.key)["arms"][0]["versions"])

    def rebuild(self) -> Any:
        """Learn the arm again from nothing."""
        with transaction(self.lab.runtime.engine) as connection:
            done = rebuild_lineage(connection, self.lab.settings, self.id, "learned", reason="test")
        self.lab.runtime.snapshots.refresh()
        return done
