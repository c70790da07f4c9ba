"""The one module that calls addresses which users typed. Whatever they lead to, no call reaches the inside of the network.

A name is resolved once, every address that it has must be public, and the connection goes to one of these addresses: a
later change of the name has no effect. No redirect is followed, and one deadline bounds the whole call.
"""

import http.client
import io
import ipaddress
import queue
import re
import socket
import ssl
import threading
import time
from functools import cache
from typing import Final, NamedTuple

DEADLINE_S: Final = 5.0
MAX_SENT_BYTES: Final = 65_536
MAX_READ_BYTES: Final = 4_096
MAX_HEAD_BYTES: Final = 65_536
MAX_URL: Final = 2_000
LOWEST_PORT: Final = 1024  # below it only 443, and 80 in development: the other ports belong to other protocols
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>[/?][!-\"$-\[\]-~]*)?"
)
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Ways to write an IPv4 address into an IPv6 one: what they lead to depends on a gateway.
_EMBEDDING = tuple(
    map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)
# Public by its number, but inside of every machine at Azure: it hands out certificates and settings.
_INSIDE = frozenset({ipaddress.ip_address("168.63.129.16")})


class Refused(Exception):
    """The address may not be called, and why."""


class Failed(Exception):
    """There was no answer, and why."""


class Target(NamedTuple):
    """A checked address."""

    tls: bool
    host: str  # without brackets
    port: int
    path: str  # with the query


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str  # the beginning of the body


def check(url: str, *, allow_loopback: bool) -> Target:
    """Read an address without looking its name up.

    :param allow_loopback: this machine itself may be called, also over plain http.
    :raises Refused: its message says what to give instead.
    """
    match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise Refused("give an address as https://host/path, in ASCII, without a user, a fragment or spaces")
    host = match["host"].strip("[]").lower()
    tls = match["scheme"] == "https"
    if not tls and not allow_loopback:
        raise Refused("give an https address")
    port = int(match["port"] or (443 if tls else 80))
    if port > 65_535 or (port < LOWEST_PORT and port != (443 if tls else 80)):
        raise Refused("give the port 443, or one from 1024 to 65535")
    path = match["path"] or "/"
    target = Target(tls, host, port, path if path.startswith("/") else f"/{path}")
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        _check_name(host, tls)
    else:
        _check_address(literal, tls=tls, allow_loopback=allow_loopback)
    return target


def post(url: str, body: bytes, headers: dict[str, str], *, allow_loopback: bool) -> Answer:
    """Send one request.

    :raises Refused: the address may not be called.
    :raises Failed: no answer within the deadline.
    """
    if len(body) > MAX_SENT_BYTES:
        raise Refused(f"the body is larger than {MAX_SENT_BYTES:,} bytes")
    deadline = time.monotonic() + DEADLINE_S
    target = check(url, allow_loopback=allow_loopback)
    addresses = _resolve(target, deadline)
    for address in addresses:
        _check_address(address, tls=target.tls, allow_loopback=allow_loopback)
    try:
        with _connect(target, addresses, deadline) as connection:
            _send(connection, target, body, headers, deadline)
            return _read(connection, deadline)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(_words(error)) from None


def _check_name(host: str, tls: bool) -> None:
    if not tls and host != "localhost":
        raise Refused("plain http is for this machine itself; give an https address")
    labels = host.rstrip(".").split(".")
    if not all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label) for label in labels):
        raise Refused("this is not a host's name")
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        raise Refused("write an IP address as four decimal numbers")


def _check_address(address: _Address, *, tls: bool, allow_loopback: bool) -> None:
    if allow_loopback and address.is_loopback:
        return
    if not tls:
        raise Refused("plain http is for this machine itself; give an https address")
    if isinstance(address, ipaddress.IPv6Address) and (
        address.is_site_local or any(address in network for network in _EMBEDDING)
    ):
        raise Refused("the address is not a public one")
    if (
        address in _INSIDE
        or not address.is_global
        or address.is_multicast
        or address.is_reserved
        or address.is_unspecified
    ):
        raise Refused("the address is not a public one")


def _resolve(target: Target, deadline: float) -> list[_Address]:
    """Every address of the host, asked for once. The system's resolver knows no deadline, so a thread waits for it."""
    answers: queue.SimpleQueue[list[_Address] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            result = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in result)
            answers.put([ipaddress.ip_address(text) for text in texts])
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        result = answers.get(timeout=_left(deadline))
    except (queue.Empty, TimeoutError):
        raise Failed("the host's name was not resolved in time") from None
    if isinstance(result, Exception):
        raise Failed("the host's name is not known")
    return result


def _connect(target: Target, addresses: list[_Address], deadline: float) -> socket.socket:
    """A connection to the first address that takes one."""
    problem: OSError = OSError("the host's name has no address")
    for index, address in enumerate(addresses):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left(deadline) / (len(addresses) - index))
            plain.connect((str(address), target.port))
            plain.settimeout(_left(deadline))
            return _tls().wrap_socket(plain, server_hostname=target.host) if target.tls else plain
        except OSError as error:
            plain.close()
            problem = error
            if isinstance(error, ssl.SSLError):
                break
    raise problem


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _send(connection: socket.socket, target: Target, body: bytes, headers: dict[str, str], deadline: float) -> None:
    host = f"[{target.host}]" if ":" in target.host else target.host
    default = target.port == (443 if target.tls else 80)
    lines = {
        "Host": host if default else f"{host}:{target.port}",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "User-Agent": "Loopwise",
        **headers,
    }
    head = f"POST {target.path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    connection.settimeout(_left(deadline))
    connection.sendall(head.encode("ascii") + b"\r\n" + body)


def _read(connection: socket.socket, deadline: float) -> Answer:
    response = http.client.HTTPResponse(_Source(connection, deadline), method="POST")  # type: ignore[arg-type]
    response.begin()
    if 300 <= response.status < 400:
        return Answer(response.status, "")
    text = response.read(MAX_READ_BYTES).decode("utf-8", "replace")
    return Answer(response.status, text)


class _Source(io.RawIOBase):
    """The socket for http.client: the deadline bounds each wait, and a limit bounds what is read."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._left_bytes = MAX_HEAD_BYTES + MAX_READ_BYTES

    def makefile(self, *_: object) -> io.BufferedReader:
        return io.BufferedReader(self, 1024)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._left_bytes <= 0:
            raise OSError("the answer's head is too long")
        self._connection.settimeout(_left(self._deadline))
        count = self._connection.recv_into(buffer, min(len(buffer), self._left_bytes))
        self._left_bytes -= count
        return count


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {DEADLINE_S:g} seconds"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or 'the connection was closed'}"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    return getattr(error, "strerror", None) or "the connection was closed"
