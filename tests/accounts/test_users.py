"""Users: links that work once, an administrator who always remains, secrets that are nowhere."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.accounts import users
from app.accounts.throttle import Source
from app.foundation.errors import Conflict, LoopwiseError, NotFound, TooManyRequests, Unauthorized, Unprocessable
from tests.service import engine_of, query

PASSWORD = "nine bright shiners"


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Any]:
    with engine_of(database_url) as made:
        yield made


def join(engine: Any, name: str, role: str = "viewer") -> str:
    """A user with a password; returns the session."""
    return users.use_link(engine, users.create_user(engine, name, role, "test"), PASSWORD)


def test_the_first_link_makes_the_administrator_and_then_there_is_none(empty_database_url: str) -> None:
    from app.foundation.store.migrate import upgrade

    upgrade(empty_database_url)
    with engine_of(empty_database_url) as engine:
        old = users.first_admin_link(engine)
        link = users.first_admin_link(engine)
        assert old and link and old != link
        with pytest.raises(NotFound):  # a newer link ends the older
            users.open_link(engine, old)
        assert users.open_link(engine, link).name is None
        with pytest.raises(Unprocessable):
            users.use_link(engine, link, PASSWORD, "not a name!")
        with pytest.raises(Unprocessable):
            users.use_link(engine, link, "short", "Ada")
        session = users.use_link(engine, link, PASSWORD, " Ada@Example.org ")
        found = users.user_of(engine, session)
        assert found is not None and (found.name, found.role) == ("ada@example.org", "admin")
        with pytest.raises(NotFound):
            users.use_link(engine, link, PASSWORD, "eve")
        assert users.first_admin_link(engine) is None


def test_a_link_is_used_by_one_of_many_who_try_at_once(engine: Any, database_url: str) -> None:
    link = users.create_user(engine, "raced", "editor", "test")
    worked: list[str] = []
    failed: list[LoopwiseError] = []

    def attempt(number: int) -> None:
        with engine_of(database_url) as own:
            try:
                worked.append(users.use_link(own, link, f"{PASSWORD} {number}"))
            except LoopwiseError as error:
                failed.append(error)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(worked) == 1 and len(failed) == 3, failed


def test_a_link_ends_after_three_days(engine: Any, database_url: str) -> None:
    link = users.create_user(engine, "late", "viewer", "test")
    query(database_url, "UPDATE sign_in_links SET expires_at = clock_timestamp() - interval '1 second'")
    with pytest.raises(NotFound):
        users.use_link(engine, link, PASSWORD)


def test_no_secret_is_stored(engine: Any, database_url: str) -> None:
    link = users.create_user(engine, "secretive", "viewer", "test")
    session = users.use_link(engine, link, PASSWORD)
    for table in ("users", "sign_in_links", "sessions", "changes"):
        stored = str(query(database_url, f"SELECT row_to_json(t)::text FROM {table} t"))
        assert not [secret for secret in (link, session, PASSWORD) if secret in stored]
    (hashed,) = query(database_url, "SELECT password_hash FROM users WHERE name = 'secretive'")[0]
    assert hashed.startswith("$argon2id$")


def test_a_session_ends_by_itself(engine: Any, database_url: str) -> None:
    session = join(engine, "sleeper")
    assert users.user_of(engine, session) is not None
    query(database_url, "UPDATE sessions SET used_at = used_at - interval '13 hours'")
    assert users.user_of(engine, session) is None
    query(database_url, "UPDATE sessions SET used_at = clock_timestamp(), created_at = created_at - interval '8 days'")
    assert users.user_of(engine, session) is None


def test_a_new_password_ends_the_sessions_under_the_old_one(engine: Any) -> None:
    session = join(engine, "forgetful")
    users.use_link(engine, users.new_link(engine, "forgetful", "test"), "another long password")
    assert users.user_of(engine, session) is None
    with pytest.raises(Unauthorized):
        users.sign_in(engine, "forgetful", PASSWORD, Source("test", False))
    assert users.sign_in(engine, "Forgetful ", "another long password", Source("test", False))


def test_the_last_administrator_cannot_be_removed(engine: Any, database_url: str) -> None:
    query(database_url, "DELETE FROM users")
    join(engine, "only", "admin")
    for attempt in (
        lambda: users.set_role(engine, "only", "viewer", "test"),
        lambda: users.set_disabled(engine, "only", True, "test"),
    ):
        with pytest.raises(Conflict) as caught:
            attempt()
        assert caught.value.code == "last_admin"
    users.create_user(engine, "invited", "admin", "test")  # has no password yet: does not count
    with pytest.raises(Conflict):
        users.set_disabled(engine, "only", True, "test")
    join(engine, "second", "admin")
    users.set_disabled(engine, "only", True, "test")


def test_two_administrators_cannot_lock_each_other_out_at_once(engine: Any, database_url: str) -> None:
    query(database_url, "DELETE FROM users")
    names = ("left", "right")
    for name in names:
        join(engine, name, "admin")
    start = threading.Barrier(2)

    def lock_out(name: str) -> None:
        with engine_of(database_url) as own:
            start.wait()
            try:
                users.set_disabled(own, name, True, "test")
            except Conflict:
                return

    threads = [threading.Thread(target=lock_out, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert query(database_url, "SELECT count(*) FROM users WHERE disabled_at IS NULL") == [(1,)]


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "aaaaaaaaaaaa", "particular"])
def test_a_weak_password_is_refused_and_the_link_stays_valid(engine: Any, database_url: str, password: str) -> None:
    query(database_url, "DELETE FROM users WHERE name = 'particular'")
    link = users.create_user(engine, "particular", "viewer", "test")
    with pytest.raises(Unprocessable):
        users.use_link(engine, link, password)
    assert users.use_link(engine, link, PASSWORD)


@pytest.mark.parametrize("name", ["", " ", "a b", "ä", "-x", "cli", "lw_123", "x" * 101, "a\0b", "<b>"])
def test_impossible_names_are_refused(engine: Any, name: str) -> None:
    with pytest.raises(Unprocessable):
        users.create_user(engine, name, "viewer", "test")


def test_sign_ins_at_once_are_throttled_after_the_first_failures(engine: Any, database_url: str) -> None:
    join(engine, "stormed")
    refused: list[type[LoopwiseError]] = []

    def attempt() -> None:
        with engine_of(database_url) as own:
            try:
                users.sign_in(own, "stormed", "wrong password", Source("10.0.0.1", False))
            except LoopwiseError as error:
                refused.append(type(error))

    threads = [threading.Thread(target=attempt) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused.count(Unauthorized) <= 6 and refused.count(TooManyRequests) >= 14
    assert users.sign_in(engine, "stormed", PASSWORD, Source("10.0.0.2", False))  # from elsewhere it works
