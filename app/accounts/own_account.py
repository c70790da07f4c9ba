"""What people change about themselves: their password, their time zone, how pages look."""

from sqlalchemy import Engine

from app.accounts import passwords, throttle
from app.accounts.store import users as store
from app.accounts.throttle import Source
from app.accounts.users import known_user, new_session
from app.foundation.errors import FieldError
from app.foundation.fields import invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.foundation.times import is_zone

THEMES = ("auto", "light", "dark")


def change_password(engine: Engine, name: str, current: str, password: str, source: Source) -> str:
    """Replace one's own password. Every session of the person ends; return the token of a new one.

    :raises Unprocessable: the current password is wrong, or the new one is not allowed.
    :raises TooManyRequests: too many recent attempts failed.
    """
    with passwords.Turn():
        with transaction(engine) as connection:
            throttle.check(connection, name, source)
            user = known_user(connection, name)
        right = passwords.verify(user.password_hash, current)
        with transaction(engine) as connection:
            if right:
                passwords.check(password, name)
                store.forget_failures(connection, name, source.text)
                store.change(connection, user.id, password_hash=passwords.hashed(password))
                store.end_sessions_of(connection, user.id)
                platform.record_change(connection, actor=name, kind="password_changed", after={"name": name})
                return new_session(connection, user.id)
            store.add_failure(connection, name, source.text)
    raise invalid((FieldError("/current", "password_wrong"),))


def set_preferences(engine: Engine, name: str, time_zone: str | None, theme: str) -> None:
    """Keep how pages look to a person, in every browser.

    :param time_zone: as in Europe/Vienna; null: that of the browser.
    :raises Unprocessable: there is no such time zone or theme.
    """
    if time_zone is not None and not is_zone(time_zone):
        raise invalid((FieldError("/time_zone", "not_a_time_zone"),))
    if theme not in THEMES:
        raise invalid((FieldError("/theme", "not_a_choice", {"expected": [*THEMES]}),))
    with transaction(engine) as connection:
        store.change(connection, known_user(connection, name).id, time_zone=time_zone, theme=theme)
