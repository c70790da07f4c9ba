"""The files in which processes share their counters, with room made on the disk before it is used.

The library maps files that are not really there yet. On a full disk the first write into one ends the process (SIGBUS), in the
middle of whatever it does. Here it is an error instead, and an error of counting stops nothing.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import structlog
from prometheus_client import mmap_dict, values

P = ParamSpec("P")
_FIRST_BYTES = mmap_dict._INITIAL_MMAP_SIZE
_LONGEST_ENTRY = 64  # bytes of an entry beside its key

log = structlog.get_logger()


class _Allocated(mmap_dict.MmapedDict):
    """The library's file."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            with open(filename, "ab") as file:
                if not file.tell():
                    _allocate(file.fileno(), _FIRST_BYTES)
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + _LONGEST_ENTRY > self._capacity:
            _allocate(self._f.fileno(), self._capacity * 2)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def install() -> None:
    """Use these files. Call this before the first counter is made."""
    values.MmapedDict = _Allocated  # type: ignore[attr-defined]


def counting(function: Callable[P, None]) -> Callable[P, None]:
    """Make a function that counts one that cannot fail: on a full disk it does not count."""

    @wraps(function)
    def counted(*arguments: P.args, **named: P.kwargs) -> None:
        try:
            function(*arguments, **named)
        except OSError as error:
            log.warning("not_counted", error=error)

    return counted


def _allocate(descriptor: int, size: int) -> None:
    allocate: Any = getattr(os, "posix_fallocate", None)  # not on macOS
    if allocate is not None:
        allocate(descriptor, 0, size)
