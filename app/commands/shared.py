"""Helpers that the commands share: the servers, an engine for one command, a progress bar."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.embedded.errors import ServerError
from app.foundation.settings import Settings, from_environment, signing

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from app.embedded.state import DataDir


class Command(click.Command):
    """A command whose usage line shows the options that it cannot do without."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the parts of the usage line."""
        needed = [
            f"{parameter.opts[0]} {parameter.make_metavar(ctx)}"
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and parameter.required
        ]
        return [*needed, *super().collect_usage_pieces(ctx)]


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type


def data_dir_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option ``--data-dir``, which every command has."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".data"),
        show_default=True,
        help="Folder of `loopwise up`: its servers are used, running or stopped, unless DATABASE_URL is set.",
    )(function)


def folder(data_dir: Path) -> "DataDir":
    """Return the data directory that the option names."""
    from app.embedded.state import DataDir

    return DataDir(data_dir)


def servers(data_dir: Path, *, redis: bool = False, start: bool = True) -> "AbstractContextManager[Settings]":
    """Provide settings with working addresses for the duration of a command; see ``app.embedded.locate``."""
    from app.embedded.locate import servers

    return servers(folder(data_dir), redis=redis, start=start)


def engine_for(settings: Settings) -> "AbstractContextManager[Engine]":
    """Provide an engine for the duration of a command."""
    from contextlib import contextmanager

    from psycopg2.errors import UndefinedTable
    from sqlalchemy.exc import ProgrammingError

    from app.foundation.store.engine import create

    @contextmanager
    def disposed() -> Any:
        engine = create(settings.database_url, settings)
        try:
            yield engine
        except ProgrammingError as error:
            if isinstance(error.orig, UndefinedTable):
                raise ServerError("this database is not Loopwise's, or too old: run `loopwise migrate`.") from error
            raise
        finally:
            engine.dispose()

    return disposed()


def exported(settings: Settings) -> Settings:
    """Write the addresses and the secret key to the environment, where the application and Celery read them.

    :raises SettingError: there is no secret key, so no role may start.
    """
    signing(settings)
    os.environ.update(
        DATABASE_URL=settings.database_url, REDIS_URL=settings.redis_url, LOOPWISE_SECRET_KEY=settings.secret_key
    )
    return from_environment()


def progress(bar: Any) -> Callable[[int, int], None]:
    """Return a function that updates a progress bar from (done, total)."""

    def show(done: int, total: int) -> None:
        bar.update(max(0, round(1000 * done / max(total, 1)) - bar.pos))

    return show


def answers(url: str) -> bool:
    """Whether our own web server answers an address with 200."""
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
