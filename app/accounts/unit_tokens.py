"""Tokens that prove that a browser speaks for a unit. The app's server requests a token and passes it to its own page.

A publishable key can be read by everybody who opens the page, and anybody may write any unit's id. So every
route that reads or changes the data of a unit also requires such a token from browsers.
"""

import base64
import hmac
import time

from app.foundation.errors import Forbidden
from app.foundation.secrets import Purpose, derive

LONGEST_S = 30 * 86_400


def make(secret: str, unit_id: str, lifetime_s: float) -> str:
    """Return a token for a unit: its end in Unix time, and an HMAC-SHA256 of the end and the unit.

    :param lifetime_s: seconds, at most ``LONGEST_S``.
    """
    ends = int(time.time() + min(lifetime_s, LONGEST_S))
    return f"{ends}.{_mac(secret, unit_id, ends)}"


def check(secret: str, unit_id: str, token: str) -> None:
    """:raises Forbidden: the token is malformed, belongs to another unit, or has ended."""
    ends, _, mac = token.partition(".")
    number = int(ends) if ends.isascii() and ends.isdigit() and len(ends) < 16 else 0
    valid = hmac.compare_digest(_mac(secret, unit_id, number).encode(), mac.encode("utf-8", "replace"))
    if not valid or number < time.time():
        message = "Send a valid unit_token with a publishable key; your server gets one by POST /v1/units/token."
        raise Forbidden("unit_token_needed", message)


def _mac(secret: str, unit_id: str, ends: int) -> str:
    claim = b"%d\0%b" % (ends, unit_id.encode("utf-8", "surrogatepass"))
    return base64.urlsafe_b64encode(derive(secret, Purpose.UNIT_TOKEN, claim)).decode().rstrip("=")
