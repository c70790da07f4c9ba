"""What goes wrong in an app, and what it costs: noticed by which watch, when, and what was lost. Needs no server.

Half of the units are in a learning arm with the default policy, half get the control's fixed action. One of four actions is right
for each context. After 3,000 decisions something goes wrong and stays wrong for 3,000. Rounds, refits, watches and the fallback
are the platform's own code; a value that fell is answered by a fit from nothing, an arm behind its fallback by the fallback.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import numpy as np

from app.design.experiment_config import ExperimentConfig
from app.design.fallbacks import rule_of
from app.guardian import context, watching
from app.guardian.documents import Stream, WatchDocument
from app.guardian.store import contexts
from app.guardian.store.outcomes import Row
from app.guardian.streams import by_unit
from app.guardian.thresholds import threshold_of
from app.guardian.watching import Look
from bandits.distribution import sample
from bandits.examples import Example
from bandits.policy import BanditPolicy, parse_policy
from benchmarks.play import ROUND, Call, Platform

BEFORE, WRONG, EVERY = 3_000, 3_000, timedelta(minutes=6)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
ACTIONS: Final = ["a", "b", "c", "d"]
WORST: Final = "d"  # right for nobody
PAYS, ELSE = 0.7, 0.1


class Told(NamedTuple):
    """What the app tells of a decision: the context that it sent, the reward, and the number of reward events."""

    context: dict[str, object]
    reward: float
    events: int


class Asked(NamedTuple):
    """A decision as it really is."""

    plan: str
    price: float
    arm: str
    action: str
    worth: float  # the reward that the person gives
    days: float  # since it went wrong


Mishap = Callable[[np.random.Generator, Asked], Told]


def honest(_: np.random.Generator, asked: Asked) -> Told:
    """Nothing is wrong."""
    return Told({"plan": asked.plan, "price": asked.price}, asked.worth, int(asked.worth > 0))


def _turned(rng: np.random.Generator, asked: Asked) -> Told:
    return honest(rng, asked)._replace(reward=1 - asked.worth, events=int(asked.worth == 0))


def _lost(rng: np.random.Generator, asked: Asked) -> Told:
    told = honest(rng, asked)
    return told._replace(reward=0.0, events=0) if asked.arm == "learned" else told


def _gone(rng: np.random.Generator, asked: Asked) -> Told:
    return honest(rng, asked)._replace(context={"price": asked.price})


def _cents(rng: np.random.Generator, asked: Asked) -> Told:
    return honest(rng, asked)._replace(context={"plan": asked.plan, "price": 100 * asked.price})


def _doubled(rng: np.random.Generator, asked: Asked) -> Told:
    told = honest(rng, asked)
    return told._replace(events=2 * told.events)


def _poisoned(rng: np.random.Generator, asked: Asked) -> Told:
    """Every day 2% more of the decisions are made by somebody who rewards what is right for nobody; each under a new unit."""
    told = honest(rng, asked)
    if rng.random() >= min(0.02 * asked.days, 1.0):
        return told
    paid = float(asked.action == WORST)
    return told._replace(reward=paid, events=int(paid))


MISHAPS: Final[dict[str, Mishap]] = {
    "nothing": honest,
    "the sign of the reward is turned": _turned,
    "the rewards of the arm are lost": _lost,
    "the field that matters is gone": _gone,
    "euros become cents": _cents,
    "rewards arrive twice": _doubled,
    "2% more fake rewards a day": _poisoned,
}


class Run(NamedTuple):
    """What one run showed; decisions are those of the learning arm since it went wrong."""

    noticed: float  # decisions until the first notice; infinite: none
    by: str  # the watch that noticed, and what was done later
    cost: float  # what was lost until then, in rewards of so many decisions of before
    lost: float  # true reward per decision before, minus that of all decisions since, as a share of the former


class Shop:
    """An experiment, its learner and its watches."""

    def __init__(self, seed: int) -> None:
        arms = [
            {"key": "control", "share": 0.5, "policy": {"type": "fixed", "action": "a"}},
            {"key": "learned", "share": 0.5, "policy": {"type": "bandit"}},
        ]
        definition = {"key": "shop", "actions": [{"id": action} for action in ACTIONS], "arms": arms}
        self.config = ExperimentConfig.model_validate(definition | {"control_arm": "control"})
        self.arm = self.config.arms[1]
        policy = parse_policy(self.arm.policy)
        assert isinstance(policy, BanditPolicy)
        self.platform, self.rng = Platform(policy), np.random.default_rng([29, seed])
        self.watches: dict[tuple[str, Stream], WatchDocument] = {}
        self.fields = {name: context.WatchedField(began=START.isoformat()) for name in ("plan", "price")}
        self.threshold = threshold_of(len(arms))
        self.worth = list[float]()  # of the learning arm's decisions
        self.notices = list[tuple[int, str]]()  # number of decisions of the learning arm, and what

    def round(self, first: int, mishap: Mishap) -> None:
        """One round: decide, learn, look."""
        rows, examples, seen = list[Row](), list[Example](), list[contexts.Row]()
        for number in range(first, first + ROUND):
            row, example, told = self._decide(number, mishap)
            rows.append(row)
            seen.append(contexts.Row(row.unit_id, row.decided_at, row.decided_at, told.context, "", told.events, None))
            if example is not None:
                examples.append(example)
        self.platform.learn(examples)
        self._look(rows, seen)

    def _decide(self, number: int, mishap: Mishap) -> tuple[Row, Example | None, Told]:
        rng, at = self.rng, START + number * EVERY
        plan, price = str(rng.choice(["free", "plus", "pro"])), float(rng.lognormal(3, 0.8))
        arm = "learned" if rng.random() < 0.5 else "control"
        days = max(number - BEFORE, 0) * EVERY / timedelta(days=1)
        asked = Asked(plan, price, arm, "a", 0.0, days)
        shared, lines, own = self.platform.probabilities(Call(mishap(rng, asked).context, ACTIONS))
        chances = own if arm == "learned" else [1.0, 0.0, 0.0, 0.0]
        if arm == "learned" and self.arm.fallen_back:
            probe = rule_of(self.arm).probe
            chances = [probe * chance + (1 - probe) * (index == 0) for index, chance in enumerate(own)]
        chosen = sample(chances, float(rng.random()))
        right = ("a", "b", "c")[["free", "plus", "pro"].index(plan) if price < 40 else 1]
        worth = float(rng.random() < (PAYS if ACTIONS[chosen] == right else ELSE))
        told = mishap(rng, asked._replace(action=ACTIONS[chosen], worth=worth))
        row = Row(arm, f"u{number}", told.reward, told.events, at, at, 1, ACTIONS, chosen, chances[chosen])
        if arm == "control":
            return row, None, told
        self.worth.append(worth)
        return row, Example(shared, lines, chosen, chances[chosen], 1.0 - told.reward), told

    def _look(self, rows: list[Row], seen: list[contexts.Row]) -> None:
        by_arm = {arm.key: [row for row in rows if row.arm == arm.key] for arm in self.config.arms}
        nobody: Any = SimpleNamespace(get=lambda _version: self.config)
        at = Look(nobody, nobody, self.config, nobody, by_arm, self.threshold)
        for arm in self.config.arms:
            for alarm in watching.watch_arm(at, arm, self.watches):
                self.notices.append(
                    (len(self.worth), f"{alarm.kind} of {arm.key}" if arm.key == "control" else alarm.kind)
                )
                self._act(alarm.kind, arm.key)
        for name, field in self.fields.items():
            self.fields[name], drift = context.see(name, field, seen, by_unit(seen), self.threshold)
            if drift is not None:
                self.notices.append((len(self.worth), f"context_drift of {name}"))

    def _act(self, kind: str, arm: str) -> None:
        if arm == "learned" and kind == "value_fell":
            self.platform.fit()
        if kind in ("behind_fallback", "restored"):
            self.arm.fallen_back = kind == "behind_fallback"


def run(mishap: Mishap, seed: int) -> Run:
    """Play one run."""
    shop = Shop(seed)
    for first in range(0, BEFORE, ROUND):
        shop.round(first, honest)
    before, early = len(shop.worth), len(shop.notices)
    for first in range(BEFORE, BEFORE + WRONG, ROUND):
        shop.round(first, mishap)
    former = float(np.mean(shop.worth[before // 2 : before]))
    lost = 1 - float(np.mean(shop.worth[before:])) / former
    since = shop.notices[early:]
    kinds = ", ".join(dict.fromkeys(kind for _, kind in since)) or "-"
    noticed = since[0][0] - before if since else np.inf
    meanwhile = shop.worth[before:][: since[0][0] - before if since else None]
    cost = len(meanwhile) - sum(meanwhile) / former
    return Run(noticed, kinds + (" (and before)" if early else ""), cost, lost)


def measure(runs: int = 5) -> None:
    """Print a line for every mishap."""
    for name, mishap in MISHAPS.items():
        found = [run(mishap, seed) for seed in range(runs)]
        after, cost, lost = (sorted(getattr(each, part) for each in found) for part in ("noticed", "cost", "lost"))
        noticed = (
            f"noticed in {sum(np.isfinite(after))} of {runs}, after {after[runs // 2]:.0f} (at most {after[-1]:.0f})"
        )
        print(f"{name}: {noticed}, at the cost of {cost[runs // 2]:.0f} rewards (at most {cost[-1]:.0f})")
        print(f"    lost of 1,500 decisions {lost[runs // 2]:.1%} (at most {lost[-1]:.1%})")
        for each in sorted({each.by for each in found}):
            print(f"    {each}", flush=True)


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
