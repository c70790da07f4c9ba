"""API keys: 256 random bits behind a public prefix. The key itself is shown once and never stored or logged."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, Engine

from app.accounts.rates import Rates
from app.accounts.store import keys as store
from app.accounts.store.keys import StoredKey
from app.foundation.errors import FieldError, Forbidden, NotFound, Unauthorized
from app.foundation.fields import invalid
from app.foundation.running.steps import Blocking, Steps
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import experiments

SCOPES = ("decide", "reward", "read", "manage", "people", "admin")
PUBLISHABLE = ("decide", "reward")  # scopes that a key may have which everybody can read
ORIGIN = re.compile(r"https://[a-z0-9.-]{1,253}(:\d{1,5})?|http://(localhost|127\.0\.0\.1)(:\d{1,5})?")
MAX_ORIGINS = 20
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII)
FORM = re.compile(r"lw_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")


class NewKey(NamedTuple):
    """A new key with its secret text, which is shown only once."""

    id: str  # public prefix, for lists and logs
    secret_text: str  # the whole key, as the caller sends it


class Caller(NamedTuple):
    """The caller, as identified by the key."""

    key_id: str
    scopes: frozenset[str]
    experiment_id: int | None  # null: any experiment
    publishable: bool = False  # readable by everybody who opens a page that uses it
    test: bool = False  # its decisions are trials

    def may(self, scope: str) -> bool:
        """True when the key carries the scope; admin carries all."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, experiment_id: int) -> bool:
        """False: the key is bound to another experiment, so what belongs to this one does not exist for it."""
        return self.experiment_id in (None, experiment_id)

    def check_bound(self, experiment_id: int | None) -> None:
        """:raises Forbidden: the key is bound to another experiment than the one that the call names; null: one that is none."""
        if self.experiment_id is not None and self.experiment_id != experiment_id:
            raise Forbidden("wrong_experiment", "This API key is bound to another experiment.")


class KeyDirectory(Protocol):
    """The API keys that a process has loaded, and a way to load newer ones."""

    def known_keys(self) -> Mapping[str, StoredKey]:
        """Return the keys by public id, as last loaded, including revoked keys."""
        ...

    def refresh(self) -> object:
        """Load the keys again."""
        ...

    @property
    def rates(self) -> Rates:
        """How often publishable keys have called."""
        ...


def known_key(directory: KeyDirectory, key_id: str) -> Steps[StoredKey | None]:
    """Return a key by its public id. A process that does not know it reloads once, because the key may be new."""
    key = directory.known_keys().get(key_id)
    if key is None:
        yield Blocking(directory.refresh)
        key = directory.known_keys().get(key_id)
    return key


def person(name: str) -> Caller:
    """Return a signed-in user as a caller for operations on people. The page has already checked the user's role."""
    return Caller(name, frozenset({"people"}), None)


def check_unbound(caller: Caller) -> None:
    """:raises Forbidden: the key is bound to one experiment, and this concerns all of them."""
    if caller.experiment_id is not None:
        raise Forbidden("wrong_experiment", "This key is bound to one experiment; this concerns all of them.")


def create_key(
    engine: Engine,
    *,
    scopes: Collection[str],
    experiment_key: str | None = None,
    name: str = "",
    origins: Collection[str] | None = None,
    test: bool = False,
    actor: str = "cli",
) -> NewKey:
    """Create a key.

    :param test: its decisions are trials: made and logged, and counted nowhere.

    :param origins: web pages that may use it, as https://shop.example; then it is publishable and works nowhere else.

    :raises Unprocessable: a scope is unknown, or there is no scope.
    :raises NotFound: the experiment does not exist.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise invalid((FieldError("/scopes", "scopes_unknown", {"known": [*SCOPES]}),))
    allowed = None if origins is None else _checked_origins(origins, scopes)
    new = _random_key()
    with transaction(engine) as connection:
        experiment_id = None
        if experiment_key is not None:
            experiment = stored_experiment(connection, experiment_key)
            experiment_id = experiment.id
        key = StoredKey(new.id, _hash(new), name, sorted(set(scopes)), experiment_id, None, None, allowed, test)
        _store(connection, key, actor)
    return new


def ensure_admin_key(engine: Engine) -> NewKey | None:
    """Create the first administrator's key; None when a valid administrator's key exists."""
    with transaction(engine) as connection:
        platform.next_revision(connection)  # its row lock serialises two first starts
        if any("admin" in key.scopes and key.revoked_at is None for key in store.every(connection)):
            return None
        new = _random_key()
        key = StoredKey(new.id, _hash(new), "administrator", ["admin"], None, None, None, None)
        _store(connection, key, "cli")
    return new


def list_keys(engine: Engine) -> list[StoredKey]:
    """List every key, oldest first. The hash is the only secret in a row."""
    with transaction(engine) as connection:
        return store.every(connection)


def bound_experiments(engine: Engine, listed: Sequence[StoredKey]) -> dict[int, str]:
    """The keys of the experiments that these API keys are bound to, by the experiments' ids."""
    with transaction(engine) as connection:
        return experiments.keys_of(connection, {key.experiment_id for key in listed if key.experiment_id is not None})


