"""What a key may do, which experiment it is bound to, what counts as one, and how keys are made: without a web server."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine

from app.accounts import keys
from app.accounts.keys import Caller, create_key, list_keys, revoke_key
from app.accounts.store.keys import StoredKey
from app.foundation.errors import Forbidden, NotFound, Unauthorized, Unprocessable
from app.foundation.running.steps import run
from app.foundation.store import platform
from tests.service import Loop, engine_of, query, wait_for

HASH = hashlib.sha256(b"the key").digest()


@pytest.fixture(scope="module")
def engine(database_url: str) -> Iterator[Engine]:
    with engine_of(database_url) as made:
        yield made


def stored(**fields: Any) -> StoredKey:
    return StoredKey(**{**dict.fromkeys(StoredKey._fields), "id": "k", "secret_hash": HASH, **fields})


def problems(caught: pytest.ExceptionInfo[Unprocessable]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(field.path, field.code, dict(field.params)) for field in caught.value.fields]


# Scopes and bounds


def revoke_administrators(engine: Engine) -> None:
    for key in list_keys(engine):
        if "admin" in key.scopes and key.revoked_at is None:
            revoke_key(engine, key.id)


def test_two_first_starts_at_once_make_one_administrators_key(engine: Engine, database_url: str) -> None:
    revoke_administrators(engine)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            platform.next_revision(connection)
            key = StoredKey("lw_0123456789ab", b"hash", "administrator", ["admin"], None, None, None, None)
            keys._store(connection, key, "cli")
            second = pool.submit(keys.ensure_admin_key, engine)
            wait_for(lambda: bool(query(database_url, waiting)[0][0]), 20, "the second start's wait")
        assert second.result() is None
    revoke_administrators(engine)


@pytest.mark.parametrize("scope", keys.SCOPES)
def test_a_key_may_do_what_its_scope_says_and_an_administrators_everything(scope: str) -> None:
    own = Caller("k", frozenset({scope}), None)
    assert {other for other in keys.SCOPES if own.may(other)} == ({*keys.SCOPES} if scope == "admin" else {scope})
    assert not Caller("k", frozenset(), None).may(scope)


def test_the_scopes_are_those_that_keys_and_documents_hold() -> None:
    assert keys.SCOPES == ("decide", "reward", "read", "manage", "people", "admin")
    assert keys.PUBLISHABLE == ("decide", "reward")
    assert not Caller("k", frozenset(), None).publishable


def test_a_bound_key_is_refused_for_every_other_experiment() -> None:
    bound, free = Caller("k", frozenset(), 7), Caller("k", frozenset(), None)
    bound.check_bound(7)
    free.check_bound(7)
    free.check_bound(None)
    for other in (8, None):  # null: there is no such experiment, which the key must not learn
        with pytest.raises(Forbidden, match="This API key is bound to another experiment") as caught:
            bound.check_bound(other)
        assert caught.value.code == "wrong_experiment"
    assert [caller.sees(7) for caller in (bound, free)] == [True, True]
    assert [caller.sees(8) for caller in (bound, free)] == [False, True]


def test_a_person_who_is_signed_in_may_do_what_concerns_people_and_nothing_else() -> None:
    assert keys.person("ada") == Caller("ada", frozenset({"people"}), None, False)


# Recognition


class _Directory:
    """Knows a key only after it looked again."""

    def __init__(self, known: dict[str, StoredKey], after: dict[str, StoredKey]) -> None:
        self.known, self.after, self.looks = known, after, 0

    def known_keys(self) -> dict[str, StoredKey]:
        return self.known

    def refresh(self) -> None:
        self.looks += 1
        self.known = self.after


def test_the_keys_are_reloaded_once_for_an_unknown_key() -> None:
    key = stored()
    for known, after, answer, looks in (
        ({"k": key}, {}, key, 0),
        ({}, {"k": key}, key, 1),
        ({}, {}, None, 1),
    ):
        directory = _Directory(known, after)
        assert (run(keys.known_key(directory, "k")), directory.looks) == (answer, looks)


WHOLE = "lw_0123456789ab_" + "A" * 43


def test_a_presented_key_is_its_public_id_and_its_hash() -> None:
    assert keys.parse(WHOLE) == ("lw_0123456789ab", hashlib.sha256(WHOLE.encode()).digest())


@pytest.mark.parametrize(
    "presented",
    [
        "",
        WHOLE[:-1],
        WHOLE + "A",
        " " + WHOLE,
        WHOLE + "\n",
        WHOLE.upper(),
        WHOLE.replace("lw", "wl"),
        WHOLE[:-1] + ".",
    ],
)
def test_a_malformed_key_gets_the_same_error_as_an_unknown_key(presented: str) -> None:
    with pytest.raises(Unauthorized, match="Send a valid API key") as caught:
        keys.parse(presented)
    assert caught.value.code == "invalid_key"


def test_only_the_same_hash_of_a_key_that_was_not_revoked_matches() -> None:
    assert keys.matches(stored(), HASH) is True
    assert keys.matches(stored(secret_hash=memoryview(HASH)), HASH) is True
    assert keys.matches(stored(), HASH[:-1] + b"\0") is False
    assert keys.matches(stored(revoked_at="2026-01-31"), HASH) is False


# Making


def test_a_new_key_is_kept_as_its_hash_and_noted_in_the_history(engine: Engine, database_url: str, loop: Loop) -> None:
    experiment_id = loop.make("owner")
    made = create_key(engine, scopes=["reward", "decide", "reward"], experiment_key="owner", name="shop", actor="ada")
    key_id, hashed = keys.parse(made.secret_text)
    (row,) = [key for key in list_keys(engine) if key.id == made.id]
    assert (key_id, bytes(row.secret_hash)) == (made.id, hashed)
    assert (row.name, row.scopes, row.experiment_id, row.origins) == ("shop", ["decide", "reward"], experiment_id, None)
    assert (row.revoked_at, keys.matches(row, hashed)) == (None, True)
    assert keys.bound_experiments(engine, [row]) == {experiment_id: "owner"}
    changed = "SELECT actor, kind, experiment_id, before, after FROM changes WHERE after ->> 'id' = %s"
    after = {"id": made.id, "scopes": ["decide", "reward"], "name": "shop"}
    assert query(database_url, changed, made.id) == [("ada", "key_created", experiment_id, None, after)]


def test_by_default_a_key_is_unbound_and_created_by_the_command_line(engine: Engine, database_url: str) -> None:
    made = create_key(engine, scopes=["read"])
    (row,) = [key for key in list_keys(engine) if key.id == made.id]
    assert (row.name, row.experiment_id, keys.bound_experiments(engine, [row])) == ("", None, {})
    assert query(database_url, "SELECT actor FROM changes WHERE after ->> 'id' = %s", made.id) == [("cli",)]


def test_keys_are_random() -> None:
    made = [keys._random_key() for _ in range(50)]
    assert len({key.id for key in made}) == len({key.secret_text[16:] for key in made}) == 50


@pytest.mark.parametrize("scopes", [[], ["decide", "everything"]])
def test_unknown_scopes_and_an_empty_list_of_scopes_are_refused(engine: Engine, scopes: list[str]) -> None:
    with pytest.raises(Unprocessable) as caught:
        create_key(engine, scopes=scopes)
    assert problems(caught) == [("/scopes", "scopes_unknown", {"known": [*keys.SCOPES]})]


def test_a_key_for_an_unknown_experiment_is_refused(engine: Engine) -> None:
    with pytest.raises(NotFound):
        create_key(engine, scopes=["read"], experiment_key="nowhere")


SHOP = "https://shop.example"


def test_origins_are_kept_sorted_and_once_and_noted(engine: Engine, database_url: str) -> None:
    allowed = [SHOP, "http://localhost:5173", SHOP, "http://127.0.0.1", "https://a-b.example:8443"]
    made = create_key(engine, scopes=["decide", "reward"], origins=allowed)
    (row,) = [key for key in list_keys(engine) if key.id == made.id]
    assert row.origins == sorted(set(allowed))
    noted = query(database_url, "SELECT after -> 'origins' FROM changes WHERE after ->> 'id' = %s", made.id)
    assert noted == [(sorted(set(allowed)),)]


def test_at_most_twenty_origins_and_at_least_one(engine: Engine) -> None:
    assert keys.MAX_ORIGINS == 20
    create_key(engine, scopes=["decide"], origins=[f"https://{n}.example" for n in range(20)])
    create_key(engine, scopes=["decide"], origins=["https://one.example"])
    for origins in ([], [f"https://{n}.example" for n in range(21)]):
        with pytest.raises(Unprocessable) as caught:
            create_key(engine, scopes=["decide"], origins=origins)
        assert problems(caught) == [("/origins", "not_an_origin", {"limit": 20})]


@pytest.mark.parametrize(
    "origin",
    [
        "http://shop.example",
        f"{SHOP}/",
        f"{SHOP}:123456",
        "https://",
        "null",
        "http://localhost.evil.example",
        f"x{SHOP}",
    ],
)
def test_an_origin_is_https_or_this_machine_and_nothing_after_it(engine: Engine, origin: str) -> None:
    with pytest.raises(Unprocessable) as caught:
        create_key(engine, scopes=["decide"], origins=[SHOP, origin])
    assert problems(caught) == [("/origins", "not_an_origin", {"limit": 20})]


def test_a_publishable_key_only_decides_and_rewards(engine: Engine) -> None:
    with pytest.raises(Unprocessable) as caught:
        create_key(engine, scopes=["decide", "read"], origins=["null"])
    assert problems(caught) == [
        ("/scopes", "scopes_not_publishable", {"known": ["decide", "reward"]}),
        ("/origins", "not_an_origin", {"limit": 20}),
    ]


def test_a_revoked_key_ends_once_and_the_history_names_it(engine: Engine, database_url: str) -> None:
    made = create_key(engine, scopes=["read"])
    revoke_key(engine, made.id)
    (row,) = [key for key in list_keys(engine) if key.id == made.id]
    assert row.revoked_at is not None
    for key_id in (made.id, "lw_nothing"):
        with pytest.raises(NotFound, match="There is no valid key") as caught:
            revoke_key(engine, key_id, "ada")
        assert caught.value.code == "unknown_key"
    noted = "SELECT actor, kind, after FROM changes WHERE before ->> 'id' = %s"
    assert query(database_url, noted, made.id) == [("cli", "key_revoked", None)]


def test_the_first_administrators_key_is_made_when_there_is_no_valid_one(engine: Engine, database_url: str) -> None:
    create_key(engine, scopes=["read", "manage"])
    first = keys.ensure_admin_key(engine)
    assert first is not None
    assert keys.ensure_admin_key(engine) is None
    (row,) = [key for key in list_keys(engine) if key.id == first.id]
    assert (row.scopes, row.name, row.experiment_id) == (["admin"], "administrator", None)
    revoke_key(engine, first.id)
    second = keys.ensure_admin_key(engine)
    assert second is not None
    assert second.id != first.id
    assert query(database_url, "SELECT actor FROM changes WHERE after ->> 'id' = %s", second.id) == [("cli",)]
