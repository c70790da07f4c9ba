"""The commands that change which model serves, and which arm decides for everybody, and the search for a better policy."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.shared import Command, data_dir_option, engine_for, servers
from app.foundation.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.off_policy.documents import EvaluationAnswer, TunedLine

POLL_S = 0.5
SHOWN = 10  # lines of the leaderboard


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


@click.command("warm-start", cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm")
@click.argument("source")
@click.option(
    "--source-arm", help="Learn only what this arm of SOURCE had learned. Default: the decisions of all arms."
)
@click.option("--source-version", type=int, help="Up to this version of the arm. Default: the one that serves.")
@click.option("--dry-run", is_flag=True, help="Only say what agrees.")
def warm_start(
    data_dir: Path,
    experiment: str,
    arm: str,
    source: str,
    source_arm: str | None,
    source_version: int | None,
    dry_run: bool,
) -> None:
    """Let EXPERIMENT's ARM, which has learned nothing yet, begin with what the log of experiment SOURCE teaches.

    An imported log is an experiment, too. Prints what agrees and what does not. The worker learns the model soon.
    """
    from app.foundation.fields import read
    from app.off_policy.life import warm_start as service

    of = {"experiment": source, "arm": source_arm, "version": source_version}
    request = read(service.WarmStartRequest, {"arm": arm, "source": of, "dry_run": dry_run})
    with servers(data_dir) as settings, engine_for(settings) as engine:
        asked = service.ask(engine, experiment, request, "cli")
    for name, names in asked.agreement.as_json().items():
        if isinstance(names, list) and names:
            click.echo(f"{name.replace('_', ' ')}: {', '.join(map(str, names))}")
    if not dry_run:
        click.echo(f"{experiment}/{arm} begins with the log of {source} as soon as the worker has learned it.")


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("arm", default="")
@click.option("--on", "turn", flag_value="on", help="Switch ARM on: what it learned decides.")
@click.option("--off", "turn", flag_value="off", help="Make ARM an apprentice: the first action is shown.")
@click.option("--reason", default="", help="Why; kept in the experiment's history. Needed with --on and --off.")
def apprentice(data_dir: Path, experiment: str, arm: str, turn: str | None, reason: str) -> None:
    """Show how EXPERIMENT's apprentices do, or switch ARM on or off.

    An apprentice shows the first action of each call, and its model learns to show the same. A switch holds at once.
    """
    from app.design.life import approvals
    from app.foundation.fields import read
    from app.off_policy.life import apprentice as service
    from app.off_policy.life.apprentice_documents import SwitchRequest

    with servers(data_dir) as settings, engine_for(settings) as engine:
        if turn is not None:
            request = read(SwitchRequest, {"arm": arm, "apprentice": turn == "off", "reason": reason})
            if turn == "on":
                approvals.refuse_alone(settings)
            service.switch(engine, experiment, request, "cli")
        found = service.get(engine, experiment).apprentices
    for one in found:
        state = "an apprentice" if one.active else "switched on"
        agreement = "no numbers yet" if one.agreement is None else f"agreement {one.agreement:.0%}"
        click.echo(f"{experiment}/{one.arm}: {state}, {one.decisions:,} decisions, {agreement}")
    if not found:
        click.echo(f"{experiment} has no apprentice.")


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


@click.command("tune", cls=Command)
@data_dir_option
@click.argument("experiment")
@click.option("--points", type=click.IntRange(2, 200), default=50, show_default=True, help="Policies to try.")
@click.option("--finalists", type=click.IntRange(1, 5), default=3, show_default=True, help="Candidates to evaluate.")
@click.option("--algorithm", "algorithms", multiple=True, help="Try this algorithm; several times for several.")
@click.option("--max-decisions", type=int, default=100_000, show_default=True, help="Newest decisions to read.")
@click.option("--budget-s", type=float, default=300, show_default=True, help="Try no more policies after this time.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draw of policies.")
@click.option("--no-wait", is_flag=True, help="Leave the search to the worker of `loopwise up`.")
@click.option("--show", type=int, help="Show an earlier search instead.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole evaluation as JSON.")
def tune(
    data_dir: Path,
    experiment: str,
    algorithms: tuple[str, ...],
    max_decisions: int,
    no_wait: bool,
    show: int | None,
    as_json: bool,
    **settings: int | float,
) -> None:
    """Try many policies on EXPERIMENT's log, and value the best ones on the part that chose none of them.

    The best become candidates; stage one on the tab Off-policy. Nothing that runs is changed.
    """
    from app.foundation.fields import read
    from app.off_policy import evaluations
    from app.off_policy.evaluation_request import TuneRequest

    space = {"space": {"algorithms": list(algorithms)}} if algorithms else {}
    request = read(TuneRequest, {"max_decisions": max_decisions, "tune": settings | space})
    with servers(data_dir) as known, engine_for(known) as engine:
        if show is None:
            asked = evaluations.tune(engine, experiment, request, "cli")
            if no_wait:
                click.echo(
                    f"Evaluation {asked.id}: the worker searches. `loopwise tune {experiment} --show {asked.id}`"
                )
                return
            answer = _waited(engine, known, experiment, asked.id)
        else:
            answer = evaluations.get(engine, experiment, show)
    click.echo(json.dumps(answer.as_json()) if as_json else _words(answer), nl=True)


def _waited(engine: "Engine", settings: Settings, experiment: str, number: int) -> "EvaluationAnswer":
    """Search in this process, unless a worker is already at it."""
    from app.off_policy import evaluations

    while (answer := evaluations.get(engine, experiment, number)).finished_at is None:
        if not evaluations.run_waiting(engine, settings):
            time.sleep(POLL_S)
    return answer


def _words(answer: "EvaluationAnswer") -> str:
    if answer.error is not None:
        return f"Evaluation {answer.id} has no answer: {answer.error}"
    if answer.result is None:
        return f"Evaluation {answer.id} is {answer.status}: {answer.progress:.0%} done."
    board = answer.result.leaderboard
    lines = [f"Evaluation {answer.id}: {len(board)} policies tried. Scores chose; they value nothing."]
    lines += [_line(place, line) for place, line in enumerate(board[:SHOWN], start=1)]
    lines += ["", f"On the {answer.result.window.evaluated_on:,} newest decisions, which chose nothing:"]
    values = {line.policy: line.value for line in answer.result.policies}
    lines += [f"  {name:<16}{'refused' if value is None else f'{value:.4f}'}" for name, value in values.items()]
    return "\n".join([*lines, "", answer.result.search.text])


def _line(place: int, line: "TunedLine") -> str:
    score = line.reason or f"{line.value:.4f} ({line.learned:,} learned)"
    own = line.policy.get("parameters")
    return f"  {place:>2}  {line.candidate or '':<14} {line.policy['algorithm']:<15} {score}  {json.dumps(own)}"


@click.command(cls=Command)
@data_dir_option
@click.option(
    "--share", type=click.FloatRange(0, 50), help="Percent of all units that no experiment touches; 0 ends it."
)
@click.option("--reason", default="", help="Why; kept in the audit log. Needed with --share.")
def holdout(data_dir: Path, share: float | None, reason: str) -> None:
    """Show the global holdout, or set its share: the control decides for these units in every experiment.

    The same units stay in it when the share grows.
    """
    from app.foundation.fields import read
    from app.registry import holdout as service
    from app.registry.holdout import HoldoutRequest

    with servers(data_dir) as settings, engine_for(settings) as engine:
        if share is None:
            standing = service.standing(engine)
        else:
            request = read(HoldoutRequest, {"share": share / 100, "reason": reason})
            standing = service.change(engine, settings, request, "cli")
    since = f", since {standing.since:%Y-%m-%d %H:%M} UTC" if standing.since else ""
    click.echo(f"{standing.share:.2%} of all units are held back{since}.")
