"""Every setting of Loopwise: one table, one frozen object, built once from the environment.

Nothing else in the project reads the environment for its configuration. ``docs/operations.md`` lists the same table
and a test compares the two.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class SettingError(ValueError):
    """An environment variable has a value that its setting cannot take."""


@dataclass(frozen=True)
class Settings:
    """The process's configuration. Field order is that of ``SETTINGS``."""

    database_url: str
    redis_url: str
    secret_key: str
    decide_deadline_s: float
    statement_timeout_s: float
    snapshot_interval_s: float
    beat_interval_s: float
    report_interval_s: float
    batch_rows: int
    queue_rows: int
    pool_size: int
    model_cache_mb: int
    max_body_bytes: int
    max_json_depth: int
    round_decisions: int
    web_processes: int
    web_threads: int
    metrics_dir: str
    metrics_token: str
    public_url: str
    event_retention_s: float
    privacy_budget: float
    allow_http_loopback: int
    log_level: str


class Setting(NamedTuple):
    """One row of the table."""

    name: str  # environment variable
    default: str  # as it would be written in the environment
    kind: Callable[[str], Any]  # str, int or float; a float is in the unit that its name ends with
    low: float | None  # smallest value; None: no bound
    help: str  # one sentence


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "DATABASE_URL",
        "",
        str,
        None,
        "PostgreSQL 15 or newer, as postgresql://user:password@host:port/name; `loopwise up` starts one when it is empty.",
    ),
    Setting(
        "REDIS_URL",
        "",
        str,
        None,
        "Redis (Celery's broker), as redis://:password@host:port/0; `loopwise up` starts one when it is empty.",
    ),
    Setting(
        "LOOPWISE_SECRET_KEY",
        "",
        str,
        None,
        "Signs the models; 32 random bytes or more, the same in every process; `loopwise up` makes one when it is empty.",
    ),
    Setting(
        "LOOPWISE_DECIDE_DEADLINE_S",
        "2.5",
        float,
        0.1,
        "Seconds that a decide, reward or read waits for the database before it answers 503.",
    ),
    Setting(
        "LOOPWISE_STATEMENT_TIMEOUT_S",
        "2.0",
        float,
        0.1,
        "PostgreSQL's own limit for one statement of the web process, in seconds.",
    ),
    Setting(
        "LOOPWISE_SNAPSHOT_INTERVAL_S",
        "0.5",
        float,
        0.05,
        "Seconds between two looks for changed experiments, keys and models.",
    ),
    Setting("LOOPWISE_BEAT_INTERVAL_S", "5.0", float, 0.2, "Seconds between two training wake-ups."),
    Setting(
        "LOOPWISE_REPORT_INTERVAL_S",
        "30.0",
        float,
        1,
        "Seconds after which results are computed again, at the earliest.",
    ),
    Setting("LOOPWISE_BATCH_ROWS", "2000", int, 1, "Largest number of log rows in one group commit."),
    Setting(
        "LOOPWISE_QUEUE_ROWS",
        "20000",
        int,
        1,
        "Log rows that may wait for a commit in one process; a call that would add more is answered 429.",
    ),
    Setting("LOOPWISE_POOL_SIZE", "4", int, 1, "Database connections of one process beside the writer's."),
    Setting("LOOPWISE_MODEL_CACHE_MB", "512", int, 16, "Memory for loaded models in one web process, in megabytes."),
    Setting(
        "LOOPWISE_MAX_BODY_BYTES", "1048576", int, 1024, "Largest request body, in bytes; a larger one is answered 413."
    ),
    Setting(
        "LOOPWISE_MAX_JSON_DEPTH", "32", int, 4, "Deepest nesting of a request body; a deeper one is answered 400."
    ),
    Setting("LOOPWISE_ROUND_DECISIONS", "20000", int, 1, "Most decisions that one training round learns from."),
    Setting("LOOPWISE_WEB_PROCESSES", "1", int, 1, "Web processes."),
    Setting(
        "LOOPWISE_WEB_THREADS",
        "32",
        int,
        1,
        "Request threads of one web process: so many requests can wait for one commit.",
    ),
    Setting(
        "LOOPWISE_METRICS_DIR",
        "",
        str,
        None,
        "Folder in which the processes of one role share their Prometheus counters; empty: a temporary one.",
    ),
    Setting(
        "LOOPWISE_METRICS_TOKEN",
        "",
        str,
        None,
        "Bearer token that /metrics asks for; when it is empty a key with the scope read is asked for.",
    ),
    Setting(
        "LOOPWISE_PUBLIC_URL",
        "",
        str,
        None,
        "Address at which people reach the pages, as https://host; printed links begin with it, and with https cookies are "
        "sent over TLS only.",
    ),
    Setting(
        "LOOPWISE_EVENT_RETENTION_S", "7776000", float, 86400, "Seconds after which behaviour events are forgotten."
    ),
    Setting(
        "LOOPWISE_PRIVACY_BUDGET",
        "3.0",
        float,
        0,
        "Epsilon that all private reports of one experiment may spend together; see docs/statistics.md.",
    ),
    Setting(
        "LOOPWISE_ALLOW_HTTP_LOOPBACK",
        "0",
        int,
        0,
        "1: webhooks may lead to this machine itself (127.0.0.1, ::1), also over plain http; for development only.",
    ),
    Setting("LOOPWISE_LOG_LEVEL", "info", str, None, "debug, info, warning or error."),
)


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings.

    :raises SettingError: its message names the variable and the values that it takes.
    """
    values = [_value(setting, environ.get(setting.name) or setting.default) for setting in SETTINGS]
    return Settings(*values)


def _value(setting: Setting, text: str) -> Any:
    try:
        value = setting.kind(text)
    except ValueError:
        raise SettingError(
            f"{setting.name}={text!r}: give {'a whole number' if setting.kind is int else 'a number'}."
        ) from None
    if setting.low is not None and not setting.low <= value < float("inf"):
        raise SettingError(f"{setting.name}={text!r}: give a number of at least {setting.low:g}.")
    return value
