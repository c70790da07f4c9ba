"""The command line explains itself, prints help quickly, and shows no traceback for errors that a user can fix."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.commands.main import main
from tests.service import SECRET, Loop, bandit, loopwise, query

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


def test_a_migration_that_fails_is_reported_in_one_sentence(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database_url)
    query(empty_database_url, "CREATE TABLE experiments (mine integer)")
    failed = CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)])
    assert (failed.exit_code, len(failed.output.splitlines())) == (2, 1)
    assert 'relation "experiments" already exists' in failed.output
    assert "loopwise migrate" in failed.output
    query(empty_database_url, "DROP TABLE experiments")
    assert CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)]).exit_code == 0
    query(empty_database_url, "UPDATE alembic_version SET version_num = '9999'")
    newer = CliRunner().invoke(main, ["migrate", "--data-dir", str(tmp_path)])
    assert (newer.exit_code, len(newer.output.splitlines())) == (2, 1)
    assert "9999" in newer.output


def test_a_restore_with_another_key_is_refused_before_anything_is_written(
    database_url: str, empty_database_url: str, loop: Loop, tmp_path: Path
) -> None:
    loop.make("signed", arms=bandit())
    assert loopwise(tmp_path, database_url, "dump", "it.dump").returncode == 0
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    for key, says in (("another secret of more than 32 bytes", "is not the one that signed"), ("", "is missing")):
        refused = loopwise(tmp_path, empty_database_url, "restore", "it.dump", LOOPWISE_SECRET_KEY=key)
        assert refused.returncode == 2
        assert says in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert query(empty_database_url, tables) == [(0,)]
    restored = loopwise(tmp_path, empty_database_url, "restore", "it.dump")
    assert restored.returncode == 0, restored.stderr
    assert query(empty_database_url, "SELECT key FROM experiments") == [("signed",)]


def test_the_key_is_the_last_line_and_works_only_until_it_is_revoked(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    data_dir = ["--data-dir", str(tmp_path)]
    keyless = CliRunner().invoke(main, ["keys", "create", "--scopes", "decide", *data_dir])
    assert (
        keyless.exit_code == 2 and "LOOPWISE_SECRET_KEY is not set" in keyless.output
    )  # the trail of changes is sealed
    monkeypatch.setenv("LOOPWISE_SECRET_KEY", SECRET)
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


def test_usage_lines_show_what_a_command_needs() -> None:
    for path, needed in (
        (["keys", "create"], "--scopes TEXT"),
        (["ship"], "--reason TEXT"),
        (["rollback"], "--reason"),
    ):
        usage = CliRunner().invoke(main, [*path, "--help"]).output.split("\n\n", 1)[0]
        assert needed in usage and "[OPTIONS]" in usage, usage


def test_status_names_what_answers_and_what_waits(
    database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    nothing = CliRunner().invoke(main, ["status", "--data-dir", str(tmp_path)])
    assert nothing.exit_code == 1 and "Nothing runs on" in nothing.output and "loopwise up" in nothing.output
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    found = CliRunner().invoke(main, ["status", "--data-dir", str(tmp_path)])
    assert found.exit_code == 0, found.output
    assert "postgres" in found.output and "deliveries        " in found.output
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    without = CliRunner().invoke(main, ["status", "--data-dir", str(tmp_path)])
    assert without.exit_code in (1, 2) and "redis" in without.output.lower()


def test_experiments_are_listed_and_open_prints_a_fresh_link(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("LOOPWISE_SECRET_KEY", SECRET)
    data_dir = ["--data-dir", str(tmp_path)]
    listed = CliRunner().invoke(main, ["experiments", *data_dir])
    assert listed.exit_code == 0 and ("EXPERIMENT" in listed.output or "There is no experiment yet" in listed.output)
    CliRunner().invoke(main, ["users", "create", "opener", "--role", "viewer", *data_dir])
    links = [CliRunner().invoke(main, ["open", "opener", *data_dir]).output.strip() for _ in range(2)]
    assert all("/admin/link/" in link for link in links) and links[0] != links[1]
    assert CliRunner().invoke(main, ["open", "nobody", *data_dir]).exit_code == 2
