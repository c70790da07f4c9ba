"""A world of moods in which every mood has a best action, played in batches through the services."""

from typing import Any

import numpy as np

from app.guardian import incidents, watching
from app.guardian.documents import Incident
from app.learning import refit
from tests.lab import Lab, arm

ACTIONS = [{"id": name} for name in "abcd"]
BEST, TURNED = {"x": "a", "y": "b", "z": "c"}, {"x": "b", "y": "d", "z": "a"}
BATCH = 100


class World:
    """An experiment whose learning arm has a control that always takes one action."""

    def __init__(self, lab: Lab, key: str, seed: int, **fields: Any) -> None:
        self.lab, self.key, self.rng = lab, key, np.random.default_rng(seed)
        self.best, self.right, self.wrong = BEST, 0.75, 0.1
        learned = arm("learned", 0.7, {"type": "bandit"}) | fields.pop("learned", {})
        arms = [arm("control", 0.3, "a"), learned]
        lab.make(key, **{"actions": ACTIONS, "arms": arms, "control_arm": "control"} | fields)

    def reward(self, mood: str, answer: dict[str, Any]) -> float | None:
        """One reward."""
        chance = self.right if self.best[mood] == answer["action"]["id"] else self.wrong
        return float(self.rng.random() < chance)

    def bodies(self, count: int) -> list[dict[str, Any]]:
        """Requests of people in some mood."""
        return [{"context": {"mood": str(mood)}} for mood in self.rng.choice([*BEST], count)]

    def turn(self, batches: int = 1) -> dict[str, float]:
        """Decide, reward, settle, refit, look, batch by batch; returns what each arm earned in the last one."""
        engine = self.lab.runtime.engine
        for _ in range(batches):
            earned: dict[str, list[float]] = {}

            def report(body: dict[str, Any], answer: dict[str, Any], earned: dict[str, list[float]] = earned) -> Any:
                value = self.reward(body["context"]["mood"], answer)
                earned.setdefault(answer["arm"], []).append(value or 0.0)
                return value

            self.lab.play(self.key, self.bodies(BATCH), report)
            for experiment_id, name in refit.due_arms(engine):
                refit.refit(engine, self.lab.settings, experiment_id, name)
            assert watching.look(engine, self.key)
            self.lab.runtime.snapshots.refresh()
        return {name: float(np.mean(values)) for name, values in earned.items()}

    def incidents(self) -> list[Incident]:
        """Newest first."""
        return incidents.listed(self.lab.runtime.engine, self.key)
