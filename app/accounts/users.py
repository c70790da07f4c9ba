"""People: roles, one-time links, passwords, sessions. No secret is stored or logged: links and sessions only as hashes.

A person's first password, and a forgotten one, is chosen over a one-time link, so nobody ever types another's password.
"""

import hashlib
import re
import secrets
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.accounts import passwords, throttle
from app.accounts.store import users as store
from app.accounts.store.users import SignedIn, StoredUser
from app.accounts.throttle import Source
from app.foundation.errors import Conflict, FieldError, NotFound, Unauthorized
from app.foundation.fields import invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction

ROLES = ("viewer", "analyst", "editor", "admin")  # each may do what those before it may
NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,99}")
RESERVED = ("cli", "worker")
LINK_VALID_S = 3 * 86_400.0
IDLE_S = 12 * 3600.0  # a session ends when it was unused for so long
WHOLE_S = 7 * 86_400.0  # and after so long at the latest


class Opened(NamedTuple):
    """The purpose of a one-time link."""

    name: str | None  # whose password is chosen; null: the first administrator, who also chooses a name


def create_user(engine: Engine, name: str, role: str, actor: str) -> str:
    """Create a user; return the token of the one-time link over which the person chooses a password.

    :raises Unprocessable: the name or the role is not allowed.
    :raises Conflict: the name is taken.
    """
    name = _checked_name(name)
    _check_role(role)
    with transaction(engine) as connection:
        store.take_turns(connection)
        if store.find(connection, name) is not None:
            raise Conflict("user_exists", f"There is a user {name!r} already.")
        user_id = store.add(connection, name, role)
        after = {"name": name, "role": role}
        platform.record_change(connection, actor=actor, kind="user_created", after=after)
        return _new_link(connection, user_id)


def new_link(engine: Engine, name: str, actor: str) -> str:
    """Create a one-time link over which a user chooses a password; return its token.

    :raises NotFound: no user of that name may sign in.
    """
    with transaction(engine) as connection:
        user = known_user(connection, name)
        if user.disabled_at is not None:
            raise unknown_user(name)
        platform.record_change(connection, actor=actor, kind="user_link", after={"name": user.name})
        return _new_link(connection, user.id)


def first_admin_link(engine: Engine) -> str | None:
    """Return the token of the link that creates the first administrator; null when an administrator exists."""
    with transaction(engine) as connection:
        store.take_turns(connection)
        if _active_admins(store.every(connection)):
            return None
        return _new_link(connection, None)


def list_users(engine: Engine) -> list[StoredUser]:
    """List all users by name."""
    with transaction(engine) as connection:
        return store.every(connection)


def set_role(engine: Engine, name: str, role: str, actor: str) -> None:
    """Give a user another role, which applies from the next request.

    :raises NotFound: the user does not exist.
    :raises Conflict: it would leave no administrator.
    """
    _check_role(role)
    with transaction(engine) as connection:
        store.take_turns(connection)
        user = known_user(connection, name)
        if user.role == role:
            return
        if role != "admin":
            _keep_an_admin(connection, user)
        store.change(connection, user.id, role=role)
        before, after = {"name": user.name, "role": user.role}, {"name": user.name, "role": role}
        platform.record_change(connection, actor=actor, kind="user_role", before=before, after=after)


def set_disabled(engine: Engine, name: str, disabled: bool, actor: str) -> None:
    """Lock a user out, at once and everywhere, or let the user in again.

    :raises NotFound: the user does not exist.
    :raises Conflict: it would leave no administrator.
    """
    with transaction(engine) as connection:
        store.take_turns(connection)
        user = known_user(connection, name)
        if (user.disabled_at is not None) == disabled:
            return
        if disabled:
            _keep_an_admin(connection, user)
            store.end_sessions_of(connection, user.id)
        store.change(connection, user.id, disabled_at=platform.now(connection) if disabled else None)
        kind = "user_disabled" if disabled else "user_enabled"
        platform.record_change(connection, actor=actor, kind=kind, after={"name": user.name})


def open_link(engine: Engine, token: str) -> Opened:
    """Return the purpose of a one-time link, without using it up.

    :raises NotFound: the link was used, or is too old.
    """
    with transaction(engine) as connection:
        link = _valid_link(connection, token)
        return Opened(None if link.user_id is None else store.by_id(connection, link.user_id).name)


