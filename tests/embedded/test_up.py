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
from tests.embedded.installation import Installation, alive, installation, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
_HEAL_S = 30.0


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    with installation() as made:
        yield made.start()


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


def test_it_says_where_it_is_ready_and_answers_there(running: Installation) -> None:
    assert f"ready: {running.runtime()['url']}\n" in running.output()
    assert running.get("/readyz") == 200


def test_what_it_keeps_is_closed_to_other_users(running: Installation) -> None:
    assert stat.S_IMODE(running.data_dir.stat().st_mode) & 0o067 == 0
    for name in ("admin-key", "secret-key", "runtime.json", "postgres-password", "redis-password"):
        assert stat.S_IMODE((running.data_dir / name).stat().st_mode) == 0o600, name


def test_passwords_are_not_in_the_process_list(running: Installation) -> None:
    secrets = [(running.data_dir / name).read_text().strip() for name in ("postgres-password", "redis-password")]
    for pid in running.family():
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            line = file.read()
        assert not any(secret in line for secret in secrets)


def test_the_servers_keep_what_they_acknowledge(running: Installation) -> None:
    assert _scalar(running.runtime()["database_url"], "SHOW fsync") == "on"
    assert _scalar(running.runtime()["database_url"], "SHOW listen_addresses") == "127.0.0.1"
    client = redis.Redis.from_url(running.runtime()["redis_url"])
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.close()


def test_a_second_one_on_the_same_folder_is_refused_with_the_address_of_the_first(running: Installation) -> None:
    result = running.run("up", "--no-demo")
    assert result.returncode == 2
    assert running.runtime()["url"] in result.stderr
    assert str(running.runtime()["pid"]) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_named(running: Installation) -> None:
    with socket.socket() as taken, installation() as other:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = other.run("up", "--no-demo", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert str(taken) not in result.stderr
    assert "--port" in result.stderr


def test_another_command_uses_the_running_servers(running: Installation) -> None:
    made = running.run("keys", "create", "--scopes", "decide,reward", "--name", "shop front")
    assert made.returncode == 0, made.stderr
    key = made.stdout.splitlines()[-1]
    listed = running.run("keys", "list").stdout
    assert "shop front" in listed
    assert key not in listed


@pytest.mark.parametrize("name", ["beat", "worker", "redis", "web", "postgres"])
def test_a_killed_process_comes_back_by_itself(running: Installation, name: str) -> None:
    before = running.children()[name]
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: running.children().get(name, before) != before, _HEAL_S, running.output)
    wait_for(lambda: _database_answers(running) and _redis_answers(running), _HEAL_S, running.output)
    wait_for(lambda: running.get("/readyz") == 200, _HEAL_S, running.output)


def test_stop_restart_and_kill() -> None:
    with installation() as made:
        made.start()
        key = (made.data_dir / "admin-key").read_text()
        family = made.family()
        assert made.end(signal.SIGINT) == 0
        assert alive(family) == set()

        # The data of a stopped `up` can still be worked on, and nothing keeps running after the command.
        result = made.run("keys", "create", "--scopes", "read", "--name", "made while stopped")
        assert result.returncode == 0, result.stderr

        made.start()
        assert (made.data_dir / "admin-key").read_text() == key
        assert "made while stopped" in made.run("keys", "list").stdout
        family = made.family()
        assert made.end(signal.SIGKILL) == -signal.SIGKILL
        wait_for(lambda: not alive(family), 15, lambda: str(alive(family)))

        made.start()
        assert made.get("/readyz") == 200
        assert made.end(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_an_ordinary_user_can_run_it() -> None:
    nobody = pwd.getpwnam("nobody")
    # Inside a user namespace: not root, yet able to read an interpreter in root's home.
    with installation(Identity(nobody.pw_uid, nobody.pw_gid, True)) as made:
        try:
            made.start()
        except (OSError, RuntimeError) as error:
            pytest.skip(f"no user namespaces here: {error}")
        assert stat.S_IMODE(made.data_dir.stat().st_mode) == 0o700
        family = made.family()
        assert made.end() == 0
        assert alive(family) == set()


def test_a_command_without_any_server_says_what_to_do() -> None:
    with installation() as made:
        result = made.run("keys", "list")
    assert result.returncode == 2
    assert "DATABASE_URL" in result.stderr
    assert "Traceback" not in result.stderr
