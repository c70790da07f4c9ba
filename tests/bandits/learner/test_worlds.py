"""Small twins of the worlds of `python -m benchmarks learning_quality`: what `auto` earns from uniform (0) to best (1)."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.learning_quality import OURS, World, logistic, shares, world


def _come_and_go(seed: int) -> World:
    contexts, chances = logistic(1200, 4, 0.3, seed)
    chances[:500, 3] = chances[900:, 0] = np.nan
    return world(contexts, chances, lambda _: {}, (650, 900), (900, 1200))


def _millions(seed: int) -> World:
    random = np.random.default_rng(seed)
    numbers, revenue = random.integers(10**6, 9 * 10**6, 900), np.exp(random.normal(8, 3, 900))
    more = lambda row: {"account": int(numbers[row]), "revenue": float(revenue[row])}  # noqa: E731
    return world(*logistic(900, 3, 0.3, seed), more, (450, 900))


def _useless(seed: int) -> World:
    noise = np.random.default_rng(seed).standard_normal((1500, 30)).round(3)
    more = lambda row: {f"z{place}": float(v) for place, v in enumerate(noise[row])}  # noqa: E731
    return world(*logistic(1500, 3, 0.3, seed), more, (1000, 1500))


# A world's seed and half of what is earned there, so that rounding on another machine changes no verdict.
TWINS: dict[str, tuple[Callable[[int], World], int, float]] = {
    "clicks 2%": (lambda seed: world(*logistic(3000, 3, 0.02, seed, 2.0), lambda _: {}, (1500, 3000)), 2, 0.5),
    "clicks 90%": (lambda seed: world(*logistic(900, 3, 0.9, seed), lambda _: {}, (450, 900)), 3, 0.4),
    "40 actions": (lambda seed: world(*logistic(1600, 40, 0.2, seed), lambda _: {}, (1000, 1600)), 1, 0.4),
    "millions": (_millions, 3, 0.4),
    "useless": (_useless, 2, 0.4),
    "come and go": (_come_and_go, 1, 0.4),
    "delayed": (lambda seed: world(*logistic(2000, 3, 0.3, seed), lambda _: {}, (1500, 2000)), 1, 0.3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_it_earns_most_of_what_could_be_earned(name: str) -> None:
    make, seed, least = TWINS[name]
    found = shares(name, make(seed), OURS["auto"], seed)
    assert min(found) > least, found