def use_link(engine: Engine, token: str, password: str, name: str = "") -> str:
    """Choose a password (and, as the first administrator, a name) over a one-time link, and sign in.

    :returns: the session's token.
    :raises NotFound: the link was used, or is too old.
    :raises Unprocessable: the name or the password is not allowed; the link stays valid.
    """
    with transaction(engine) as connection:
        store.take_turns(connection)
        link = _valid_link(connection, token)
        if link.user_id is None:
            name = _checked_name(name)
            if store.find(connection, name) is not None:
                raise invalid((FieldError("/name", "user_name_taken"),))
        else:
            name = store.by_id(connection, link.user_id).name
        passwords.check(password, name)
        with passwords.Turn():
            hashed = passwords.hashed(password)
        store.use_link(connection, _digest(token))
        user_id = link.user_id if link.user_id is not None else store.add(connection, name, "admin")
        store.change(connection, user_id, password_hash=hashed)
        store.end_sessions_of(connection, user_id)
        platform.record_change(connection, actor=name, kind="password_chosen", after={"name": name})
        return new_session(connection, user_id)


def sign_in(engine: Engine, name: str, password: str, source: Source) -> str:
    """Begin a session; return its token. Unknown names take as long as wrong passwords.

    :raises Unauthorized: the name or the password is wrong; the error does not say which.
    :raises TooManyRequests: too many recent sign-ins failed.
    """
    with (
        passwords.Turn()
    ):  # includes counting failures: concurrent attempts must not all read the count before the first one fails
        return _sign_in(engine, throttle.normal(name), password, source)


def _sign_in(engine: Engine, name: str, password: str, source: Source) -> str:
    with transaction(engine) as connection:
        throttle.check(connection, name, source)
        user = store.find(connection, name)
    usable = user is not None and user.disabled_at is None
    right = passwords.verify(user.password_hash if user is not None and usable else None, password)
    with transaction(engine) as connection:
        if user is not None and right:
            store.forget_failures(connection, name, source.text)
            platform.record_change(connection, actor=user.name, kind="signed_in", after={"address": source.text})
            return new_session(connection, user.id)
        store.add_failure(connection, name, source.text)
    raise Unauthorized("sign_in_failed", "That name and password do not belong together.")


def user_of(engine: Engine, token: str) -> SignedIn | None:
    """Return the user of a session; null when the session is over."""
    hashed = _digest(token)
    with transaction(engine) as connection:
        signed_in = store.user_of(connection, hashed, IDLE_S, WHOLE_S)
        if signed_in is not None and signed_in.idle:
            store.touch_session(connection, hashed)
    return signed_in


def sign_out(engine: Engine, token: str) -> None:
    """End a session on the server, so that its cookie is no longer valid."""
    with transaction(engine) as connection:
        store.end_session(connection, _digest(token))


def may(role: str, needed: str) -> bool:
    """True when a role includes another."""
    return ROLES.index(role) >= ROLES.index(needed)


def unknown_user(name: str) -> NotFound:
    """Return the error for an unknown user name."""
    return NotFound("unknown_user", f"There is no user {name!r}; `loopwise users list` shows them.")


def known_user(connection: Connection, name: str) -> StoredUser:
    """The user of that name.

    :raises NotFound: there is none.
    """
    user = store.find(connection, name.strip().lower())
    if user is None:
        raise unknown_user(name)
    return user


def _active_admins(users: list[StoredUser]) -> list[StoredUser]:
    return [user for user in users if user.role == "admin" and user.disabled_at is None and user.password_hash]


def _keep_an_admin(connection: Connection, without: StoredUser) -> None:
    admins = _active_admins(store.every(connection))
    if [user.id for user in admins] == [without.id]:
        message = f"{without.name} is the only administrator. Make somebody else one first."
        raise Conflict("last_admin", message)


def _checked_name(name: str) -> str:
    name = name.strip().lower()
    if not NAME.fullmatch(name) or name in RESERVED or name.startswith("lw_"):
        raise invalid((FieldError("/name", "user_name_shape"),))
    return name


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise invalid((FieldError("/role", "not_a_choice", {"expected": [*ROLES]}),))


def _valid_link(connection: Connection, token: str) -> store.Link:
    link = store.find_link(connection, _digest(token))
    if link is None:
        message = (
            "This link was used already, or is too old. An administrator can make a new one; so does `loopwise users`."
        )
        raise NotFound("invalid_link", message)
    return link


def _new_link(connection: Connection, user_id: int | None) -> str:
    token = secrets.token_urlsafe(32)
    store.add_link(connection, _digest(token), user_id, LINK_VALID_S)
    return token


def new_session(connection: Connection, user_id: int) -> str:
    """Begin a session; return its token."""
    token = secrets.token_urlsafe(32)
    store.add_session(connection, _digest(token), user_id)
    store.change(connection, user_id, signed_in_at=platform.now(connection))
    return token


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