def revoke_key(engine: Engine, key_id: str, actor: str = "cli") -> None:
    """Make a key invalid at once (in every process within the snapshot interval).

    :raises NotFound: no valid key has that id.
    """
    with transaction(engine) as connection:
        if not store.revoke(connection, key_id, platform.next_revision(connection)):
            raise NotFound("unknown_key", f"There is no valid key {key_id!r}; `loopwise keys list` shows them.")
        platform.record_change(connection, actor=actor, kind="key_revoked", before={"id": key_id})


def check_id(caller: Caller, given: str | None, path: str) -> None:
    """Check that an id that somebody chose for something new cannot be meant to take another's.

    A page chooses UUIDs, which nobody's server hits by chance. A shop's own ids, as order-4711, are for its server to give.

    :param path: JSON pointer to the id.
    :raises Unprocessable: the caller is a browser, and the id is no UUID.
    """
    if caller.publishable and given is not None and not UUID.fullmatch(given):
        raise invalid((FieldError(path, "not_a_uuid"),))


def parse(presented: str) -> tuple[str, bytes]:
    """Return the public id and the hash of a presented key.

    :raises Unauthorized: the text does not have the form of a key.
    """
    if not FORM.fullmatch(presented):
        raise unknown_key()
    return presented[:15], hashlib.sha256(presented.encode()).digest()


def matches(stored: StoredKey, presented_hash: bytes) -> bool:
    """True when the hash belongs to this key and the key is valid. The comparison takes constant time."""
    return stored.revoked_at is None and hmac.compare_digest(bytes(stored.secret_hash), presented_hash)


def unknown_key() -> Unauthorized:
    """Return the same error for every key that does not work, so that it reveals nothing."""
    return Unauthorized("invalid_key", "Send a valid API key; `loopwise keys create` makes one.")


def _checked_origins(origins: Collection[str], scopes: Collection[str]) -> list[str]:
    problems = []
    if not set(scopes) <= set(PUBLISHABLE):
        problems.append(FieldError("/scopes", "scopes_not_publishable", {"known": [*PUBLISHABLE]}))
    if not 1 <= len(origins) <= MAX_ORIGINS or not all(ORIGIN.fullmatch(origin) for origin in origins):
        problems.append(FieldError("/origins", "not_an_origin", {"limit": MAX_ORIGINS}))
    if problems:
        raise invalid(tuple(problems))
    return sorted(set(origins))


def _random_key() -> NewKey:
    key_id = f"lw_{secrets.token_hex(6)}"
    return NewKey(key_id, f"{key_id}_{secrets.token_urlsafe(32)}")


def _hash(new: NewKey) -> bytes:
    return hashlib.sha256(new.secret_text.encode()).digest()


def _store(connection: Connection, key: StoredKey, actor: str) -> None:
    store.add(connection, key=key, revision=platform.next_revision(connection))
    after: dict[str, object] = {"id": key.id, "scopes": key.scopes, "name": key.name}
    after |= {"origins": key.origins} if key.origins else {}
    after |= {"test": True} if key.test else {}
    platform.record_change(connection, actor=actor, kind="key_created", experiment_id=key.experiment_id, after=after)
