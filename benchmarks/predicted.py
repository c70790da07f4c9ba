"""python -m benchmarks.predicted [RUNS]: can the log of `auto` still value another policy?

In each run a policy decides and learns 400 times in a world of three actions. From that log alone the value of another policy
is predicted, doubly robust, with predictions of rewards from earlier rounds only; that policy is also played. Prediction and
play agree if the 95% interval of their difference covers 0. The other policy takes the best action four times of five, and
each other one once in ten. Largest weights are those of the other policy on the log, at equal floors.
"""

import sys
from typing import NamedTuple

import numpy as np

from bandits.distribution import FloatArray
from bandits.policy import BanditPolicy, parse_policy
from benchmarks.play import Call, Platform
from experiments.off_policy import unit_sums
from experiments.validation import IntArray

PAYS = np.array([[0.2, 0.6, 0.3], [0.5, 0.2, 0.3]])  # by group and action
TARGET = np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
NAMES = ("a", "b", "c")
DECISIONS, ROUND = 400, 100
WEAK = 4.0  # decisions that a mean of earlier rewards begins with
ALPHA = 0.05


class Logged(NamedTuple):
    """What a policy decided, shape (n,) each."""

    group: IntArray
    chosen: IntArray
    reward: FloatArray
    propensity: FloatArray


def collect(policy: BanditPolicy, seed: int, decisions: int = DECISIONS) -> Logged:
    """The log of a policy that learns in rounds, and is fitted from nothing when it wants to be."""
    platform, random = Platform(policy), np.random.default_rng(seed)
    group = random.integers(2, size=decisions)
    chosen, reward, propensity = np.zeros(decisions, dtype=np.int64), np.zeros(decisions), np.zeros(decisions)
    for first in range(0, decisions, ROUND):
        examples = []
        for row in range(first, min(first + ROUND, decisions)):
            call = Call({"group": f"g{group[row]}", "age": float(random.normal(40, 12))}, NAMES)
            chosen[row], example = platform.decide(call, float(random.random()))
            reward[row] = random.random() < PAYS[group[row], chosen[row]]
            propensity[row] = example.propensity
            examples.append(example._replace(cost=1.0 - reward[row]))
        platform.learn(examples)
    return Logged(group, chosen, reward, propensity)


def weights(log: Logged) -> FloatArray:
    """The other policy's importance weights on a log, shape (n,)."""
    return np.asarray(TARGET[log.group, log.chosen] / log.propensity)


def agrees(log: Logged, seed: int) -> bool:
    """Whether the value that a log predicts for the other policy, and what it earns when it is played, agree."""
    n, random = len(log.reward), np.random.default_rng(seed + 10**6)
    group = random.integers(2, size=n)
    chosen = (random.random(n)[:, None] > TARGET[group].cumsum(axis=1)).sum(axis=1)
    played = (random.random(n) < PAYS[group, chosen]).astype(np.float64)
    everyone = np.arange(n)
    predicted = unit_sums.mean_sums(_contributions(log), everyone)
    return unit_sums.independent_difference(predicted, unit_sums.mean_sums(played, everyone), ALPHA).covers(0.0)


def _contributions(log: Logged) -> FloatArray:
    out, w = np.zeros(len(log.reward)), weights(log)
    sums, counts = np.full((2, 3), WEAK * 0.35), np.full((2, 3), WEAK)
    for first in range(0, len(out), ROUND):
        rows = slice(first, first + ROUND)
        means = sums / counts
        group, chosen, reward = log.group[rows], log.chosen[rows], log.reward[rows]
        value = (TARGET[group] * means[group]).sum(axis=1)
        out[rows] = value + w[rows] * (reward - means[group, chosen])
        np.add.at(sums, (group, chosen), reward)
        np.add.at(counts, (group, chosen), 1.0)
    return out


def bandit(**members: object) -> BanditPolicy:
    """A bandit's policy."""
    parsed = parse_policy({"type": "bandit", **members})
    assert isinstance(parsed, BanditPolicy)
    return parsed


def measure(runs: int = 200) -> None:
    """Print the share of runs that agree, and the largest weights."""
    kinds = {
        "auto": bandit(),
        "auto, floor 0.05": bandit(exploration_floor=0.05),
        "squarecb, floor 0.05": bandit(algorithm="squarecb"),
    }
    print("| policy that made the log | agree | largest weight of a run: mean | 95% |\n|---|---|---|---|")
    for name, policy in kinds.items():
        logs = [collect(policy, seed) for seed in range(runs)]
        share = np.mean([agrees(log, seed) for seed, log in enumerate(logs)])
        largest = [float(weights(log).max()) for log in logs]
        print(f"| {name} | {share:.1%} | {np.mean(largest):.1f} | {np.quantile(largest, 0.95):.1f} |", flush=True)


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:2]))
