"""The command that audits."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.commands.shared import data_dir_option, engine_for, progress, servers
from app.foundation.settings import Settings, signing

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.verification.audit_report import AuditReport


@click.command()
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
