"""What settings may be: each kind reads a text from the environment, or says in a ``ValueError`` what to give instead."""

import ipaddress
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

KEY_BYTES = 32
TOKEN_BYTES = 16
_LEAST_CHARACTERS = 8  # different ones: "aaaa..." is long and no secret; 32 random bytes have fewer once in 10^9 keys
MAKE_KEY = "`openssl rand -hex 32` makes one"

CGROUP_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
LEAST_MEMORY: Final = 2_000_000_000  # bytes; two web processes take 262 MB, and each may fill its model cache


def whole(low: int) -> Callable[[str], int]:
    """A whole number of at least ``low``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError("give a whole number") from None
        if value < low:
            raise ValueError(f"give a number of at least {low}")
        return value

    return read


def processes(text: str) -> int:
    """A number of web processes; nothing: as many as this machine bears."""
    return whole(1)(text) if text else _web_processes()


def number(low: float) -> Callable[[str], float]:
    """A finite number of at least ``low``."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError("give a number") from None
        if not (low <= value and math.isfinite(value)):
            raise ValueError(f"give a number of at least {low:g}")
        return value

    return read


def choice(*texts: str) -> Callable[[str], str]:
    """One of some texts."""

    def read(text: str) -> str:
        if text not in texts:
            raise ValueError(f"give {', '.join(texts[:-1])} or {texts[-1]}")
        return text

    return read


def switch(text: str) -> int:
    """0 or 1."""
    return int(choice("0", "1")(text))


def secret(least_bytes: int) -> Callable[[str], str]:
    """A text that nobody can guess, or nothing."""

    def read(text: str) -> str:
        if text and (len(text.encode()) < least_bytes or len(set(text)) < _LEAST_CHARACTERS):
            raise ValueError(f"give {least_bytes} random bytes or more; {MAKE_KEY}")
        return text

    return read


def address(*schemes: str) -> Callable[[str], str]:
    """The address of a server, or nothing. It may hold a password, so an error does not repeat it."""

    def read(text: str) -> str:
        if text and text.partition("://")[0] not in schemes:
            raise ValueError(f"give an address that begins with {schemes[0]}://")
        return text

    return read


SMTP_PORTS: Final = {"smtp": 25, "smtps": 465}


def mail_server(text: str) -> str:
    """The address of an SMTP server, or nothing. It may hold a password, so an error does not repeat it."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in SMTP_PORTS and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        good = False
    if text and (not good or parts.path not in {"", "/"} or parts.query):
        raise ValueError("give smtp://user:password@host:port, or smtps:// for TLS from the first byte")
    return text


MAIL_ADDRESS: Final = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,187}[A-Za-z0-9])?$"


def mail_address(text: str) -> str:
    """An e-mail address, or nothing."""
    if text and re.fullmatch(MAIL_ADDRESS, text) is None:
        raise ValueError("give an address as loopwise@example.com")
    return text


def site(text: str) -> str:
    """The address of a site as its origin, in lower case, or nothing: cookies and printed links rest on it."""
    if not text:
        return ""
    try:
        parts = urlsplit(text.lower())
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of an IPv6 address
        good = False
    if not good or parts.path not in {"", "/"} or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("give https://host or https://host:port, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def networks(text: str) -> str:
    """Addresses and networks, separated by commas, or nothing."""
    try:
        return ",".join(str(ipaddress.ip_network(part.strip())) for part in text.split(",")) if text else ""
    except ValueError as error:
        raise ValueError(f"give addresses or networks, such as 10.0.0.0/8,192.0.2.7 ({error})") from None


def _memory_bytes() -> int:
    """The memory of the machine, or the limit of the container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in CGROUP_LIMITS:
        try:
            limits.append(int(Path(name).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such limit; "max" is none either
            continue
    return min(limits)


def _web_processes() -> int:
    """Two, so that one answers while the other is replaced or dies; one where there is one core or little memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 2 if cores > 1 and _memory_bytes() >= LEAST_MEMORY else 1
