"""Collects the bodies of requests before anything waits for them: with a limit, a deadline and a least rate.

A body is collected on the event loop, where it costs some memory and no thread. Whoever sends it too slowly is told so (408).
"""

import asyncio
import time
from typing import Final

from granian.rsgi import ProtocolClosed

from app.foundation.api.written import too_large
from app.foundation.errors import BadRequest, TooSlow
from app.foundation.store.engine import overloaded
from app.web.front.rsgi import Proto

LEAST_RATE: Final = 16_384  # bytes a second, once the first seconds are over
MOMENT_S: Final = 0.1
SMALL: Final = 65_536  # a body of this size is taken in one piece
MOST_WAITING_BYTES: Final = 256_000_000  # of the bodies that are being collected


class Bodies:
    """The bodies that are arriving in one process."""

    def __init__(self, first_s: float) -> None:
        """:param first_s: seconds for any body; each ``LEAST_RATE`` bytes have one more."""
        self._first_s = first_s
        self._ends_at: dict[asyncio.Task[object], float] = {}
        self._came_at: dict[asyncio.Task[object], float] = {}
        self._slow: set[asyncio.Task[object]] = set()
        self._held_bytes = 0

    async def collect(self, proto: Proto, length: int | None, limit: int) -> bytes:
        """Return the whole body.

        :param length: as the request says it; null: it comes in chunks.
        :param limit: bytes.
        :raises TooLarge: it has more bytes than the limit.
        :raises TooSlow: it did not arrive in time.
        :raises Unavailable: too much arrives at once.
        """
        if length == 0:
            return b""
        if length is not None and length > limit:
            raise too_large(limit)
        task: asyncio.Task[object] = asyncio.current_task()  # type: ignore[assignment]
        self._came_at[task] = now = time.monotonic()
        self._ends_at[task] = now + self._first_s
        try:
            if length is not None and length <= SMALL:
                body: bytes = await proto()
                if len(body) < length:
                    raise _cut_off()
                return body
            return await self._pieces(task, proto, limit)
        except ProtocolClosed:
            raise _cut_off() from None
        except asyncio.CancelledError:
            if task not in self._slow:
                raise
            task.uncancel()
            raise TooSlow("body_too_slow", "The body did not arrive in time; send it again.") from None
        finally:
            del self._ends_at[task], self._came_at[task]
            self._slow.discard(task)

    async def _pieces(self, task: "asyncio.Task[object]", proto: Proto, limit: int) -> bytes:
        pieces, size = [], 0
        try:
            async for piece in proto:
                size += len(piece)
                self._held_bytes += len(piece)
                if size > limit:
                    raise too_large(limit)
                if self._held_bytes > MOST_WAITING_BYTES:
                    raise overloaded()
                pieces.append(piece)
                self._ends_at[task] += len(piece) / LEAST_RATE
        finally:
            self._held_bytes -= size
        return b"".join(pieces)

    def look(self, now: float) -> int:
        """End those whose time is over; returns how many have been arriving for longer than a moment."""
        for task, ends_at in self._ends_at.items():
            if ends_at < now and task not in self._slow:
                self._slow.add(task)
                task.cancel()
        return sum(now - came_at > MOMENT_S for came_at in self._came_at.values())


def _cut_off() -> BadRequest:
    return BadRequest("malformed_json", "The connection ended before the body did.")
