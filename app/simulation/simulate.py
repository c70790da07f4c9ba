"""Plays a world many times and counts how often each claim was right. The same seed gives the same figures."""

from collections.abc import Callable, Iterator

import numpy as np

from app.simulation.claims import Watched, table, watch
from app.simulation.course import course_of
from app.simulation.player import play
from app.simulation.report import Simulation
from app.simulation.world import World

MAX_RUNS = 100_000


def simulate(
    world: World, *, name: str, runs: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> Simulation:
    """Play a world.

    :param progress: told how many runs of how many are done.
    """
    watched = []
    for number, run in enumerate(_runs(world, runs, seed), start=1):
        watched.append(run)
        if progress is not None:
            progress(number, runs)
    return answer(world, watched, name=name, seed=seed)


def answer(world: World, watched: list[Watched], *, name: str, seed: int, live: bool = False) -> Simulation:
    """The table of all runs."""
    return Simulation(
        world=name,
        about=world.about,
        runs=len(watched),
        seed=seed,
        looks=len(course_of(world).ends),
        units=world.units,
        live=live,
        claims=table(world, watched),
    )


def _runs(world: World, runs: int, seed: int) -> Iterator[Watched]:
    course = course_of(world)
    for sequence in np.random.SeedSequence(seed).spawn(runs):
        yield watch(world, play(course, np.random.default_rng(sequence)))
