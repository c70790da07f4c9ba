"""Start and stop what one process needs to serve: connections, the snapshot, the models and the log's writer."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Engine

from app.accounts.rates import Rates
from app.accounts.store.keys import StoredKey
from app.deciding.model_cache import ModelCache
from app.deciding.snapshot import Snapshot, Snapshots
from app.foundation import metrics
from app.foundation.errors import Unavailable
from app.foundation.group_commit import GroupCommit
from app.foundation.running.memory import give_memory_back
from app.foundation.running.threads import Background
from app.foundation.settings import Settings
from app.foundation.store import engine as store_engine

STUCK_S = 60.0  # a refresh reads small tables; models that changed are read with it
LONGEST_PAUSE_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Runtime:
    """The state of one serving process."""

    settings: Settings
    engine: Engine
    snapshots: Snapshots
    models: ModelCache
    log_writer: GroupCommit
    stopping: threading.Event
    rates: Rates

    def refresh(self) -> Snapshot:
        """Read the newest configuration now, so that a change applies in this process at once."""
        return self.snapshots.refresh()

    def known_keys(self) -> Mapping[str, StoredKey]:
        """The API keys that this process knows, by public id."""
        return self.snapshots.current.keys

    def stop(self) -> None:
        """End the background threads and close the connections."""
        self.stopping.set()
        self.log_writer.stop()
        self.engine.dispose()


def start(settings: Settings, *, bound_waits: bool = True) -> Runtime:
    """Connect, read the configuration and start the background threads. This works while the database is down.

    :param bound_waits: end each wait for PostgreSQL at the deadline, in the whole process. Workers pass False, because they
        also run long statements.
    """
    if bound_waits:
        give_memory_back()
        store_engine.install_wait_deadline(settings.decide_deadline_s)
    limit_s = settings.statement_timeout_s
    engine = store_engine.create(settings.database_url, settings, statement_timeout_s=limit_s)
    models = ModelCache(engine, settings, metrics.count_fallback)
    snapshots = Snapshots(engine, models.warm)
    transactional, autocommitting = (
        store_engine.create(
            settings.database_url, settings, pool_size=1, statement_timeout_s=limit_s, ping=False, autocommit=autocommit
        )
        for autocommit in (False, True)
    )
    writer = GroupCommit(transactional, autocommitting, settings, metrics.observe_batch)
    stopping = threading.Event()
    runtime = Runtime(settings, engine, snapshots, models, writer, stopping, Rates(settings))
    _try_refresh(snapshots)
    writer.start()
    Background("snapshots", partial(_keep_fresh, runtime), STUCK_S).start()
    return runtime


def _keep_fresh(runtime: Runtime) -> bool:
    if runtime.stopping.wait(min(runtime.settings.snapshot_interval_s, LONGEST_PAUSE_S)):
        return False
    _try_refresh(runtime.snapshots)
    return True


def _try_refresh(snapshots: Snapshots) -> None:
    try:
        snapshots.refresh()
    except Unavailable:
        log.warning("snapshot_stale", revision=snapshots.current.revision)
