"""The commands that change which model serves, and which arm decides for everybody."""

import sys
from pathlib import Path

import click

from app.commands.shared import Command, data_dir_option, engine_for, servers


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm")
@click.argument("version", type=int)
@click.option("--reason", required=True, help="Why; kept in the experiment's history.")
def rollback(data_dir: Path, experiment: str, arm: str, version: int, reason: str) -> None:
    """Serve an earlier model VERSION of EXPERIMENT's ARM again.

    Web processes follow within two seconds. The change is recorded with its reason.
    """
    from app.registry import versions as models

    with servers(data_dir) as settings, engine_for(settings) as engine:
        models.rollback(engine, experiment, arm, version, reason, "cli")
    click.echo(f"{experiment}/{arm} serves version {version}.")


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm")
def rebuild(data_dir: Path, experiment: str, arm: str) -> None:
    """Learn the model of EXPERIMENT's ARM again, from nothing, over its whole log, and serve it.

    Loopwise does this by itself as a log grows. Exit code 1: it was not done, and the reason is printed.
    """
    from app.learning import refit

    with servers(data_dir) as settings, engine_for(settings) as engine:
        done = refit.rebuild_now(engine, settings, experiment, arm, "cli")
    if done is None:
        click.echo("Nothing was learned yet, or the worker is at it; the Policy tab says more.", err=True)
        sys.exit(1)
    click.echo(f"{experiment}/{arm}: version {done.number} learned {done.decisions:,} decisions again.")
    if not done.promoted:
        click.echo(f"It did not pass its checks and does not serve: {'; '.join(done.problems)}", err=True)
        sys.exit(1)


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm")
@click.argument("candidate", default="")
def pin(data_dir: Path, experiment: str, arm: str, candidate: str) -> None:
    """Let CANDIDATE of the race of EXPERIMENT's ARM decide, whatever the race shows; without CANDIDATE, the race decides again.

    It takes effect when the worker has learned the model again, which it does soon.
    """
    from app.learning import refit

    with servers(data_dir) as settings, engine_for(settings) as engine:
        refit.pin(engine, experiment, arm, candidate, "cli")
    click.echo(f"{experiment}/{arm} will decide by {candidate or 'what its policy or the race chooses'}.")


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm")
@click.option(
    "--holdout", type=float, default=0.0, show_default=True, help="Share of the units that the control keeps."
)
@click.option("--reason", required=True, help="Why; kept in the experiment's history.")
def ship(data_dir: Path, experiment: str, arm: str, holdout: float, reason: str) -> None:
    """Let EXPERIMENT's ARM decide for everybody from now on.

    The results of now are kept. `loopwise unship` leads back.
    """
    from app.design.life import approvals
    from app.foundation.fields import read
    from app.promotion import shipping

    request = read(shipping.ShipRequest, {"arm": arm, "holdout": holdout, "reason": reason})
    with servers(data_dir) as settings, engine_for(settings) as engine:
        approvals.refuse_alone(settings)
        shipping.ship(engine, experiment, request, "cli")
    click.echo(
        f"{experiment}: {arm} decides for everybody{f', but for {holdout:.0%} of the units' if holdout else ''}."
    )


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.option("--reason", required=True, help="Why; kept in the experiment's history.")
def unship(data_dir: Path, experiment: str, reason: str) -> None:
    """Give EXPERIMENT's arms back the shares that they had before one was shipped, or began to be."""
    from app.promotion import shipping

    with servers(data_dir) as settings, engine_for(settings) as engine:
        shipping.roll_back(engine, experiment, reason, "cli")
    click.echo(f"{experiment}: the arms have their previous shares again.")
