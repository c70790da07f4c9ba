"""Plays worlds through the services of a running or stopped `loopwise up`, or of the servers that the environment names."""

import time
from pathlib import Path

import numpy as np

from app.commands.shared import servers
from app.deciding.runtime import start
from app.simulation.claims import watch
from app.simulation.live import Stack, check, play_live
from app.simulation.report import Simulation
from app.simulation.simulate import answer
from app.simulation.world import World

WINDOW_S = 10.0  # of the reward; every look waits so long
MARGIN_S = 0.5


def play(data_dir: Path, worlds: list[tuple[str, World]], runs: int, seed: int) -> list[Simulation]:
    """Play each world; a run of a world makes one experiment."""
    for _, world in worlds:
        check(world)
    with servers(data_dir) as settings:
        runtime = start(settings, bound_waits=False)
        try:
            stack = Stack(runtime, WINDOW_S, lambda _: time.sleep(WINDOW_S + MARGIN_S))
            return [_play(stack, name, world, runs, seed) for name, world in worlds]
        finally:
            runtime.stop()


def _play(stack: Stack, name: str, world: World, runs: int, seed: int) -> Simulation:
    watched = [
        watch(world, play_live(stack, world, name, np.random.default_rng(sequence)))
        for sequence in np.random.SeedSequence(seed).spawn(runs)
    ]
    return answer(world, watched, name=name, seed=seed, live=True)
