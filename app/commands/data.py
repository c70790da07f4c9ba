"""Commands that import and export data: backups of the whole database, logs of single experiments."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from app.commands.shared import Command, data_dir_option, engine_for, folder, progress, servers


@click.command(cls=Command)
@data_dir_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def dump(data_dir: Path, file: Path) -> None:
    """Write the whole database to FILE (PostgreSQL's custom format).

    Works while everything runs, and on the data of a stopped `up`.
    """
    from app.embedded import backup

    with servers(data_dir) as settings:
        backup.dump(settings.database_url, file)
    click.echo(f"{file}: {file.stat().st_size:,} bytes. Keep {data_dir / 'secret-key'} with it: it signs the models.")


@click.command(cls=Command)
@data_dir_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(data_dir: Path, file: Path) -> None:
    """Fill an empty database from FILE, as `loopwise dump` wrote it.

    Refuses a database that holds experiments. Starts the embedded PostgreSQL of a new data directory when needed.
    """
    from app.embedded import backup

    backup.restore_into(folder(data_dir), file)
    click.echo("Restored.")


@click.command("base-backup", cls=Command)
@data_dir_option
@click.argument("target", type=click.Path(path_type=Path))
def base_backup(data_dir: Path, target: Path) -> None:
    """Copy the running PostgreSQL to the new folder TARGET, from which `restore-to` recovers to a later time.

    Set LOOPWISE_WAL_ARCHIVE to a folder before `loopwise up`: it gets the write-ahead log that the recovery needs.
    """
    from app.embedded import archive

    with servers(data_dir) as settings:
        archive.base_backup(settings.database_url, target)
    click.echo(f"{target} is a base backup. Keep secret-key and postgres-password of {data_dir} with it.")


@click.command("restore-to", cls=Command)
@data_dir_option
@click.argument("until", type=click.DateTime(["%Y-%m-%dT%H:%M:%SZ"]), metavar="UNTIL")
@click.option(
    "--base", required=True, type=click.Path(path_type=Path, file_okay=False, exists=True), help="Base backup."
)
@click.option(
    "--archive", required=True, type=click.Path(path_type=Path, file_okay=False, exists=True), help="Archived log."
)
def restore_to(data_dir: Path, until: datetime, base: Path, archive: Path) -> None:
    """Prepare a new data directory with everything as it was at UNTIL (UTC, as 2026-01-31T12:00:00Z).

    The next `loopwise up` on it recovers. Put the old secret-key and postgres-password into it first.
    """
    from app.embedded.archive import restore_to as prepare

    prepare(folder(data_dir), base, archive, until.replace(tzinfo=UTC))
    click.echo(f"Prepared. `loopwise up --data-dir {data_dir}` recovers to {until:%Y-%m-%d %H:%M:%S} UTC.")


@click.command("bi-access", cls=Command)
@data_dir_option
@click.argument("name")
def bi_access(data_dir: Path, name: str) -> None:
    """Make a role NAME in PostgreSQL that may read the views for BI tools, and nothing else; prints its address.

    The address holds the password, which is not shown again.
    """
    from sqlalchemy import make_url

    from app.foundation.store import views

    with servers(data_dir) as settings, engine_for(settings) as engine:
        password = views.give_access(engine, name)
    address = make_url(settings.database_url).set(username=name, password=password)
    click.echo(address.render_as_string(hide_password=False))


@click.command("import", cls=Command)
@data_dir_option
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--experiment", required=True, metavar="KEY", help="Key of the new experiment that holds the log.")
@click.option(
    "--format", "kind", type=click.Choice(["csv", "parquet", "jsonl", "dsjson"]), help="Default: by the ending."
)
@click.option(
    "--column", "columns", multiple=True, metavar="FIELD=COLUMN", help="Such as propensity=pscore; repeatable."
)
@click.option("--context-columns", default="", help="Comma-separated columns that become context fields.")
@click.option(
    "--number-columns", default="", help="Those of them that are numbers whatever they look like: 007 becomes 7."
)
@click.option("--delimiter", default=",", show_default=True, help="Between the cells of a CSV file.")
@click.option(
    "--decimal", type=click.Choice([".", ","]), default=".", show_default=True, help="Decimal mark of a CSV file."
)
@click.option("--reward-range", nargs=2, type=float, help="Smallest and largest possible reward; default: as seen.")
def import_(
    data_dir: Path,
    file: Path,
    experiment: str,
    kind: str | None,
    columns: tuple[str, ...],
    context_columns: str,
    number_columns: str,
    delimiter: str,
    decimal: str,
    reward_range: tuple[float, float] | None,
) -> None:
    """Import a log of decisions as a concluded experiment, to evaluate policies on it.

    Fields: action, propensity, reward; and, where the file has them, decision_id, decided_at, unit_id, context (JSON),
    actions (JSON list of ids or of {id, features}), distribution (JSON list). Everything is checked before anything is
    stored. `loopwise export` writes the same fields, and its files come back with their arms and shares.
    """
    from app.files import transfer
    from app.files.context_columns import Mapping

    mapping = Mapping(_columns(columns), _names(context_columns), _names(number_columns), delimiter, decimal)
    if len(delimiter) != 1 or delimiter in f'"\r\n{decimal}':
        raise click.UsageError("--delimiter: give one character that is no quote, no line end and not the decimal mark")
    with (
        servers(data_dir) as settings,
        engine_for(settings) as engine,
        click.progressbar(length=1000, label="import", file=sys.stderr) as bar,
    ):
        imported = transfer.import_log(
            engine, file, experiment, kind=kind, mapping=mapping, reward_range=reward_range, progress=progress(bar)
        )
    click.echo(
        f"{imported.decisions:,} decisions over {imported.actions:,} actions are in experiment {imported.experiment!r}."
    )
    for reason, count in imported.skipped.items():
        click.echo(f"Left out, {count:,} times: {reason}.")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in text.split(",") if name))


def _columns(items: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in items:
        field, equals, column = item.partition("=")
        if not (field and equals and column):
            raise click.UsageError(f"--column {item}: write FIELD=COLUMN")
        if field in found:
            raise click.UsageError(f"--column {item}: {field} is given twice")
        found[field] = column
    return found


@click.command("export", cls=Command)
@data_dir_option
@click.argument("experiment")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format", "kind", type=click.Choice(["csv", "parquet", "jsonl", "dsjson"]), help="Default: by the ending."
)
def export(data_dir: Path, experiment: str, file: Path, kind: str | None) -> None:
    """Write EXPERIMENT's settled decisions with their rewards to FILE: CSV, Parquet, JSON Lines or dsjson.

    `propensity` and `distribution` are the platform's: over all arms, by their shares. `arm_propensity` is that of the
    unit's arm. Where a model that decided is gone, `propensity` is empty. The data are exact, so that `loopwise import`
    reads them back: a text that a spreadsheet would take for a formula stays as it is. For spreadsheets, take the CSV of
    the experiment's Export section, which neutralises such texts.
    """
    from app.files.exporting import export_log

    with servers(data_dir) as settings, engine_for(settings) as engine:
        count = export_log(engine, settings, experiment, file, kind=kind)
    click.echo(f"{file}: {count:,} decisions.")
