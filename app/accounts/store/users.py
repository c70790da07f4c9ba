"""People who sign in, their one-time links, their sessions, and sign-ins that failed."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, text, update

from app.foundation.store import tables

_u = tables.users
_l = tables.sign_in_links
_s = tables.sessions
_f = tables.sign_in_failures


class StoredUser(NamedTuple):
    """One person."""

    id: int
    name: str
    role: str  # viewer, analyst, editor, admin
    password_hash: str | None  # null: has not chosen a password yet
    created_at: datetime
    disabled_at: datetime | None  # null: may sign in
    signed_in_at: datetime | None  # null: never
    time_zone: str | None  # null: that of the browser
    theme: str | None  # null: not chosen


_columns = [_u.c[name] for name in StoredUser._fields]


def take_turns(connection: Connection) -> None:
    """Serialise changes of users, because two of them must not check for the last administrator at the same time."""
    connection.execute(text("LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"))


def every(connection: Connection) -> list[StoredUser]:
    """List all users by name."""
    return [StoredUser._make(row) for row in connection.execute(select(*_columns).order_by(_u.c.name))]


def find(connection: Connection, name: str) -> StoredUser | None:
    """The user of that name."""
    row = connection.execute(select(*_columns).where(_u.c.name == name)).first()
    return None if row is None else StoredUser._make(row)


def by_id(connection: Connection, user_id: int) -> StoredUser:
    """The user of that id, who exists."""
    return StoredUser._make(connection.execute(select(*_columns).where(_u.c.id == user_id)).one())


def add(connection: Connection, name: str, role: str) -> int:
    """Add a user without a password; return the id."""
    return int(connection.execute(insert(_u).values(name=name, role=role).returning(_u.c.id)).scalar_one())


def change(connection: Connection, user_id: int, **values: object) -> None:
    """Set columns of a user."""
    connection.execute(update(_u).where(_u.c.id == user_id).values(**values))


def add_link(connection: Connection, token_hash: bytes, user_id: int | None, valid_s: float) -> None:
    """Store a one-time link; earlier links for the same person (or for the first administrator) end."""
    connection.execute(delete(_l).where(_l.c.user_id.is_not_distinct_from(user_id)))
    expires = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, valid_s)
    connection.execute(insert(_l).values(token_hash=token_hash, user_id=user_id, expires_at=expires))


class Link(NamedTuple):
    """A valid one-time link."""

    user_id: int | None


def find_link(connection: Connection, token_hash: bytes) -> Link | None:
    """The link, if it is valid."""
    query = select(_l.c.user_id).where(_l.c.token_hash == token_hash, _l.c.expires_at > func.clock_timestamp())
    row = connection.execute(query).first()
    return None if row is None else Link(row.user_id)


def use_link(connection: Connection, token_hash: bytes) -> bool:
    """End a link; False when somebody was faster."""
    return connection.execute(delete(_l).where(_l.c.token_hash == token_hash)).rowcount == 1


def add_session(connection: Connection, token_hash: bytes, user_id: int) -> None:
    """Store a session, and delete sessions that ended long ago."""
    connection.execute(text("DELETE FROM sessions WHERE created_at < clock_timestamp() - interval '30 days'"))
    connection.execute(insert(_s).values(token_hash=token_hash, user_id=user_id))


_USER_OF = text(
    """
    SELECT u.id, u.name, u.role, u.time_zone, u.theme, s.used_at < clock_timestamp() - interval '1 minute' AS idle
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.token_hash = :token_hash AND u.disabled_at IS NULL
      AND s.used_at > clock_timestamp() - make_interval(secs => :idle_s)
      AND s.created_at > clock_timestamp() - make_interval(secs => :whole_s)
    """
)


class SignedIn(NamedTuple):
    """The user of a session."""

    id: int
    name: str
    role: str
    time_zone: str | None  # as in Europe/Vienna; null: that of the browser
    theme: str | None  # auto, light, dark; null: not chosen
    idle: bool  # unused for more than a minute, so its time of use has to be updated


def user_of(connection: Connection, token_hash: bytes, idle_s: float, whole_s: float) -> SignedIn | None:
    """The user of a session that is valid."""
    given = {"token_hash": token_hash, "idle_s": idle_s, "whole_s": whole_s}
    row = connection.execute(_USER_OF, given).first()
    return None if row is None else SignedIn._make(row)


def touch_session(connection: Connection, token_hash: bytes) -> None:
    """Record that the session is in use."""
    connection.execute(update(_s).where(_s.c.token_hash == token_hash).values(used_at=func.clock_timestamp()))


def end_session(connection: Connection, token_hash: bytes) -> None:
    """End a session."""
    connection.execute(delete(_s).where(_s.c.token_hash == token_hash))


def end_sessions_of(connection: Connection, user_id: int) -> None:
    """End every session of a user."""
    connection.execute(delete(_s).where(_s.c.user_id == user_id))


def add_failure(connection: Connection, name: str, address: str) -> None:
    """Record a failed sign-in, and delete failures that no longer count."""
    connection.execute(insert(_f).values(name=name, address=address))
    connection.execute(text("DELETE FROM sign_in_failures WHERE at < clock_timestamp() - interval '1 day'"))


# Of each count that is full, the failure that has to grow old before it has room again; of these, the last.
_WAITS = text(
    """
    WITH recent AS (
        SELECT at, name = :name AS of_name, address = :address AS of_address
        FROM sign_in_failures WHERE at > clock_timestamp() - make_interval(secs => :within_s)
    ), ranked AS (
        SELECT at, of_name AND of_address AS of_both, of_name, of_address,
            count(*) FILTER (WHERE of_name AND of_address) OVER newest AS both_rank,
            count(*) FILTER (WHERE of_name) OVER newest AS name_rank,
            count(*) FILTER (WHERE of_address) OVER newest AS address_rank
        FROM recent WINDOW newest AS (ORDER BY at DESC ROWS UNBOUNDED PRECEDING)
    )
    SELECT extract(epoch FROM max(at) - clock_timestamp())::float8 + :within_s FROM ranked
    WHERE (of_both AND both_rank = :both) OR (of_name AND name_rank = :most_name) OR (of_address AND address_rank = :most_address)
    """
)


class Failures(NamedTuple):
    """Failed sign-ins of late."""

    both: int  # of this name from this address
    name: int
    address: int


def waits(connection: Connection, name: str, address: str, within_s: float, most: Failures) -> float | None:
    """Seconds until none of these counts of the last ``within_s`` seconds is full; null when none is. 0: no such limit."""
    given = {"name": name, "address": address, "within_s": within_s}
    limits = {"both": most.both, "most_name": most.name, "most_address": most.address}
    waits: float | None = connection.execute(_WAITS, given | limits).scalar_one()
    return waits


def forget_failures(connection: Connection, name: str, address: str) -> None:
    """Delete the failures of a name and address after a successful sign-in."""
    connection.execute(delete(_f).where(_f.c.name == name, _f.c.address == address))
