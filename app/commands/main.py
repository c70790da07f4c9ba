"""The command line. Each command finds the servers, calls one service, and prints the result.

Heavy modules are imported only when a command runs, so that `--help` is fast.
"""

import sys
from pathlib import Path

import click

from app.commands.checking import audit, experiments, status
from app.commands.data import base_backup, bi_access, dump, export, import_, restore, restore_to
from app.commands.lazy import LAZY
from app.commands.models import apprentice, holdout, pin, rebuild, rollback, ship, tune, unship, warm_start
from app.commands.shared import Group, data_dir_option, engine_for, exported, folder, servers
from app.commands.users import open_, users
from app.embedded.errors import ServerError
from app.foundation.errors import LoopwiseError
from app.foundation.settings import SettingError

_FAILED = 2  # exit code of a failed command; 1 is for an audit that found differences


class _Commands(Group):
    """Print errors that a user can fix as one sentence."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LoopwiseError as error:
            fields = "".join(f"\n  {field.path or 'body'}: {field.message}" for field in error.fields)
            click.echo(f"Error: {error.detail}{fields}", err=True)
        except (ServerError, SettingError) as error:
            click.echo(f"Error: {error}", err=True)
        return ctx.exit(_FAILED)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the version of this checkout, which need not be installed as a package, or of the installed wheel."""
    if wanted and not ctx.resilient_parsing:
        import tomllib
        from importlib.metadata import version

        project = Path(__file__).resolve().parents[2] / "pyproject.toml"
        checkout = project.exists() and tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
        click.echo(checkout or version("loopwise"))
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show it.")
def main() -> None:
    """Loopwise: decide, reward, learn, and trust the numbers.

    `loopwise up` starts all of it on this machine. The other commands work on the servers of a running or stopped
    `up` (see --data-dir), or on those that DATABASE_URL and REDIS_URL name.
    """


@main.command()
@data_dir_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--no-demo", is_flag=True, help="Do not replay the demonstration data at the first start.")
def up(data_dir: Path, host: str, port: int, no_demo: bool) -> None:
    """Run everything on this machine until Ctrl-C.

    Starts PostgreSQL and Redis (real servers, kept under the data directory), migrates, starts the web server, the
    worker and beat, and prints `ready: URL` when decisions can be made. The first start writes an administrator's
    key to <data-dir>/admin-key and plays the demo. What crashes is started again; logs are in <data-dir>/logs.

    DATABASE_URL and REDIS_URL, when set, use servers of your own instead.
    """
    from app.commands.up import run

    sys.exit(run(folder(data_dir), host, port, demo=not no_demo))


@main.command()
@data_dir_option
def migrate(data_dir: Path) -> None:
    """Bring the database to the newest schema.

    Safe to run again, and from several machines at once. `loopwise up` does it at each start.
    """
    from app.embedded.locate import check_database
    from app.foundation.store.migrate import upgrade

    with servers(data_dir) as settings:
        check_database(settings.database_url)
        upgrade(settings.database_url)
    click.echo("The database has the newest schema.")


@main.command()
@data_dir_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--target", default="", hidden=True, help="Another application, for tests.")
def web(data_dir: Path, host: str, port: int, target: str) -> None:
    """Run the web server alone: API, admin pages, /metrics.

    LOOPWISE_WEB_PROCESSES and LOOPWISE_WEB_THREADS set its size. SIGTERM ends it within five seconds.
    """
    from app.commands import roles

    with servers(data_dir, redis=False, start=False) as settings:
        roles.run_web(exported(settings), host, port, target or roles.WEB_TARGET)


