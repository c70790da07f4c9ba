"""The earnings of slates and lists compared with simpler learners, simulated: python -m benchmarks.slates_lists [seeds]

Everything decides and learns as the service does: keyed draws, the exploration floor, rounds that learn in order. Each
learner meets the same people; the figures are means over seeds with their standard errors. The last table has the earnings
of each algorithm after 4,000 decisions of a uniform log, which show why cover is refused for slates.
"""

import itertools
import math
import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from bandits.distribution import draw, sample
from bandits.encoding import encode_action, encode_context
from bandits.examples import Example
from bandits.model import Predictor, distribution, initial_model, learn
from bandits.parameters import ALGORITHMS, NOT_FOR_SLATES
from bandits.policy import BanditPolicy

SLOTS, PARTS = 3, 5  # 125 combinations
MOODS = ("curious", "tired", "hurried", "new")
ITEMS, POSITIONS, TASTES = 12, 4, ("news", "sport", "music", "travel")
PARAMETERS = {"bits": 16}


class Mean(NamedTuple):
    """A mean over seeds."""

    value: float
    std_error: float


class Learner:
    """A policy that learns in rounds, as an arm does."""

    def __init__(self, policy: BanditPolicy) -> None:
        self._policy = policy
        self._model = initial_model(policy)
        self._predictor: Predictor | None = None
        self._round: list[Example] = []

    def distribution(self, shared: str, lines: Sequence[str], ids: Sequence[str]) -> list[float]:
        """The distribution to draw from now."""
        chances: list[float] = distribution(self._policy, self._predictor, shared, lines, ids).tolist()
        return chances

    def remember(self, shared: str, lines: Sequence[str], p: list[float], chosen: int, reward: float) -> None:
        """Keep one outcome for the next round."""
        chances = p if self._policy.slates else None
        self._round.append(Example(shared, list(lines), chosen, p[chosen], 1 - reward, chances))

    def end_round(self) -> None:
        """Learn the kept outcomes."""
        self._model = learn(self._model, self._policy, self._round)
        self.close()
        self._predictor, self._round = Predictor(self._model, self._policy), []

    def close(self) -> None:
        """Free the model's memory."""
        if self._predictor is not None:
            self._predictor.close()


COMBINATIONS = list(itertools.product(range(PARTS), repeat=SLOTS))
IDS = ["|".join(f"s{slot}=p{part}" for slot, part in enumerate(parts)) for parts in COMBINATIONS]
AS_PARTS = [" ".join(encode_action(f"s{s}=p{p}") for s, p in enumerate(parts)) for parts in COMBINATIONS]
AS_WHOLES = [encode_action(name) for name in IDS]


def composed_world(seed: int) -> dict[tuple[str, tuple[int, ...]], float]:
    """Chance of a click by mood and combination: each part adds something, and a tenth is the combination's own."""
    generator = random.Random(f"world {seed}")
    world = {}
    for mood in MOODS:
        part = [[generator.random() for _ in range(PARTS)] for _ in range(SLOTS)]
        for parts in COMBINATIONS:
            fit = sum(part[slot][part_index] for slot, part_index in enumerate(parts)) / SLOTS
            world[mood, parts] = 0.8 * fit**2 + 0.1 * generator.random()
    return world


def play_composed(seed: int, policy: BanditPolicy, lines: list[str], decisions: int, contextual: bool = True) -> float:
    """Clicks per message over the whole run."""
    world, generator = composed_world(seed), random.Random(f"people {seed}")
    learner, clicks = Learner(policy), 0.0
    for index in range(decisions):
        mood = generator.choice(MOODS)
        shared = encode_context({"mood": mood} if contextual else {})
        p = learner.distribution(shared, lines, IDS)
        chosen = sample(p, draw(b"slates", f"{seed}/{index}"))
        reward = float(generator.random() < world[mood, COMBINATIONS[chosen]])
        clicks += reward
        learner.remember(shared, lines, p, chosen, reward)
        if index % 100 == 99:
            learner.end_round()
    learner.close()
    return clicks / decisions


ITEM_IDS = [f"item{number}" for number in range(ITEMS)]
ITEM_LINES = [encode_action(name) for name in ITEM_IDS]


def list_world(seed: int) -> dict[tuple[str, int], float]:
    """Chance of a click by taste and item; each taste likes its own few."""
    generator = random.Random(f"shelf {seed}")
    return {
        (taste, item): 0.05 + (0.5 * generator.random() if item % len(TASTES) == index else 0.1 * generator.random())
        for index, taste in enumerate(TASTES)
        for item in range(ITEMS)
    }


