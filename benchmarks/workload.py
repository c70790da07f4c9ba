"""The requests of the benchmarks: by default 10 actions and 20 context features (half words, half numbers)."""

import random
from typing import Any

ALGORITHM = "squarecb"
FEATURES = 20


class Workload:
    """Made-up requests, the same in every run."""

    def __init__(self, actions: int = 10, *, seed: int = 1, bits: int = 18, algorithm: str = ALGORITHM) -> None:
        generator = random.Random(seed)
        self.actions = actions
        self.policy: dict[str, Any] = {"type": "bandit", "algorithm": algorithm}
        if algorithm == ALGORITHM:
            self.policy["parameters"] = {"bits": bits}
        self.contexts = [_context(generator) for _ in range(4096)]

    def definition(self, key: str, window_s: float) -> dict[str, Any]:
        """An experiment with one learning arm for everybody."""
        listed = [
            {"id": f"action {n}", "features": {"price": n / 7}, "payload": {"text": f"Offer {n}"}}
            for n in range(self.actions)
        ]
        return {
            "key": key,
            "actions": listed,
            "arms": [{"key": "learned", "share": 1.0, "policy": self.policy}],
            "reward": {"window_s": window_s},
        }

    def request(self, experiment: str, number: int) -> dict[str, Any]:
        """The body of one decide call."""
        context = self.contexts[number % len(self.contexts)]
        return {"experiment": experiment, "unit_id": f"unit-{number}", "context": context}

    def reward(self, decided: dict[str, Any]) -> float:
        """The reward of a decision: the later the action in the list, the larger."""
        return int(decided["action"]["id"].removeprefix("action ")) / self.actions


def _context(generator: random.Random) -> dict[str, Any]:
    words = {f"word{n}": f"value {generator.randrange(10)}" for n in range(FEATURES // 2)}
    return words | {f"number{n}": generator.random() for n in range(FEATURES // 2)}
