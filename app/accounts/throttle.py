"""Failed sign-ins are counted by name and by address, and a browser in which the person signed in before is counted alone.

So whoever guesses a name's password, or fails from an address that many share, locks out other guesses, but not the people
themselves: their browsers keep a cookie that says, signed, who signed in there.
"""

import hmac
import ipaddress
import math
import secrets
from typing import NamedTuple

from sqlalchemy import Connection

from app.accounts.store import users as store
from app.foundation.errors import TooManyRequests
from app.foundation.secrets import Purpose, derive

THROTTLE_S = 15 * 60.0
MOST_FAILURES = store.Failures(both=5, name=50, address=50)  # within THROTTLE_S
IPV6_BITS = 64  # one customer has at least so many addresses


class Source(NamedTuple):
    """Where a sign-in comes from."""

    text: str  # as failures are counted: an address, or a browser
    known: bool  # a browser in which this person signed in before


def normal(name: str) -> str:
    """A name as it is looked up and counted."""
    return name.strip().lower()[:200]


def source(secret: str, name: str, address: str, device: str) -> Source:
    """Where a sign-in comes from.

    :param device: the cookie of the browser; empty when it has none.
    """
    nonce, _, proof = device.partition(".")
    if nonce and hmac.compare_digest(proof.encode(), _proof(secret, name, nonce).encode()):
        return Source(f"browser {nonce}", True)
    return Source(network(address), False)


def device(secret: str, name: str) -> str:
    """The cookie for a browser in which somebody has just signed in."""
    nonce = secrets.token_urlsafe(12)
    return f"{nonce}.{_proof(secret, name, nonce)}"


def check(connection: Connection, name: str, of: Source) -> None:
    """Refuse a sign-in after too many that failed.

    :raises TooManyRequests: its ``retry_after_s`` is when the next one may be tried.
    """
    most = MOST_FAILURES._replace(name=0, address=0) if of.known else MOST_FAILURES  # 0: does not count
    waits = store.waits(connection, name, of.text, THROTTLE_S, most)
    if waits is not None:
        message = (
            f"Too many sign-ins failed. Wait {THROTTLE_S / 60:.0f} minutes, use a browser in which you signed in before, or ask "
            "an administrator for a link."
        )
        raise TooManyRequests("too_many_attempts", message, retry_after_s=max(1, math.ceil(waits)))


def _proof(secret: str, name: str, nonce: str) -> str:
    return derive(secret, Purpose.DEVICE, f"{nonce}\n{normal(name)}".encode()).hex()


def network(address: str) -> str:
    """Where calls are counted: the address without a port; of IPv6, the network, because everybody there may choose the rest."""
    text = address.strip("[]") if address.count(":") != 1 else address.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text.partition("]")[0])
    except ValueError:
        return address[:100]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped or ipaddress.ip_network((parsed, IPV6_BITS), strict=False))
    return str(parsed)
