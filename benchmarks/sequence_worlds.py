"""Twelve worlds of known truth for `benchmarks.sequences`: logs whose value is known at every row.

Each world draws logs of independent runs. `value` holds, for each row, the mean reward of the target policy given the
past: what always-valid intervals bound is its running average. `possible` is the largest weight that any action of the
row could have had.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Generator = np.random.Generator


class Rows(NamedTuple):
    """Logs of several runs."""

    w: Floats
    """Weights, shape (runs, rows)."""
    r: Floats
    """Rewards in [0, 1], shape (runs, rows)."""
    possible: Floats
    """Largest possible weights, shape (runs, rows)."""
    value: Floats
    """The target's mean reward at each row, shape (rows,)."""


class World(NamedTuple):
    """A world: its name in the table, the length of its logs, and how to draw them."""

    name: str
    rows: int
    draw: Callable[[int, int, Generator], Rows]
    """Logs from the number of runs and of rows, and a generator."""


Rewards = Callable[[Floats, Generator], Floats]


def coins(mean: Floats, rng: Generator) -> Floats:
    """Rewards of 0 or 1 with these means, same shape."""
    return (rng.random(mean.shape) < mean).astype(np.float64)


def amounts(mean: Floats, rng: Generator) -> Floats:
    """Skewed rewards in [0, 1] with these means (at most 1/4): none with chance 1 - 4 mean, else a cubed uniform."""
    return np.where(rng.random(mean.shape) < 4 * mean, rng.random(mean.shape) ** 3, 0.0)


def fixed(
    logging: Floats, target: Floats, means: Callable[[int], Floats], rewards: Rewards = coins
) -> Callable[..., Rows]:
    """Logs of a fixed policy without contexts. `means` gives the mean rewards, shape (rows, actions)."""

    def draw(runs: int, rows: int, rng: Generator) -> Rows:
        table, ratio = means(rows), target / logging
        a = rng.choice(len(logging), size=(runs, rows), p=logging)
        mean = table[np.arange(rows)[None], a]
        possible = np.full((runs, rows), ratio.max())
        return Rows(ratio[a], rewards(mean, rng), possible, table @ target)

    return draw


def constant(*means: float) -> Callable[[int], Floats]:
    """The same mean rewards in all rows."""
    return lambda rows: np.tile(np.array(means), (rows, 1))


