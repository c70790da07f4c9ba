"""Passwords: the rules for them, and their argon2id hashes, computed a few at a time."""

import secrets
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.foundation.errors import FieldError, TooManyRequests
from app.foundation.fields import invalid

MIN_PASSWORD, MAX_PASSWORD = 10, 256
HASHES_AT_ONCE = 2  # argon2id takes 64 MiB each
HASH_WAIT_S = 5.0

_hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)


def check(password: str, name: str) -> None:
    """:raises Unprocessable: the password is too short, too long, or too easy to guess for this user."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        params = {"low": MIN_PASSWORD, "high": MAX_PASSWORD}
        raise invalid((FieldError("/password", "password_length", params),))
    if password.lower() in (name, name.partition("@")[0]) or len(set(password)) < 4:
        raise invalid((FieldError("/password", "password_easy"),))


def hashed(password: str) -> str:
    """Return the hash to store. Wait for a ``Turn`` first."""
    return PasswordHasher().hash(password)


def verify(stored: str | None, password: str) -> bool:
    """True when the password matches the hash. A null hash takes as long and never matches. Wait for a ``Turn`` first."""
    try:
        right = PasswordHasher().verify(stored or _nobodys_hash(), password[: MAX_PASSWORD + 1])
    except (VerificationError, InvalidHashError):
        return False
    return right and stored is not None


@cache
def _nobodys_hash() -> str:
    return PasswordHasher().hash(secrets.token_urlsafe(32))


class Turn:
    """Limits the hashes computed at once. Each needs memory, and a flood of sign-ins must not use all of it."""

    def __enter__(self) -> None:
        if not _hashing.acquire(timeout=HASH_WAIT_S):
            raise TooManyRequests("too_many_attempts", "Too many people sign in at once. Try again in a moment.")

    def __exit__(self, *_: object) -> None:
        _hashing.release()
