"""python -m benchmarks.targets [runs]: does the share over a window follow its target, however old the counts are?

One arm decides among three groups; by itself it would give the small group 1%. The target is 10% of the newest 1,000 decisions.
The counts are read again after so many decisions, and are then so many decisions old. Each line is over `runs` logs of
20,000 decisions: the mean share of the small group over all windows after the first 2,000 decisions, the spread (standard
deviation) over windows, and the smallest share of a window. "In every decision" is the same bound without a window. Worlds:

- plain: the small group may be drawn in every decision;
- absent: it is away for 3,000 decisions; shares are those from 1,000 decisions after its return;
- half: it may be drawn in every second decision, so it needs 20% there;
- rare: it may be drawn in 3% of decisions, where a third of each is the most that it gets;
- ramp: decisions come four times as fast in the second half, so counts are four times as many decisions old.
"""

import argparse
from typing import NamedTuple

import numpy as np

from bandits.encoding import encode_action
from bandits.exposure import Counts, Exposure, constrained

LINES = [encode_action(name, {"supplier": name}) for name in ("small", "middle", "large")]
OWN = np.array([0.01, 0.29, 0.7])
DECISIONS, WARM_UP, WINDOW, TARGET = 20_000, 2_000, 1_000, 0.1
AWAY = (8_000, 11_000)
WORLDS = {"plain": 1.0, "absent": 1.0, "half": 0.5, "rare": 0.03, "ramp": 1.0}
LATE = [(10, 0), (100, 50), (500, 200), (1_000, 300), (3_000, 500)]  # read every, and then so old
WINDOWED, PLAIN = Exposure("supplier", TARGET, window=WINDOW), Exposure("supplier", TARGET)


class Shares(NamedTuple):
    """The share of the small group over the windows of one log."""

    mean: float
    spread: float
    smallest: float


def play(random: np.random.Generator, world: str, exposure: Exposure, every: int, old: int) -> Shares:
    """One log."""
    drawn = np.zeros((DECISIONS + 1, 3), dtype=np.int64)  # sums
    could = np.zeros(DECISIONS + 1, dtype=np.int64)  # sums, of the small group
    seen: tuple[int, Counts | None] = (0, None)
    possible = random.random(DECISIONS) < WORLDS[world]
    if world == "absent":
        possible[AWAY[0] : AWAY[1]] = False
    uniform = random.random(DECISIONS)
    for n in range(DECISIONS):
        slower = 4 if world == "ramp" and n > DECISIONS // 2 else 1
        if n % (every * slower) == 0:
            end = max(0, n - old * slower)
            start = max(0, end - WINDOW)
            seen = (
                end,
                Counts(
                    end - start,
                    (drawn[end] - drawn[start]).tolist(),
                    [could[end] - could[start], *[end - start] * 2],
                    0.0,
                ),
            )
        at, counts = seen
        assert counts is not None
        late = counts._replace(lag=(n - at) / max(1, counts.decisions))
        offered = [0, 1, 2] if possible[n] else [1, 2]
        chances = OWN[offered] / OWN[offered].sum()
        drew, able = ([row[group] for group in offered] for row in (late.groups, late.eligible))
        own = Counts(late.decisions, drew, [int(count) for count in able], late.lag)
        moved = constrained(chances, [LINES[group] for group in offered], exposure, own)
        chosen = offered[int(np.searchsorted(np.cumsum(moved), uniform[n] * moved.sum()))]
        drawn[n + 1], could[n + 1] = drawn[n], could[n] + (len(offered) == 3)
        drawn[n + 1, chosen] += 1
    begin = AWAY[1] + 2 * WINDOW if world == "absent" else WARM_UP
    small = drawn[:, 0]
    shares = (small[begin + WINDOW :] - small[begin:-WINDOW]) / WINDOW
    return Shares(float(shares.mean()), float(shares.std()), float(shares.min()))


def over(runs: int, seed: int, world: str, exposure: Exposure, late: tuple[int, int]) -> Shares:
    """The means of `Shares` over several logs."""
    logs = [play(np.random.default_rng([seed, run]), world, exposure, *late) for run in range(runs)]
    return Shares(*(float(value) for value in np.mean(logs, axis=0)))


def main() -> None:
    """Print one line for each world and age of the counts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="?", type=int, default=10)
    runs = parser.parse_args().runs
    print(f"{'world':8} {'read every':>10} {'old':>5} {'mean':>7} {'spread':>7} {'smallest':>8}")
    for world in WORLDS:
        for late in LATE if world in {"plain", "ramp"} else LATE[1:2]:
            line = over(runs, 1, world, WINDOWED, late)
            print(
                f"{world:8} {late[0]:10} {late[1]:5} {line.mean:7.2%} {line.spread:7.2%} {line.smallest:8.2%}",
                flush=True,
            )
        line = over(runs, 1, world, PLAIN, LATE[0])
        words = "in every decision"
        print(f"{world:8} {words:>16} {line.mean:7.2%} {line.spread:7.2%} {line.smallest:8.2%}", flush=True)


if __name__ == "__main__":
    main()
