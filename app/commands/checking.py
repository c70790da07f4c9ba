"""The commands that look: what runs, the experiments, and the audit."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.shared import Command, answers, data_dir_option, engine_for, folder, progress, servers
from app.foundation.settings import Settings, signing

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.embedded.state import Running
    from app.verification.audit_report import AuditReport


@click.command(cls=Command)
@data_dir_option
def status(data_dir: Path) -> None:
    """Show what runs, where and since when, and how long the oldest entry of each queue has waited.

    Exit code 0: the web server, the database and Redis answer; 1: one of them does not.
    """
    running = folder(data_dir).running()
    if running is None and not os.environ.get("DATABASE_URL"):
        click.echo(f"Nothing runs on {data_dir}. Start it with `loopwise up --data-dir {data_dir}`.")
        sys.exit(1)
    with servers(data_dir, redis=True, start=False) as settings:
        well = _addresses(running, settings)
        for role, age in _roles(running.pid) if running else []:
            click.echo(f"{role:<12}running for {age}")
        with engine_for(settings) as engine:
            _queues(engine)
    sys.exit(0 if well else 1)


def _addresses(running: "Running | None", settings: Settings) -> bool:
    """Print where each server is; False if one does not answer."""
    from app.embedded import locate
    from app.embedded.errors import ServerError

    well = True
    for name, url, check in (
        ("postgres", settings.database_url, locate.check_database),
        ("redis", settings.redis_url, locate.check_redis),
    ):
        try:
            click.echo(f"{name:<12}{check(url)} at {locate.without_password(url)}")
        except ServerError as error:
            well = False
            click.echo(f"{name:<12}does not answer: {error}")
    if running is not None:
        ready = answers(f"{running.url}/readyz")
        well = well and ready
        click.echo(f"{'pages':<12}{running.url}/admin/{'' if ready else ' does not answer'}")
    return well


def _roles(pid: int) -> list[tuple[str, str]]:
    """The processes that `up` started, each with its age as ``ps`` writes it: days-hours:minutes:seconds."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,etime=,args="],  # noqa: S607 - a system's own tool
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.split(None, 3) for line in listed.stdout.splitlines()]
    ages = {row[0]: row[2] for row in rows if len(row) == 4}
    roles = [("up", ages.get(str(pid), "?"))]
    for role in ("web", "worker", "beat"):
        roles += [
            (role, row[2]) for row in rows if len(row) == 4 and row[1] == str(pid) and f"app.commands {role} " in row[3]
        ]
    return roles


def _queues(engine: "Engine") -> None:
    """Print how long the oldest entry of each queue has waited."""
    from app.foundation.pages.format import duration
    from app.foundation.store.engine import transaction
    from app.web.store import backlog

    with transaction(engine) as connection:
        waited = backlog.waited(connection)
    for queue, seconds in waited.items():
        words = f"the oldest entry has waited {duration(seconds)}" if seconds else "nothing waits"
        click.echo(f"{queue.replace('_', ' '):<18}{words}")


@click.command(cls=Command)
@data_dir_option
def experiments(data_dir: Path) -> None:
    """List the experiments: key, status, decisions, the best arm's lift, and the verdict."""
    from app.foundation.pages.format import number, signed_percent
    from app.reporting import home

    with servers(data_dir) as settings, engine_for(settings) as engine:
        lines = home.lines(engine)
    if not lines:
        click.echo("There is no experiment yet. Define one at /admin/ (`loopwise open` prints a link).")
        return
    click.echo(f"{'EXPERIMENT':<32}  {'STATUS':<10}  {'DECISIONS':>10}  {'LIFT':>9}  VERDICT")
    for line in lines:
        lift = signed_percent(line.shown.lift) if line.shown else "no result"
        click.echo(
            f"{line.key:<32}  {line.status:<10}  {number(line.decisions):>10}  {lift:>9}  "
            f"{(line.verdict or '').replace('_', ' ')}".rstrip()
        )


@click.command(cls=Command)
@data_dir_option
@click.argument("experiment", required=False)
@click.option("--full", is_flag=True, help="Audit every experiment, the trail of changes, and the whole chain.")
@click.option(
    "--anchor", metavar="NUMBER:TAG", help="An anchor that an earlier audit printed: it has to be in the chain."
)
def audit(data_dir: Path, experiment: str | None, full: bool, anchor: str | None) -> None:
    """Recompute every decision and every model of EXPERIMENT and compare with the log and with its chain.

    Exit code 0: everything matches; 1: something differs, and the report says what; 2: could not be done.
    """
    if full == (experiment is not None):
        raise click.UsageError("Give an EXPERIMENT, or --full.")
    if anchor and not full:
        raise click.UsageError("--anchor needs --full.")
    with servers(data_dir) as settings, engine_for(signing(settings)) as engine:
        reports = _everything(engine, settings, anchor) if full else [_one(engine, settings, str(experiment))]
    sys.exit(0 if all(report.ok for report in reports) else 1)


def _one(engine: "Engine", settings: Settings, experiment: str) -> "AuditReport":
    from app.verification import standing_audit

    with click.progressbar(length=1000, label=f"audit of {experiment}", file=sys.stderr) as bar:
        return _show(standing_audit.run_whole(engine, settings, experiment, progress(bar)))


def _everything(engine: "Engine", settings: Settings, anchor: str | None) -> "list[AuditReport]":
    from app.registry.lookup import every_key
    from app.verification import chain

    reports = [_one(engine, settings, key) for key in every_key(engine)]
    reports.append(_show(chain.audit_installation(engine, anchor)))
    click.echo(f"newest anchor of the chain: {chain.newest_anchor(engine)}")
    return reports


def _show(report: "AuditReport") -> "AuditReport":
    for line in report.lines():
        click.echo(line)
    return report
