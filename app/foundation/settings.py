"""Every setting of Loopwise: one table, one frozen object, built once from the environment.

Nothing else in the project reads the environment for its configuration. ``docs/operations.md`` lists the same table
and a test compares the two.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from app.foundation.setting_kinds import (
    KEY_BYTES,
    MAKE_KEY,
    TOKEN_BYTES,
    address,
    choice,
    mail_address,
    mail_server,
    networks,
    number,
    processes,
    secret,
    site,
    switch,
    whole,
)


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
    body_s: float
    browser_body_bytes: int
    browser_key_per_minute: int
    browser_address_per_minute: int
    browser_unit_per_minute: int
    round_decisions: int
    web_processes: int
    web_threads: int
    metrics_dir: str
    metrics_token: str
    public_url: str
    hsts_s: int
    trusted_proxies: str
    event_retention_s: float
    log_retention_s: float
    privacy_budget: float
    allow_http_loopback: int
    approvals: int
    smtp_url: str
    smtp_from: str
    pgbouncer: int
    log_level: str
    access_log: int


class Setting(NamedTuple):
    """One row of the table."""

    name: str  # environment variable
    default: str  # as it would be written in the environment
    kind: Callable[[str], Any]  # reads the text; a float is in the unit that its name ends with
    help: str  # one sentence
    hidden: bool = False  # True: the value is a secret, or holds a password, and is never shown


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "DATABASE_URL",
        "",
        address("postgresql", "postgres"),
        "PostgreSQL 15 or newer, as postgresql://user:password@host:port/name; `loopwise up` starts one when it is empty.",
        hidden=True,
    ),
    Setting(
        "REDIS_URL",
        "",
        address("redis", "rediss", "unix"),
        "Redis (Celery's broker), as redis://:password@host:port/0; `loopwise up` starts one when it is empty.",
        hidden=True,
    ),
    Setting(
        "LOOPWISE_SECRET_KEY",
        "",
        secret(KEY_BYTES),
        "Signs models, decisions, cookies and webhooks; 32 random bytes or more, the same in every process. No role starts "
        "without it; `loopwise up` makes one when it is empty.",
        hidden=True,
    ),
    Setting(
        "LOOPWISE_DECIDE_DEADLINE_S",
        "2.5",
        number(0.1),
        "Seconds that a decide, reward or read waits for the database before it answers 503.",
    ),
    Setting(
        "LOOPWISE_STATEMENT_TIMEOUT_S",
        "2.0",
        number(0.1),
        "PostgreSQL's own limit for one statement of the web process, in seconds.",
    ),
    Setting(
        "LOOPWISE_SNAPSHOT_INTERVAL_S",
        "0.5",
        number(0.05),
        "Seconds between two looks for changed experiments, keys and models.",
    ),
    Setting("LOOPWISE_BEAT_INTERVAL_S", "5.0", number(0.2), "Seconds between two training wake-ups."),
    Setting("LOOPWISE_REPORT_INTERVAL_S", "30.0", number(1), "Least seconds between two computations of results."),
    Setting("LOOPWISE_BATCH_ROWS", "2000", whole(1), "Largest number of log rows in one group commit."),
    Setting(
        "LOOPWISE_QUEUE_ROWS",
        "20000",
        whole(1),
        "Log rows that may wait for a commit in one process; a call that would add more is answered 429.",
    ),
    Setting("LOOPWISE_POOL_SIZE", "4", whole(1), "Database connections of one process beside the writer's."),
    Setting("LOOPWISE_MODEL_CACHE_MB", "384", whole(16), "Memory for loaded models in one web process, in megabytes."),
    Setting(
        "LOOPWISE_MAX_BODY_BYTES",
        "1048576",
        whole(1024),
        "Largest request body, in bytes; a larger one is answered 413.",
    ),
    Setting(
        "LOOPWISE_MAX_JSON_DEPTH", "32", whole(4), "Deepest nesting of a request body; a deeper one is answered 400."
    ),
    Setting(
        "LOOPWISE_BODY_S",
        "10.0",
        number(0.1),
        "Seconds in which a request body has to arrive, and one more for each 16 kB of it; a slower one is answered 408.",
    ),
    Setting(
        "LOOPWISE_BROWSER_BODY_BYTES",
        "65536",
        whole(1024),
        "Largest body of a call with a publishable key, in bytes; a larger one is answered 413.",
    ),
    Setting(
        "LOOPWISE_BROWSER_KEY_PER_MINUTE",
        "60000",
        whole(0),
        "Calls a minute with one publishable key in each web process; more are answered 429. 0: no limit.",
    ),
    Setting(
        "LOOPWISE_BROWSER_ADDRESS_PER_MINUTE",
        "600",
        whole(0),
        "Calls a minute with publishable keys from one address (of IPv6: one /64 network). 0: no limit.",
    ),
    Setting(
        "LOOPWISE_BROWSER_UNIT_PER_MINUTE",
        "120",
        whole(0),
        "Decisions and events a minute that web pages may ask for and report for one unit. 0: no limit.",
    ),
    Setting("LOOPWISE_ROUND_DECISIONS", "20000", whole(1), "Most decisions that one training round learns from."),
    Setting(
        "LOOPWISE_WEB_PROCESSES",
        "",
        processes,
        "Web processes. Empty: 2, so that one answers while the other is replaced; 1 with one core or less than 2 GB of memory.",
    ),
    Setting(
        "LOOPWISE_WEB_THREADS",
        "32",
        whole(1),
        "Threads of one web process for pages, reports and streams; what apps call all the time takes none.",
    ),
    Setting(
        "LOOPWISE_METRICS_DIR",
        "",
        str,
        "Folder in which the processes of a machine share their Prometheus counters; empty: a temporary one for each role.",
    ),
    Setting(
        "LOOPWISE_METRICS_TOKEN",
        "",
        secret(TOKEN_BYTES),
        "Bearer token that /metrics asks for, 16 random bytes or more; when it is empty a key with the scope read is asked for.",
        hidden=True,
    ),
    Setting(
        "LOOPWISE_PUBLIC_URL",
        "",
        site,
        "Address at which people reach the pages, as https://host; printed links begin with it, and with https cookies are "
        "sent over TLS only.",
    ),
    Setting(
        "LOOPWISE_HSTS_S",
        "0",
        whole(0),
        "Seconds for which browsers that came over https never use http for this host (Strict-Transport-Security); only with an "
        "https LOOPWISE_PUBLIC_URL. 0: not sent. 31536000 is usual, once https works.",
    ),
    Setting(
        "LOOPWISE_TRUSTED_PROXIES",
        "",
        networks,
        "Addresses or networks of your reverse proxies, separated by commas: X-Forwarded-For is believed from these only. Behind "
        "a proxy without it, all sign-ins seem to come from one address.",
    ),
    Setting("LOOPWISE_EVENT_RETENTION_S", "7776000", number(86400), "Seconds that events stay; those of metrics too."),
    Setting(
        "LOOPWISE_LOG_RETENTION_S", "0", number(0), "Seconds after which months of stripped decisions go; 0: never."
    ),
    Setting(
        "LOOPWISE_PRIVACY_BUDGET",
        "3.0",
        number(0),
        "Epsilon that all private reports of one experiment may spend together; see docs/statistics.md.",
    ),
    Setting(
        "LOOPWISE_ALLOW_HTTP_LOOPBACK",
        "0",
        switch,
        "1: webhooks may lead to this machine itself (127.0.0.1, ::1), also over plain http; for development only.",
    ),
    Setting("LOOPWISE_APPROVALS", "0", switch, "1: starting, changing and shipping need a second person who approves."),
    Setting(
        "LOOPWISE_SMTP_URL",
        "",
        mail_server,
        "Mail server for notices, as smtp://user:password@host:587 (with TLS if it offers STARTTLS) or smtps://host; empty: "
        "notices go to webhooks only.",
        hidden=True,
    ),
    Setting("LOOPWISE_SMTP_FROM", "loopwise@localhost", mail_address, "Address that notices come from by e-mail."),
    Setting(
        "LOOPWISE_PGBOUNCER",
        "0",
        switch,
        "1: DATABASE_URL leads to pgbouncer in transaction mode; limits of waits are then set in each transaction.",
    ),
    Setting(
        "LOOPWISE_LOG_LEVEL", "info", choice("debug", "info", "warning", "error"), "debug, info, warning or error."
    ),
    Setting(
        "LOOPWISE_ACCESS_LOG", "0", switch, "1: one log line a request, with its route and status; it names nobody."
    ),
)


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings.

    :raises SettingError: its message names the variable and the values that it takes.
    """
    values = [_value(setting, environ.get(setting.name) or setting.default) for setting in SETTINGS]
    return Settings(*values)


def signing(settings: Settings) -> Settings:
    """Return the settings of a process that signs or checks: every role, and commands that check the log.

    :raises SettingError: there is no secret key; with an empty one, anybody could forge cookies, tokens, models and seals.
    """
    if not settings.secret_key:
        raise no_key()
    return settings


def no_key() -> SettingError:
    """The error of work that needs the secret key, where there is none."""
    return SettingError(
        f"LOOPWISE_SECRET_KEY is not set: give {KEY_BYTES} random bytes or more, the same in every process; "
        f"{MAKE_KEY}. Keep it with the backups."
    )


def _value(setting: Setting, text: str) -> Any:
    try:
        return setting.kind(text)
    except ValueError as error:
        shown = "" if setting.hidden else f"={text!r}"
        raise SettingError(f"{setting.name}{shown}: {error}.") from None
