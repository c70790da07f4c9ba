"""Is there room on the disk? Told before it is full: a full disk stops PostgreSQL, the logs and the counters together."""

import shutil
import tempfile
import time
from functools import lru_cache
from typing import NamedTuple

from app.foundation.settings import Settings

LEAST_SHARE = 0.05
LEAST_BYTES = 1_000_000_000  # of a small disk the share is little, of a large one this is
LOOK_S = 10.0


class Disk(NamedTuple):
    """The disk that holds a folder."""

    free: int  # bytes
    total: int

    @property
    def low(self) -> bool:
        """True when it will be full soon: little of it is free, and little in bytes."""
        return self.free < LEAST_SHARE * self.total or self.free < min(LEAST_BYTES, self.total / 4)

    def words(self) -> str:
        """One sentence for people."""
        return f"Only {self.free / 1e9:.1f} of {self.total / 1e9:.1f} GB are free on the disk of the data directory."


def of(folder: str) -> Disk:
    """The disk of a folder, now."""
    usage = shutil.disk_usage(folder)
    return Disk(usage.free, usage.total)


def look(settings: Settings) -> Disk:
    """The disk of this process, at most some seconds ago: under `loopwise up` that of the data directory."""
    return _cached(settings.metrics_dir or tempfile.gettempdir(), int(time.monotonic() / LOOK_S))


@lru_cache(maxsize=2)
def _cached(folder: str, _turn: int) -> Disk:
    return of(folder)
