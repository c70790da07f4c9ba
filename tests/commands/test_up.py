"""`loopwise up`, run as a user runs it."""

import os
import pwd
import signal
import socket
import stat
import sys
from collections.abc import Iterator

import psycopg2
import pytest
import redis

from app.embedded.identity import Identity
from tests.commands.installation import Installation, alive, children_of, installation, wait_for

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"), pytest.mark.slow]
_HEAL_S = 30.0
_THAW_S = 60.0  # a frozen process is given ten seconds
_EXPERIMENT = {
    "key": "kept",
    "name": "Kept",
    "hypothesis": "A dump keeps it.",
    "actions": [{"id": "a", "features": {}}, {"id": "b", "features": {}}],
    "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}],
    "control_arm": "all",
    "reward": {"window_s": 1},
}


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation() as installed:
        yield installed.start()


def _scalar(url: str, query: str) -> object:
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row[0] if row else None
    finally:
        connection.close()


def _database_answers(running: Installation) -> bool:
    try:
        return _scalar(running.runtime()["database_url"], "SELECT 1") == 1
    except psycopg2.Error:
        return False


def _redis_answers(running: Installation) -> bool:
    client = redis.Redis.from_url(running.runtime()["redis_url"], socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def test_the_first_start_prints_a_link_for_the_first_administrator(running: Installation) -> None:
    assert f"sign in for the first time (works once): {running.runtime()['url']}/admin/link/" in running.output()


def test_up_prints_its_address_when_it_is_ready_and_answers_there(running: Installation) -> None:
    assert f"ready: {running.runtime()['url']}\n" in running.output()
    assert running.get("/readyz") == 200


def test_other_users_cannot_read_the_data_directory(running: Installation) -> None:
    assert stat.S_IMODE(running.data_dir.stat().st_mode) & 0o067 == 0
    for name in ("admin-key", "secret-key", "runtime.json", "postgres-password", "redis-password"):
        assert stat.S_IMODE((running.data_dir / name).stat().st_mode) == 0o600, name


def test_passwords_are_not_in_the_process_list(running: Installation) -> None:
    secrets = [(running.data_dir / name).read_text().strip() for name in ("postgres-password", "redis-password")]
    for pid in running.family():
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            line = file.read()
        assert not any(secret in line for secret in secrets)


def test_the_servers_write_durably_what_they_acknowledge(running: Installation) -> None:
    assert _scalar(running.runtime()["database_url"], "SHOW fsync") == "on"
    assert _scalar(running.runtime()["database_url"], "SHOW listen_addresses") == "127.0.0.1"
    client = redis.Redis.from_url(running.runtime()["redis_url"])
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.close()


def test_a_second_up_on_the_same_folder_is_refused_with_the_address_of_the_first(running: Installation) -> None:
    result = running.run("up", "--no-demo")
    assert result.returncode == 2
    assert running.runtime()["url"] in result.stderr
    assert str(running.runtime()["pid"]) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_port_in_use_is_reported(running: Installation) -> None:
    with socket.socket() as taken, installation() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = other.run("up", "--no-demo", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert str(taken) not in result.stderr
    assert "--port" in result.stderr


def test_another_command_uses_the_running_servers(running: Installation) -> None:
    created = running.run("keys", "create", "--scopes", "decide,reward", "--name", "shop front")
    assert created.returncode == 0, created.stderr
    key = created.stdout.splitlines()[-1]
    listed = running.run("keys", "list").stdout
    assert "shop front" in listed
    assert key not in listed


@pytest.mark.parametrize("name", ["beat", "worker", "redis", "web", "postgres"])
def test_a_killed_process_is_restarted(running: Installation, name: str) -> None:
    before = running.children()[name]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.children().get(name, before) != before, _HEAL_S, running.output)
    wait_for(lambda: _database_answers(running) and _redis_answers(running), _HEAL_S, running.output)
    wait_for(lambda: running.get("/readyz") == 200, _HEAL_S, running.output)


def test_a_killed_web_process_is_replaced_by_its_server(running: Installation) -> None:
    server = running.children()["web"]
    before = children_of(server)
    os.kill(min(before), signal.SIGKILL)
    wait_for(
        lambda: len(children_of(server)) == len(before) and bool(children_of(server) - before), _HEAL_S, running.output
    )
    wait_for(lambda: running.get("/readyz") == 200, _HEAL_S, running.output)
    assert running.children()["web"] == server, running.output()


@pytest.mark.parametrize("name", ["web", "worker", "beat", "redis", "postgres"])
def test_a_frozen_process_is_ended_and_started_again(running: Installation, name: str) -> None:
    """It still has its port and its place, so only a look at it tells."""
    before = running.children()[name]
    os.kill(before, signal.SIGSTOP)
    wait_for(lambda: running.children().get(name, before) != before, _THAW_S, running.output)
    assert f"{name} (process {before}) was frozen" in running.output()
    wait_for(lambda: _database_answers(running) and _redis_answers(running), _THAW_S, running.output)
    wait_for(lambda: running.get("/readyz") == 200, _THAW_S, running.output)


def test_a_frozen_web_process_is_replaced_by_its_server(running: Installation) -> None:
    server = running.children()["web"]
    before = children_of(server)
    os.kill(min(before), signal.SIGSTOP)
    wait_for(
        lambda: len(children_of(server)) == len(before) and bool(children_of(server) - before), _THAW_S, running.output
    )
    wait_for(lambda: running.get("/readyz") == 200, _THAW_S, running.output)
    assert running.children()["web"] == server, running.output()


def test_a_dump_can_be_restored_into_another_folder_but_never_over_experiments(running: Installation) -> None:
    assert running.get("/v1/experiments", _EXPERIMENT) == 201
    with installation() as other:
        file = str(other.data_dir.with_name("dump"))
        assert running.run("dump", file).returncode == 0
        assert running.run("restore", file).returncode == 2
        restored = other.run("restore", file)
        assert restored.returncode == 0, restored.stderr
        assert other.run("keys", "list").stdout == running.run("keys", "list").stdout
        again = other.run("restore", file)
    assert again.returncode == 2
    assert "holds experiments" in again.stderr


def test_an_installation_survives_a_stop_a_restart_and_a_kill() -> None:
    with installation() as installed:
        installed.start()
        key = (installed.data_dir / "admin-key").read_text()
        family = installed.family()
        assert installed.end(signal.SIGINT) == 0
        assert alive(family) == set()

        # The data of a stopped `up` can still be worked on, and nothing keeps running after the command.
        result = installed.run("keys", "create", "--scopes", "read", "--name", "made while stopped")
        assert result.returncode == 0, result.stderr

        installed.start()
        assert (installed.data_dir / "admin-key").read_text() == key
        assert "made while stopped" in installed.run("keys", "list").stdout
        family = installed.family()
        assert installed.end(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: not alive(family), 15, lambda: str(alive(family)))

        installed.start()
        assert installed.get("/readyz") == 200
        assert installed.end(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_an_ordinary_user_can_run_it() -> None:
    nobody = pwd.getpwnam("nobody")
    # Inside a user namespace: not root, yet able to read an interpreter in root's home.
    with installation(Identity(nobody.pw_uid, nobody.pw_gid, True)) as installed:
        try:
            installed.start()
        except (OSError, RuntimeError) as error:
            pytest.skip(f"no user namespaces here: {error}")
        assert stat.S_IMODE(installed.data_dir.stat().st_mode) == 0o700
        family = installed.family()
        assert installed.end() == 0
        assert alive(family) == set()


def test_a_command_without_any_server_reports_what_to_do() -> None:
    with installation() as installed:
        result = installed.run("keys", "list")
    assert result.returncode == 2
    assert "DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr


def test_up_uses_the_servers_of_the_environment_and_does_not_stop_them(empty_database_url: str, redis_url: str) -> None:
    with installation() as installed:
        installed.start(DATABASE_URL=empty_database_url, REDIS_URL=redis_url)
        assert set(installed.children()) == {"web", "worker", "beat"}
        assert installed.get("/readyz") == 200
        assert installed.end() == 0
        assert not (installed.data_dir / "postgres").exists()
    assert _scalar(empty_database_url, "SELECT count(*) FROM api_keys") == 1


def test_a_database_that_does_not_answer_is_reported_without_its_password() -> None:
    with installation() as installed:
        result = installed.run("up", DATABASE_URL="postgresql://me:hush@127.0.0.1:1/x")
    assert result.returncode == 2
    assert "127.0.0.1:1/x" in result.stderr
    assert "hush" not in result.stdout + result.stderr


def test_a_wrong_setting_is_reported_in_one_sentence() -> None:
    with installation() as installed:
        result = installed.run("up", LOOPWISE_WEB_THREADS="many")
    assert result.returncode == 2
    assert "LOOPWISE_WEB_THREADS='many'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("moment", ["postgres", "processes"])
def test_a_signal_during_the_start_ends_up_cleanly(moment: str) -> None:
    with installation() as installed:
        child = installed.launch()
        wait_for(lambda: f"\n{moment} " in "\n" + installed.output(), 60, installed.output)
        family = installed.family()
        child.send_signal(signal.SIGTERM)
        assert child.wait(40) == 0, installed.output()
        assert alive(family) == set()
