"""The loaded models of one process. Each is verified once; the least recently used leave at the memory limit.

A model that cannot be verified or loaded does not serve. Its lineage keeps the last model that could be loaded, or decides
uniformly if there is none. The log and the metrics report it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import structlog
from sqlalchemy import Engine

from app.deciding.snapshot import Snapshot
from app.foundation.running.steps import Blocking, Steps
from app.foundation.settings import Settings
from app.foundation.store.engine import patience_s, transaction, unavailable
from app.registry import signed_bytes as model_bytes
from app.registry.signed_bytes import ModelRefused
from app.registry.store.models import Serving
from bandits.model import Predictor
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy

LOAD_S = 60.0  # longest wait for another thread that loads a model; requests have an earlier deadline

log = structlog.get_logger()


class Loaded(NamedTuple):
    """A model that decides, with the number and the hash to log."""

    number: int  # 0: the untrained model, which decides uniformly
    sha256: str | None  # hex; None or empty: there is no trained model
    predictor: Predictor | None  # None: untrained


class ModelCache:
    """Predictors by lineage (experiment and arm)."""

    def __init__(self, engine: Engine, settings: Settings, on_fallback: Callable[[str], None]) -> None:
        """:param on_fallback: called with the reason each time a model cannot be loaded."""
        self._engine = engine
        self._secret = settings.secret_key
        self._limit_bytes = settings.model_cache_mb * 1_000_000
        self._on_fallback = on_fallback
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[int, str], tuple[int, Loaded]] = (
            OrderedDict()
        )  # lineage -> (wanted version, model)

    def fetch(self, serving: Serving, policy: BanditPolicy) -> Steps[Loaded]:
        """``get`` as a step of a service, which waits only if the model is not in memory."""
        lineage = (serving.experiment_id, serving.arm)
        entry = self._loaded.get(lineage)
        if entry is not None and entry[0] == serving.version_id:
            self._note_use(lineage)
            return entry[1]
        loaded: Loaded = yield Blocking(partial(self.get, serving, policy))
        return loaded

    def _note_use(self, lineage: tuple[int, str]) -> None:
        """Keep the order of use, by which models are dropped. Uses while another thread loads a model go unnoted."""
        if self._lock.acquire(blocking=False):
            try:
                if lineage in self._loaded:
                    self._loaded.move_to_end(lineage)
            finally:
                self._lock.release()

    def get(self, serving: Serving, policy: BanditPolicy) -> Loaded:
        """Return the model of a lineage; load it if it is not in memory.

        :raises Unavailable: another thread is loading, and the deadline passed.
        """
        lineage = (serving.experiment_id, serving.arm)
        if not self._lock.acquire(timeout=patience_s(LOAD_S)):
            raise unavailable()  # another request loads a model, and the database does not answer
        try:
            entry = self._loaded.get(lineage)
            if entry is not None and entry[0] == serving.version_id:
                self._loaded.move_to_end(lineage)
                return entry[1]
            return self._load(lineage, serving, policy, None if entry is None else entry[1])
        finally:
            self._lock.release()

    def warm(self, old: Snapshot, new: Snapshot) -> None:
        """Load the new models of the lineages in use before a request needs them."""
        for lineage, serving in new.serving.items():
            if serving != old.serving.get(lineage) and lineage in self._loaded and serving.experiment_id in new.by_id:
                arm = new.by_id[serving.experiment_id].arms.get(serving.arm)
                if arm is not None and isinstance(arm.policy, BanditPolicy):
                    self.get(serving, arm.policy)

    def _load(self, lineage: tuple[int, str], serving: Serving, policy: BanditPolicy, before: Loaded | None) -> Loaded:
        try:
            loaded = self._verified(serving, policy)
        except (ModelRefused, ModelError) as error:
            self._on_fallback("model_refused")
            log.error("model_refused", experiment_id=serving.experiment_id, arm=serving.arm, error=error)
            loaded = before or Loaded(0, "", None)
        self._loaded[lineage] = (serving.version_id, loaded)
        self._loaded.move_to_end(lineage)
        self._shrink()
        return loaded

    def _verified(self, serving: Serving, policy: BanditPolicy) -> Loaded:
        if serving.examples == 0:
            return Loaded(serving.number, serving.sha256, None)
        with transaction(self._engine) as connection:
            info, plain = model_bytes.load(connection, serving.version_id, self._secret)
        return Loaded(info.number, info.sha256, Predictor(plain, policy))

    def _shrink(self) -> None:
        sizes = {key: entry[1].predictor.memory_bytes for key, entry in self._loaded.items() if entry[1].predictor}
        total = sum(sizes.values())
        for lineage in list(sizes)[:-1]:  # oldest first; never the one just loaded
            if total <= self._limit_bytes:
                return
            total -= sizes[lineage]
            del self._loaded[lineage]  # requests that still hold the predictor finish with it
