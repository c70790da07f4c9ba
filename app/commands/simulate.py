"""`loopwise simulate`: play a world whose truth is known, and print how often each claim of the product was right."""

import json
import sys
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.commands.shared import Command, data_dir_option, progress
from app.simulation import world_files
from app.simulation.report import ClaimLine, Simulation
from app.simulation.simulate import MAX_RUNS, simulate
from app.simulation.world import World
from app.simulation.world_files import WorldRefused

BAD_INPUT = 2
RUNS = 500


@click.command("simulate", cls=Command)
@data_dir_option
@click.argument("worlds", metavar="[WORLD]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All worlds that come with Loopwise.")
@click.option("--list", "listed", is_flag=True, help="List the worlds that come with Loopwise.")
@click.option("--runs", type=click.IntRange(1, MAX_RUNS), help=f"How often; default {RUNS}, with --live 1.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed, the same figures.")
@click.option(
    "--live", is_flag=True, help="Play through the services of a running Loopwise; leaves experiments behind."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    data_dir: Path,
    worlds: tuple[str, ...],
    every: bool,
    listed: bool,
    runs: int | None,
    seed: int,
    live: bool,
    as_json: bool,
) -> None:
    """Play a WORLD whose truth is known, and count how often each claim of the product is right.

    WORLD is a name from --list, or a .toml or .json file of your own; docs/simulate.md explains the format. Without
    --live everything happens in memory, and no server is needed.
    """
    try:
        if listed:
            _list()
            return
        loaded = [(name, world_files.load(name)) for name in _chosen(worlds, every)]
        answers = (
            _live(data_dir, loaded, runs or 1, seed)
            if live
            else [_play(*world, runs or RUNS, seed) for world in loaded]
        )
    except WorldRefused as error:
        _fail(error)
    if as_json:
        documents = [document(answer) for answer in answers]
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents, allow_nan=False))
    else:
        show(answers)


def _chosen(worlds: tuple[str, ...], every: bool) -> list[str]:
    chosen = world_files.names() if every else list(worlds)
    if not chosen:
        raise WorldRefused(f"name a world: {', '.join(world_files.names())}, or a .toml or .json file.")
    return chosen


def document(answer: Simulation) -> dict[str, object]:
    """The answer as JSON, with the share of each claim."""
    claims = [line.model_dump(mode="json") | {"share": line.share} for line in answer.claims]
    return answer.model_dump(mode="json") | {"claims": claims}


def show(answers: list[Simulation]) -> None:
    """Print a table for each world."""
    console = Console(width=None if sys.stdout.isatty() else 150)
    for answer in answers:
        console.print(table(answer))


def table(answer: Simulation) -> Table:
    """One line per claim."""
    how = "through the services" if answer.live else f"seed {answer.seed}"
    title = f"{answer.world}: {answer.units:,} units, {answer.looks} looks, {answer.runs} runs, {how}\n{answer.about}"
    shown = Table(title=escape(title), title_justify="left")
    for heading in ("claim", "metric, arm", "right", "of", "share", "level", "", "note"):
        shown.add_column(heading, justify="right" if heading in ("right", "of", "share", "level") else "left")
    for line in answer.claims:
        shown.add_row(*(escape(cell) for cell in _cells(line)))
    return shown


def _cells(line: ClaimLine) -> list[str]:
    about = ", ".join(part for part in (line.metric, line.arm) if part)
    counts = [str(line.right), str(line.of), f"{line.share:.1%}", f"{100 * line.level:g}%"]
    return [line.text, about, *counts, "met" if line.met else "not met", line.note]


def _list() -> None:
    for name, world in world_files.shipped():
        click.echo(f"{name:<16}{world.about}")


def _play(name: str, world: World, runs: int, seed: int) -> Simulation:
    with click.progressbar(length=1000, label=name, file=sys.stderr) as bar:
        return simulate(world, name=Path(name).stem, runs=runs, seed=seed, progress=progress(bar))


def _live(data_dir: Path, worlds: list[tuple[str, World]], runs: int, seed: int) -> list[Simulation]:
    from app.commands.live_worlds import play

    return play(data_dir, [(Path(name).stem, world) for name, world in worlds], runs, seed)


def _fail(error: WorldRefused) -> NoReturn:
    click.echo(str(error), err=True)
    sys.exit(BAD_INPUT)
