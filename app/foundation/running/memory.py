"""How this process takes memory from the system, so that models that leave it leave nothing behind."""

import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3  # of glibc's mallopt
M_ARENA_MAX: Final = -8
BLOCK_BYTES: Final = 1 << 20  # the weights of a model of the default size, and larger blocks
ARENAS: Final = 2


def give_memory_back() -> None:
    """Give large blocks back to the system as soon as they are free. Without glibc nothing happens.

    By itself glibc keeps them after the first one was freed, for each of many threads, and writes zeros into pages that nobody
    uses: a process that loaded 1,000 models one after the other held 2.5 times the limit of its cache.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, BLOCK_BYTES)
        libc.mallopt(M_ARENA_MAX, ARENAS)
    except (OSError, AttributeError, TypeError):
        return
