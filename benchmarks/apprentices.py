"""python -m benchmarks.apprentices [runs]: how fast an apprentice imitates, and what it earns once it is switched on.

The world: six kinds of contexts, five actions, and what each pays on each kind, drawn anew in every run from .05 to .3, or from
.005 to .03. The app's own rule takes the best action on some kinds and the second or third best on the others. An arm is an
apprentice for the first decisions, learning in rounds of 100, and is then switched on. "Agreement" is its mean probability of
what was shown, over the last 300 of these, each before it was learned. "Earned" is the mean of what its choices pay, as a share
of what the app's rule pays, in the first 500 decisions after the switch and in the last 500. "Cold" has learned nothing before.

The rows of an apprentice differ in the chance with which the action that was shown stands in an example (`bandits.imitation`).
"""

import argparse
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from bandits import imitation
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.imitation import imitated
from bandits.model import Predictor, distribution, initial_model, learn_onwards
from bandits.model import learn as learn_round
from bandits.policy import BanditPolicy, parse_policy

KINDS, ACTIONS, ROUND, PART = 6, 5, 100, 500
IDS = [f"a{index}" for index in range(ACTIONS)]
LINES = [encode_action(name) for name in IDS]
WORLDS = {"0.05 to 0.3": (0.05, 0.3, 1000, 3000), "0.005 to 0.03": (0.005, 0.03, 3000, 1000)}


class Run(NamedTuple):
    """What one run gave."""

    agreement: float
    first: float  # earned in the first 500 decisions after the switch, as a share of what the rule pays
    last: float
    best: float  # that is possible


def run(algorithm: str, shown: float | None, world: str, seed: int) -> Run:
    """One apprentice.

    :param shown: the chance of the action that was shown in its examples; None: it learns nothing before the switch.
    """
    low, high, before, after = WORLDS[world]
    rng = np.random.default_rng(seed)
    pays = rng.uniform(low, high, (KINDS, ACTIONS))
    ranks = np.argsort(-pays, axis=1)
    rule = np.array([ranks[kind, rng.choice(3, p=[0.4, 0.3, 0.3])] for kind in range(KINDS)])
    policy = parse_policy({"type": "bandit", "algorithm": algorithm, "scaling": algorithm == "squarecb"})
    assert isinstance(policy, BanditPolicy)
    model, predictor, log = initial_model(policy), None, list[Example]()
    agreement, earned = list[float](), list[float]()
    for number in range(before + after):
        if number % ROUND == 0 and log:
            model = _next(model, policy, log)
            predictor = Predictor(model, policy)
        kind = int(rng.integers(KINDS))
        others = [int(index) for index in rng.permutation(ACTIONS) if index != rule[kind]]
        order, shared = [int(rule[kind]), *others], encode_context({"kind": f"k{kind}"})
        lines = [LINES[index] for index in order]
        chances = distribution(policy, predictor, shared, lines, [IDS[index] for index in order])
        chosen = int(rng.choice(ACTIONS, p=chances)) if number >= before else 0
        reward = float(rng.random() < pays[kind, order[chosen]])
        if number >= before:
            earned.append(float(pays[kind, order[chosen]]))
            log.append(Example(shared, lines, chosen, float(chances[chosen]), 1.0 - reward))
        elif shown is not None:
            agreement.append(float(chances[0]))
            with patch.object(imitation, "SHOWN", shown):
                log.append(imitated(Example(shared, lines, 0, 1.0, 1.0 - reward), f"{seed}-{number}"))
    usual = float(pays[np.arange(KINDS), rule].mean())
    first, last = (float(np.mean(part)) / usual for part in (earned[:PART], earned[-PART:]))
    imitated_as = float(np.mean(agreement[-300:])) if agreement else np.nan
    return Run(imitated_as, first, last, float(pays.max(axis=1).mean()) / usual)


def _next(model: bytes, policy: BanditPolicy, log: list[Example]) -> bytes:
    new = min(ROUND, len(log))
    return learn_onwards(model, policy, log, new) if policy.rebuilds else learn_round(model, policy, log[-new:])


def main(runs: int) -> None:
    """Print one line for each world, algorithm and way of imitating."""
    print(f"{'pays':<16}{'algorithm':<12}{'shown':>7}{'agreement':>11}{'first 500':>11}{'last 500':>10}{'best':>7}")
    for world in WORLDS:
        for algorithm in ("auto", "squarecb"):
            for shown in (0.5, 0.75, 0.9, None):
                mean = np.mean([run(algorithm, shown, world, seed) for seed in range(runs)], axis=0)
                name = "cold" if shown is None else f"{shown:g}"
                print(
                    f"{world:<16}{algorithm:<12}{name:>7}{mean[0]:>11.2f}{mean[1]:>11.2f}{mean[2]:>10.2f}{mean[3]:>7.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int, nargs="?", default=5)
    main(parser.parse_args().runs)