def _step(rows: int) -> Floats:
    """A base rate that jumps from .1 to .5 in the middle."""
    base = np.where(np.arange(rows) < rows // 2, 0.1, 0.5)
    return np.asarray(base[:, None] * np.array([0.8, 1.0, 1.2, 1.1]))


def _waves(rows: int) -> Floats:
    """A base rate that swings between .1 and .7, three times."""
    base = 0.4 + 0.3 * np.sin(np.arange(rows) / rows * 6 * np.pi)
    return np.asarray(base[:, None] * np.array([0.8, 1.0, 1.2, 1.1]))


def learner(runs: int, rows: int, rng: Generator) -> Rows:
    """Logs of epsilon-greedy with epsilon .2, which learns every hundred rows."""
    mu, target, batch = np.array([0.2, 0.35, 0.3, 0.5]), np.array([0.1, 0.2, 0.2, 0.5]), 100
    k = len(mu)
    n, s = np.zeros((runs, k)), np.zeros((runs, k))
    parts = []
    for start in range(0, rows, batch):
        mean = (s + 0.5) / (n + 1)
        best = mean == mean.max(axis=1, keepdims=True)
        p = 0.8 * best / best.sum(axis=1, keepdims=True) + 0.2 / k
        a = (rng.random((runs, min(batch, rows - start), 1)) > np.cumsum(p, axis=1)[:, None, :-1]).sum(axis=2)
        r, ratio = coins(mu[a], rng), target / p
        parts.append((np.take_along_axis(ratio, a, axis=1), r, np.broadcast_to(ratio.max(axis=1)[:, None], a.shape)))
        for arm in range(k):
            n[:, arm] += (a == arm).sum(axis=1)
            s[:, arm] += (r * (a == arm)).sum(axis=1)
    w, r, possible = (np.concatenate([part[index] for part in parts], axis=1) for index in range(3))
    return Rows(w, r, possible, np.full(rows, mu @ target))


def contexts(runs: int, rows: int, rng: Generator) -> Rows:
    """Logs of a policy that depends on one of five contexts, the rarest of which is seen in 2% of rows."""
    made = np.random.default_rng(11)
    mu = made.uniform(0.1, 0.7, (5, 4))
    logging, target = made.dirichlet(np.ones(4), 5) * 0.8 + 0.05, made.dirichlet(np.ones(4), 5)
    share = np.array([0.4, 0.3, 0.2, 0.08, 0.02])
    x = rng.choice(5, size=(runs, rows), p=share)
    a = (rng.random((runs, rows, 1)) > np.cumsum(logging, axis=1)[x][..., :-1]).sum(axis=2)
    ratio = target / logging
    value = float(share @ (target * mu).sum(axis=1))
    return Rows(ratio[x, a], coins(mu[x, a], rng), ratio.max(axis=1)[x], np.full(rows, value))


def _greedy() -> Callable[..., Rows]:
    """Epsilon-greedy with epsilon .05 over twelve actions; a quarter of the target's choices are explorations."""
    logging = np.full(12, 0.05 / 12)
    logging[0] += 0.95
    target = np.zeros(12)
    target[[0, 3]] = 0.75, 0.25
    return fixed(logging, target, constant(0.4, *np.linspace(0.2, 0.6, 11)))


def _of(*shares: float) -> Floats:
    return np.array(shares)


EVEN = _of(0.25, 0.25, 0.25, 0.25)
WORLDS = (
    World("uniform log, mild target", 5000, fixed(EVEN, _of(0.4, 0.3, 0.2, 0.1), constant(0.3, 0.4, 0.5, 0.2))),
    World("heavy weights: epsilon .05, 12 actions", 5000, _greedy()),
    World("rare rewards, 1%", 5000, fixed(EVEN, _of(0.1, 0.4, 0.1, 0.4), constant(0.008, 0.012, 0.006, 0.014))),
    World(
        "rewards near .95",
        5000,
        fixed(_of(0.4, 0.3, 0.1, 0.1, 0.1), _of(0.1, 0.2, 0.2, 0.2, 0.3), constant(0.96, 0.94, 0.95, 0.93, 0.97)),
    ),
    World("a learner's log", 4000, learner),
    World("five contexts", 4000, contexts),
    World("base rate steps from .1 to .5", 4000, fixed(EVEN, _of(0.1, 0.2, 0.5, 0.2), _step)),
    World("base rate in waves", 4000, fixed(_of(0.1, 0.2, 0.3, 0.4), _of(0.4, 0.3, 0.2, 0.1), _waves)),
    World(
        "target near the logging policy",
        3000,
        fixed(_of(0.3, 0.4, 0.3), _of(0.28, 0.4, 0.32), constant(0.3, 0.4, 0.5)),
    ),
    World(
        "skewed amounts",
        4000,
        fixed(_of(0.4, 0.3, 0.1, 0.2), _of(0.2, 0.2, 0.4, 0.2), constant(0.07, 0.12, 0.2, 0.1), amounts),
    ),
    World(
        "target takes one action of six",
        4000,
        fixed(np.full(6, 1 / 6), np.eye(6)[4], constant(0.3, 0.4, 0.5, 0.2, 0.35, 0.3)),
    ),
    World(
        "a weight of 100 in one row of 10,000",
        5000,
        fixed(_of(0.4999, 0.3, 0.2, 0.0001), _of(0.4, 0.3, 0.29, 0.01), constant(0.3, 0.4, 0.5, 0.6)),
    ),
)
