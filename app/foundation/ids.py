"""Ids that the platform makes: sortable by time, so that the log's index grows at one end."""

import os
import time


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
