"""python -m benchmarks.slot_values: are the values of the parts of composed messages honest on the log of a learner?

The world: units return; a message has a subject (hello, news) and a tone (warm, brisk, dry). "news" earns 0.2 more, "brisk" 0.1
more, and with --together news and dry 0.2 more only together. A unit's arm is drawn once: every combination alike (.4), or a
learner (.6), which after each of 20 batches takes the best combination so far, with a floor of .05. The truth of a part is its
mean over all rows, had its slot always had it and the other slot what it had together with it. "Value" says how often 95%
intervals for one look hold the truth, "difference" the same of intervals for every look, "refused" how many parts have none,
and "marked" in how many runs some part is marked: with --alike, where all parts are alike, these are false alarms.
"""

import argparse

import numpy as np
import numpy.typing as npt

from app.reporting.slots import parts
from experiments.off_policy.by_value import Log

Floats = npt.NDArray[np.float64]
BATCHES, FLOOR, LEARNER, SEED = 20, 0.05, 0.6, 5
SUBJECTS, TONES = ("hello", "news"), ("warm", "brisk", "dry")
IDS = [f"subject={subject}|tone={tone}" for subject in SUBJECTS for tone in TONES]
K = len(IDS)


def means(*, alike: bool, together: bool) -> Floats:
    """The chance of a reward of each combination."""
    if alike:
        return np.full(K, 0.3)
    base = np.array(
        [0.2 + 0.2 * (subject == "news") + 0.1 * (tone == "brisk") for subject in SUBJECTS for tone in TONES]
    )
    return base + (0.2 * np.array([name == "subject=news|tone=dry" for name in IDS]) if together else 0.0)


def draw(world: Floats, rows: int, units: int, random: np.random.Generator) -> Log:
    """A log of a world."""
    unit = random.integers(0, units, rows)
    learner = random.random(units)[unit] < LEARNER
    part = np.arange(rows) * BATCHES // rows
    logged, chosen, reward = np.zeros((rows, K)), np.zeros(rows, dtype=np.int64), np.zeros(rows)
    predictions, total, count = np.full((rows, K), 0.3), np.full(K, 0.3), np.ones(K)
    for number in range(BATCHES):
        here = np.flatnonzero(part == number)
        best = FLOOR / K + (1 - FLOOR) * np.eye(K)[int(np.argmax(total / count))] if number else np.full(K, 1 / K)
        logged[here] = LEARNER * best + (1 - LEARNER) / K
        predictions[here] = total / count
        own = np.where(learner[here, None], best, 1 / K)
        chosen[here] = (own.cumsum(axis=1) < random.random((len(here), 1))).sum(axis=1).clip(max=K - 1)
        reward[here] = random.random(len(here)) < world[chosen[here]]
        np.add.at(total, chosen[here], reward[here])
        np.add.at(count, chosen[here], 1.0)
    return Log(logged, predictions, chosen, reward, unit, part, (0.0, 1.0))


def main() -> None:
    """Play the runs, and print a line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--rows", type=int, default=3000)
    options.add_argument("--units", type=int, default=800)
    options.add_argument("--alike", action="store_true")
    options.add_argument("--together", action="store_true")
    given = options.parse_args()
    world, random = means(alike=given.alike, together=given.together), np.random.default_rng(SEED)
    value, difference, refused, marked = list[bool](), list[bool](), list[bool](), 0
    for _ in range(given.runs):
        log = draw(world, given.rows, given.units, random)
        reports = parts.of_log(log, [IDS] * given.rows)
        for slot in reports:
            for line in slot.parts:
                mask = np.array([f"{slot.slot}={line.part}" in name.split("|") for name in IDS])
                inside = np.where(mask, log.logged, 0.0)
                truth = float(((inside / inside.sum(axis=1, keepdims=True)) @ world).mean())
                usual = float((log.logged @ world).mean())
                refused.append(line.interval.low is None)
                if line.interval.low is not None and line.interval.high is not None:
                    value.append(line.interval.low <= truth <= line.interval.high)
                ends = line.difference_interval
                if ends.low is not None and ends.high is not None:
                    difference.append(ends.low <= truth - usual <= ends.high)
        marked += any(line.differs for slot in reports for line in slot.parts)
    print(
        f"{given.rows:,} rows, {given.units:,} units: value {np.mean(value):.1%}, difference {np.mean(difference):.1%}, "
        f"refused {np.mean(refused):.1%}, marked {marked / given.runs:.1%} of {given.runs} runs"
    )


if __name__ == "__main__":
    main()
