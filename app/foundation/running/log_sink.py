"""Where a log line goes: one write to standard error, which never raises.

A line is often about a fault, and is written where the fault is handled. A full disk or a closed terminal must not turn it
into another fault, which would end the thread that handles the first. What could not be written is counted.
"""

import json
import os
from typing import Any

import orjson


class Sink:
    """Writes lines to a file descriptor."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self.lost = 0  # lines since the last one that was written

    def write(self, document: dict[str, Any]) -> None:
        """Write one line; a line that cannot be written is counted, and the next one tells how many were."""
        try:
            line = _line({**document, "lost_lines": self.lost} if self.lost else document)
            while line:  # one write, unless the disk has room for a part only
                line = line[os.write(self._descriptor, line) :]
        except Exception:  # noqa: BLE001 - whatever it is: see the module
            self.lost += 1
        else:
            self.lost = 0


def _line(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # a lone surrogate, or a whole number beyond 64 bits
        return json.dumps(document, default=str).encode() + b"\n"


SINK = Sink()
