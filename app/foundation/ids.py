"""Ids that the platform makes: sortable by time, so that the log's index grows at one end."""

import secrets
import time


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random bits."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