def play_lists(seed: int, policy: BanditPolicy, lists: int, contextual: bool = True) -> float:
    """Clicks per list over the whole run; lower positions are seen less."""
    world, generator = list_world(seed), random.Random(f"readers {seed}")
    learner, clicks = Learner(policy), 0.0
    for index in range(lists):
        taste = generator.choice(TASTES)
        left = list(range(ITEMS))
        for position in range(1, POSITIONS + 1):
            context = {"taste": taste} if contextual else {}
            shared = encode_context({**context, "position": str(position)})
            lines, ids = [ITEM_LINES[item] for item in left], [ITEM_IDS[item] for item in left]
            p = learner.distribution(shared, lines, ids)
            chosen = sample(p, draw(b"lists", f"{seed}/{index}#{position}"))
            reward = float(generator.random() < world[taste, left[chosen]] * 0.85 ** (position - 1))
            clicks += reward
            learner.remember(shared, lines, p, chosen, reward)
            del left[chosen]
        if index % 50 == 49:
            learner.end_round()
    learner.close()
    return clicks / lists


EASY_BEST = {("a", 0): 1, ("a", 1): 2, ("b", 0): 0, ("b", 1): 0}  # by mood and slot
EASY = list(itertools.product(range(2), range(3)))


def uniform_log(algorithm: str, seed: int, slates: bool, decisions: int = 4000) -> float:
    """The value of a model that learned from a uniform log of an easy world: 0.9 at best, 0.433 at random."""
    policy = BanditPolicy(algorithm, PARAMETERS, 0.001)
    object.__setattr__(policy, "slates", slates)  # without the check of algorithms, to show why it refuses some
    lines = [" ".join(encode_action(f"s{s}=p{p}") for s, p in enumerate(parts)) for parts in EASY]
    if not slates:
        lines = [encode_action(str(parts)) for parts in EASY]
    worth = {
        (mood, parts): 0.1 + 0.4 * sum(EASY_BEST[mood, slot] == part for slot, part in enumerate(parts))
        for mood in "ab"
        for parts in EASY
    }
    even, generator, examples = [1 / len(EASY)] * len(EASY), random.Random(f"log {seed}"), []
    for _ in range(decisions):
        mood, chosen = generator.choice("ab"), generator.randrange(len(EASY))
        cost = float(generator.random() >= worth[mood, EASY[chosen]])
        examples.append(Example(encode_context({"mood": mood}), lines, chosen, even[chosen], cost, even))
    predictor = Predictor(learn(initial_model(policy), policy, examples), policy)
    total = 0.0
    for mood in "ab":
        p = distribution(policy, predictor, encode_context({"mood": mood}), lines, list(map(str, EASY)))
        total += sum(float(x) * worth[mood, parts] for x, parts in zip(p, EASY, strict=True)) / 2
    predictor.close()
    return total


def over(seeds: int, play: Callable[[int], float]) -> Mean:
    """The mean over seeds 0, 1, ... with its standard error."""
    return mean_of([play(seed) for seed in range(seeds)])


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of independent values, with its standard error."""
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return Mean(mean, math.sqrt(spread / len(values)))


def learner_of(slates: bool, algorithm: str = "squarecb") -> BanditPolicy:
    """The same algorithm with the same parameters, over slots or over whole actions."""
    return BanditPolicy(algorithm, PARAMETERS, 0.05, slates)


COMPOSED: dict[str, tuple[BanditPolicy, list[str], bool]] = {
    "slates": (learner_of(True), AS_PARTS, True),
    "slates, context ignored": (learner_of(True), AS_PARTS, False),
    "one action per combination": (learner_of(False), AS_WHOLES, True),
    "one action per combination, parts as its features": (learner_of(False), AS_PARTS, True),
}


def main(arguments: list[str]) -> None:
    """Print every table."""
    seeds = int(arguments[0]) if arguments else 20

    def show(name: Any, mean: Mean) -> None:
        print(f"  {name:<55}{mean.value:.3f} (se {mean.std_error:.3f})", flush=True)

    for decisions in (500, 1000, 2000, 4000):
        print(f"clicks per message, {decisions} decisions among {len(IDS)} combinations, {seeds} seeds")
        for name, (policy, lines, contextual) in COMPOSED.items():
            parameters: dict[str, Any] = {
                "policy": policy,
                "lines": lines,
                "decisions": decisions,
                "contextual": contextual,
            }
            show(name, over(seeds, partial(play_composed, **parameters)))
    for lists in (250, 500, 1000):
        print(f"clicks per list of {POSITIONS} out of {ITEMS}, {lists} lists, {seeds} seeds")
        for name, contextual in (("list", True), ("list, context ignored", False)):
            show(name, over(seeds, partial(play_lists, policy=learner_of(False), lists=lists, contextual=contextual)))
    print(f"worth of what was learned from 4,000 uniform decisions in an easy world (0.433 to 0.9), {seeds} seeds")
    for algorithm in ALGORITHMS:
        refused = ", refused" if algorithm in NOT_FOR_SLATES else ""
        show(f"{algorithm}: slates{refused}", over(seeds, partial(uniform_log, algorithm, slates=True)))
        show(f"{algorithm}: one action per combination", over(seeds, partial(uniform_log, algorithm, slates=False)))


if __name__ == "__main__":
    main(sys.argv[1:])
