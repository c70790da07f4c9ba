"""The command line explains itself, prints help quickly, and shows no traceback for errors that a user can fix."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.commands.main import main
from tests.service import SECRET

_HEAVY = {"sqlalchemy", "numpy", "pandas", "celery", "flask", "vowpalwabbit", "granian", "psycopg2"}


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


@pytest.mark.parametrize("path", list(_commands(main)), ids=" ".join)
def test_every_command_and_every_option_has_help(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0, result.output
    assert len(result.output.split()) > 25, result.output


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from app.commands.main import main; main(['--help'], standalone_mode=False);"
        f"sys.exit(', '.join({_HEAVY!r} & set(sys.modules)) or None)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_database_without_tables_is_reported_in_one_sentence(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    listed = CliRunner().invoke(main, ["keys", "list", "--data-dir", str(tmp_path)])
    assert listed.exit_code == 2
    assert "loopwise migrate" in listed.output
    assert CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(main, ["keys", "list", "--data-dir", str(tmp_path)]).exit_code == 0


def test_the_key_is_the_last_line_and_works_only_until_it_is_revoked(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    data_dir = ["--data-dir", str(tmp_path)]
    created = CliRunner().invoke(main, ["keys", "create", "--scopes", "decide, reward", "--name", "shop", *data_dir])
    key_id = created.output.splitlines()[-1][:15]
    assert CliRunner().invoke(main, ["keys", "revoke", key_id, *data_dir]).exit_code == 0
    assert f"{key_id}  revoked" in CliRunner().invoke(main, ["keys", "list", *data_dir]).output
    assert CliRunner().invoke(main, ["keys", "revoke", key_id, *data_dir]).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["keys", "create", "--scopes", "everything"], "decide, reward, read"),
        (["keys", "create", "--scopes", "decide", "--experiment", "nope"], "nope"),
        (["audit", "nope"], "nope"),
        (["rollback", "nope", "arm", "1", "--reason", "x"], "nope"),
        (["demo"], "loopwise up"),
        (["worker"], "REDIS_URL"),
    ],
)
def test_a_failed_command_explains_itself_in_one_sentence(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("LOOPWISE_SECRET_KEY", SECRET)
    monkeypatch.delenv("REDIS_URL", raising=False)
    result = CliRunner().invoke(main, [*arguments, "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.output
