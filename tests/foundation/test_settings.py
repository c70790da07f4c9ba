"""Settings: a value that cannot be meant is refused with what to give instead, and a secret is never repeated."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.commands.main import main
from app.foundation import setting_kinds
from app.foundation.settings import SETTINGS, SettingError, from_environment, signing
from app.web.app import create_app
from tests.service import SECRET

ROOT = Path(__file__).resolve().parents[2]
DATABASE = "postgresql://nobody:hush@127.0.0.1:1/none"
NOT_SET = "LOOPWISE_SECRET_KEY is not set"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("LOOPWISE_SECRET_KEY", "too short", "32 random bytes"),
        ("LOOPWISE_SECRET_KEY", "k" * 64, "openssl rand -hex 32"),
        ("LOOPWISE_SECRET_KEY", "0123456789012345678901234567890", "32 random bytes"),  # 31
        ("LOOPWISE_METRICS_TOKEN", "metrics", "16 random bytes"),
        ("DATABASE_URL", "mysql://hush@127.0.0.1/x", "postgresql://"),
        ("REDIS_URL", "127.0.0.1:6379/hush", "redis://"),
        ("LOOPWISE_PUBLIC_URL", "loopwise.example", "https://host"),
        ("LOOPWISE_PUBLIC_URL", "ftp://loopwise.example", "https://host"),
        ("LOOPWISE_PUBLIC_URL", "https://loopwise.example/below", "without a path"),
        ("LOOPWISE_PUBLIC_URL", "https://me@loopwise.example", "https://host"),
        ("LOOPWISE_PUBLIC_URL", "https://loopwise.example:port", "https://host"),
        ("LOOPWISE_ALLOW_HTTP_LOOPBACK", "2", "give 0 or 1"),
        ("LOOPWISE_ALLOW_HTTP_LOOPBACK", "no", "give 0 or 1"),
        ("LOOPWISE_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("LOOPWISE_PRIVACY_BUDGET", "inf", "at least 0"),
        ("LOOPWISE_PRIVACY_BUDGET", "nan", "at least 0"),
        ("LOOPWISE_WEB_THREADS", "0", "at least 1"),
        ("LOOPWISE_WEB_THREADS", "1.5", "whole number"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_with_what_to_give(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingError) as refused:
        from_environment({name: value})
    message = str(refused.value)
    assert message.startswith(name)
    assert says in message
    hidden = next(setting.hidden for setting in SETTINGS if setting.name == name)
    assert (value in message) is not hidden


def test_an_address_of_the_pages_is_read_as_browsers_read_it() -> None:
    """Cookies go over TLS only when it begins with https."""
    assert (
        from_environment({"LOOPWISE_PUBLIC_URL": "HTTPS://Loopwise.Example/"}).public_url == "https://loopwise.example"
    )


@pytest.mark.parametrize("key", [SECRET, "0" * 24 + "1234567a"])
def test_a_key_of_32_bytes_is_taken(key: str) -> None:
    assert signing(from_environment({"LOOPWISE_SECRET_KEY": key})).secret_key == key


@pytest.mark.parametrize("command", ["web", "worker", "beat", "audit"])
@pytest.mark.parametrize(("key", "says"), [("", NOT_SET), ("x", "LOOPWISE_SECRET_KEY: give 32 random bytes")])
def test_no_role_starts_without_a_secret_key(
    command: str, key: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("LOOPWISE_SECRET_KEY", key)
    words = [command, "nope"] if command == "audit" else [command]
    result = CliRunner().invoke(main, [*words, "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert says in result.output
    assert "openssl rand -hex 32" in result.output
    assert len(result.output.splitlines()) == 1


def _by_any_wsgi_server() -> None:
    create_app(from_environment({"DATABASE_URL": DATABASE}))


def _by_celery_itself() -> None:
    code = "import worker.celery_app"
    environment = {"PYTHONPATH": str(ROOT), "DATABASE_URL": DATABASE}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SettingError(ended.stderr.splitlines()[-1].partition(": ")[2])


@pytest.mark.parametrize("start", [_by_any_wsgi_server, _by_celery_itself])
def test_the_application_and_the_worker_refuse_it_whatever_starts_them(start: Callable[[], None]) -> None:
    with pytest.raises(SettingError, match=NOT_SET):
        start()


@pytest.mark.parametrize("text", ["", "short"])
@pytest.mark.slow
def test_up_refuses_a_key_file_that_holds_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "secret-key").write_text(text, encoding="ascii")
    environment = {"PYTHONPATH": str(ROOT), "LOOPWISE_PG_BIN": "", "PATH": "/usr/bin:/bin"}
    command = [
        sys.executable,
        "-P",
        "-m",
        "app.commands",
        "up",
        "--no-demo",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
    ]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd="/")
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: LOOPWISE_SECRET_KEY")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("limit", "cores", "processes"), [("max", 4, 2), ("3000000000", 2, 2), ("1500000000", 4, 1), ("max", 1, 1)]
)
def test_two_web_processes_are_the_default_where_cores_and_memory_bear_them(
    limit: str, cores: int, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(tmp_path, "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(setting_kinds, "CGROUP_LIMITS", (str(tmp_path / "none"), str(tmp_path / "memory.max")))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 4_000_000)
    assert from_environment({}).web_processes == processes
    assert from_environment({"LOOPWISE_WEB_PROCESSES": "3"}).web_processes == 3