@main.command()
@data_dir_option
@click.option(
    "--concurrency",
    default=2,
    show_default=True,
    type=click.IntRange(1),
    help="Tasks at once; one of them may be a long report.",
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Address of --metrics-port.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Answer GET /metrics there, with the worker's own.")
def worker(data_dir: Path, concurrency: int, metrics_host: str, metrics_port: int | None) -> None:
    """Run a Celery worker: training rounds and other work outside requests.

    Any number of workers may run, here and on other machines. Needs REDIS_URL, or a running `loopwise up`.
    """
    from app.commands import roles

    with servers(data_dir, redis=True, start=False) as settings:
        if metrics_port is not None and not settings.metrics_token:
            raise click.UsageError("--metrics-port needs LOOPWISE_METRICS_TOKEN, which scrapers show")
        roles.run_worker(exported(settings), concurrency, (metrics_host, metrics_port) if metrics_port else None)


@main.command()
@data_dir_option
def beat(data_dir: Path) -> None:
    """Run the clock that wakes the workers (run one).

    It only sends wake-ups: a second one, or a lost message, does no harm.
    """
    from app.commands import roles

    with servers(data_dir, redis=True, start=False) as settings:
        roles.run_beat(exported(settings))


@main.group()
def keys() -> None:
    """Make, list and revoke API keys.

    A key is shown only once, when you create it; Loopwise stores only its hash.
    """


@keys.command("create")
@data_dir_option
@click.option("--scopes", required=True, help="Comma-separated: decide, reward, read, manage, people, admin.")
@click.option("--experiment", metavar="KEY", help="Bind the key to one experiment.")
@click.option(
    "--origin", "origins", multiple=True, help="Web page that may use it, as https://shop.example: publishable."
)
@click.option("--name", default="", help="What the key is for, as `keys list` shows it.")
@click.option("--test", is_flag=True, help="Its decisions are trials: logged, and counted nowhere.")
def keys_create(
    data_dir: Path, scopes: str, experiment: str | None, origins: tuple[str, ...], name: str, test: bool
) -> None:
    """Make a key; it is the last line printed.

    Example: loopwise keys create --scopes decide,reward --name "shop front"
    """
    from app.accounts import keys as service

    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    with servers(data_dir) as settings, engine_for(settings) as engine:
        key = service.create_key(
            engine, scopes=wanted, experiment_key=experiment, name=name, origins=origins or None, test=test
        )
    click.echo(f"Key {key.id}. It is shown only now:", err=True)
    click.echo(key.secret_text)


@keys.command("list")
@data_dir_option
def keys_list(data_dir: Path) -> None:
    """List the keys: id, state, scopes, name."""
    from app.accounts import keys as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        all_keys = service.list_keys(engine)
    for key in all_keys:
        state = "revoked" if key.revoked_at else "valid"
        click.echo(f"{key.id}  {state:<7}  {','.join(key.scopes):<28}  {key.created_at:%Y-%m-%d %H:%M}  {key.name}")


@keys.command("revoke")
@data_dir_option
@click.argument("key_id", metavar="ID")
def keys_revoke(data_dir: Path, key_id: str) -> None:
    """Make a key invalid at once; ID is what `keys list` shows."""
    from app.accounts import keys as service

    with servers(data_dir) as settings, engine_for(settings) as engine:
        service.revoke_key(engine, key_id)
    click.echo(f"{key_id} is revoked.")


@main.group(invoke_without_command=True)
@click.pass_context
@data_dir_option
@click.option("--url", help="Address of the web server; default: that of the running `up`.")
@click.option("--key", help="API key; default: <data-dir>/admin-key.")
@click.option("--if-new", is_flag=True, help="Do nothing when the demo experiment exists.")
def demo(context: click.Context, data_dir: Path, url: str | None, key: str | None, if_new: bool) -> None:
    """Replay 3,292 real purchases through the HTTP API and show what was learned.

    For each purchase the API is asked which brand to recommend; the reward is 1 when it is the one that was bought.
    Needs a running `loopwise up`.
    """
    from app.commands import demo as cli_demo

    if context.invoked_subcommand is None:
        cli_demo.play(folder(data_dir), url, key, only_new=if_new)


@demo.command("messages")
@data_dir_option
@click.option("--url", help="Address of the web server; default: that of the running `up`.")
@click.option("--key", help="API key; default: <data-dir>/admin-key.")
def demo_messages(data_dir: Path, url: str | None, key: str | None) -> None:
    """Play a course that speaks to its learners: messages, feedback, triggers, caps, consent.

    Two weeks in about a minute, through the HTTP API, with the worker killed in the middle where that is possible, and
    with figures at the end. Needs a running `loopwise up`.
    """
    from app.commands import demo as cli_demo

    cli_demo.play_messages(folder(data_dir), url, key)


@demo.command("guardian")
@data_dir_option
@click.option("--url", help="Address of the web server; default: that of the running `up`.")
@click.option("--key", help="API key; default: <data-dir>/admin-key.")
def demo_guardian(data_dir: Path, url: str | None, key: str | None) -> None:
    """Let three things go wrong, and show what was noticed, after how many decisions, and what was done.

    Two minutes, through the HTTP API: the best actions change places, a bot decides thousands of times, and the rewards
    of one arm stop. Needs a running `loopwise up`.
    """
    from app.commands import demo as cli_demo

    cli_demo.play_course("guardian", folder(data_dir), url, key)


@demo.command("fairness")
@data_dir_option
@click.option("--url", help="Address of the web server; default: that of the running `up`.")
@click.option("--key", help="API key; default: <data-dir>/admin-key.")
def demo_fairness(data_dir: Path, url: str | None, key: str | None) -> None:
    """Let a policy narrow what people see, and show the curve, the bound that cures it, and its price.

    Two minutes, through the HTTP API. Needs a running `loopwise up`.
    """
    from app.commands import demo as cli_demo

    cli_demo.play_course("fairness", folder(data_dir), url, key)


_MODELS = (rollback, rebuild, warm_start, apprentice, pin, ship, unship, tune, holdout)
_DATA = (dump, restore, base_backup, restore_to, bi_access, import_, export)
for command in (status, experiments, open_, audit, *_DATA, users, *_MODELS, *LAZY):
    main.add_command(command)
