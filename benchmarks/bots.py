"""A bot decides and rewards what nobody else wants: what people get while it does, and afterwards. Needs no server.

The world of `loopwise demo guardian`: people in three moods come once, four actions, one right for each mood. After 1,400
decisions a bot decides 3,000 times, 130 in a round beside 14 people, and rewards the one action that is right for nobody.
"""

import sys
from collections import Counter
from typing import NamedTuple

import numpy as np

from app.design.safety_config import SafetySpec
from app.learning.holding import LATELY
from bandits.examples import Example
from bandits.policy import BanditPolicy, parse_policy
from bandits.unit_share import kept
from benchmarks.play import Call, Platform

BEST = {"x": "a", "y": "b", "z": "c"}
ACTIONS, BOT = ["a", "b", "c", "d"], "bot"
RIGHT, WRONG = 0.75, 0.1
CALM, ROUNDS, BOTS, PEOPLE, AFTERWARDS = 1_400, 23, 130, 14, 20
SHARE = SafetySpec().unit_share


class Run(NamedTuple):
    """The share of people who got what is right."""

    during: float
    afterwards: float


class Town:
    """The people, the bot, and an arm that learns as the service does."""

    def __init__(self, seed: int) -> None:
        policy = parse_policy({"type": "bandit"})
        assert isinstance(policy, BanditPolicy)
        self.platform, self.rng = Platform(policy), np.random.default_rng([23, seed])
        self.learned, self.people = list[str](), 0

    def round(self, people: int, bots: int = 0) -> float:
        """One round; returns the share of people who got what is right."""
        units = [BOT] * bots + [f"p{self.people + number}" for number in range(people)]
        self.people += people
        made = [self._decide(unit) for unit in units]
        keep = kept(units, SHARE, Counter(self.learned[-LATELY:]))
        self.learned += [unit for unit, keeps in zip(units, keep, strict=True) if keeps]
        self.platform.learn([example for (example, _), keeps in zip(made, keep, strict=True) if keeps])
        return float(np.mean([right for _, right in made[bots:]]))

    def _decide(self, unit: str) -> tuple[Example, bool]:
        mood = str(self.rng.choice([*BEST]))
        chosen, example = self.platform.decide(Call({"mood": mood}, ACTIONS), float(self.rng.random()))
        right = ACTIONS[chosen] == BEST[mood]
        reward = float(ACTIONS[chosen] == "d" if unit == BOT else self.rng.random() < (RIGHT if right else WRONG))
        return example._replace(cost=1.0 - reward), right


def run(seed: int) -> Run:
    """Play one run."""
    town = Town(seed)
    for _ in range(CALM // 70):
        town.round(70)
    during = [town.round(PEOPLE, BOTS) for _ in range(ROUNDS)]
    return Run(float(np.mean(during)), float(np.mean([town.round(2 * PEOPLE) for _ in range(AFTERWARDS)])))


def measure(runs: int = 20) -> None:
    """Print what people got."""
    found = [run(seed) for seed in range(runs)]
    for name in Run._fields:
        shares = np.array([getattr(each, name) for each in found])
        print(f"{name:10} right: mean {shares.mean():.3f}, worst {shares.min():.3f}, below 0.9 in {sum(shares < 0.9)}")


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
