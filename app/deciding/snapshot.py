"""A process's copy of the configuration: experiments, keys and serving models, in memory, compiled for deciding.

A decide call reads it without a query. A background thread polls ``platform.revision`` and keeps the copy at most one
interval old. Whatever must not be out of date (is the experiment running, is this its configuration) is checked again when
the decision is stored.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.accounts.store import keys
from app.accounts.store.keys import StoredKey
from app.content.composition import line_of
from app.content.composition_config import NOTHING
from app.deciding.store import counts
from app.deciding.windows import targets
from app.deciding.windows.targets import ExperimentCounts
from app.design.experiment_config import ActionSpec, ExperimentConfig, shares
from app.design.fallbacks import policy_in_force
from app.foundation.store import platform
from app.foundation.store.engine import patience_s, transaction, unavailable
from app.registry.store import experiments, holdouts, models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.holdouts import Holdout
from app.registry.store.models import Serving
from bandits.encoding import encode_action
from bandits.exposure import Exposure
from bandits.policy import BanditPolicy, Policy, UniformPolicy, parse_policy


class Arm(NamedTuple):
    """One arm, ready to decide."""

    key: str
    policy: Policy


class Candidates(NamedTuple):
    """Actions that may be chosen from, with their lines in the encoding."""

    ids: list[str]
    lines: list[str]  # one per id
    payloads: dict[str, JsonValue]

    def lines_of(self, actions: Sequence[str]) -> list[str]:
        """The lines of some of them, in the order of ``actions``."""
        return [self.lines[self.ids.index(action)] for action in actions]


@dataclass(frozen=True)
class Experiment:
    """One experiment, ready to decide."""

    id: int
    key: str
    status: str
    salt: bytes
    config_version: int
    config: ExperimentConfig
    arms: Mapping[str, Arm]
    shares: Mapping[str, float]
    candidates: Candidates
    channels: Mapping[str, str]  # by action, the channel of its message; actions without a message are missing
    governed: bool  # True: every decision depends on its unit's state
    plain: Arm  # decides for people without consent to personalisation, and for units in the global holdout
    targets: Mapping[str, Exposure] = field(default_factory=dict)  # by arm, of exposure over a window


@dataclass(frozen=True)
class Snapshot:
    """The configuration at one revision. It never changes; a newer snapshot replaces it."""

    revision: int
    experiments: Mapping[str, Experiment]  # by key
    by_id: Mapping[int, Experiment]
    keys: Mapping[str, StoredKey]  # by public id
    serving: Mapping[tuple[int, str], Serving]  # by (experiment id, arm key)
    holdout: Holdout | None = None  # the global holdout; null: there was never one
    counts: Mapping[int, ExperimentCounts] = field(default_factory=dict)  # by experiment id, of targets over a window


REFRESH_S = 60.0  # longest wait for another thread that is reading; requests have an earlier deadline

EMPTY = Snapshot(-1, {}, {}, {}, {})


class Snapshots:
    """Holds the newest snapshot of a process and brings it up to date."""

    def __init__(self, engine: Engine, before_publishing: Callable[[Snapshot, Snapshot], None]) -> None:
        """:param before_publishing: called with the old and the new snapshot; loads new models before requests need them."""
        self._engine = engine
        self._before_publishing = before_publishing
        self._lock = threading.Lock()
        self._read_at = -1.0  # when the latest read began, on the monotonic clock
        self.current = EMPTY

    def refresh(self) -> Snapshot:
        """Read the changes since the current snapshot and return the new one.

        :raises Unavailable: the database is down; the old snapshot stays.
        """
        called_at = time.monotonic()
        if not self._lock.acquire(timeout=patience_s(REFRESH_S)):
            raise unavailable()
        try:
            old = self.current
            if self._read_at > called_at:  # another thread has read since this call began, so many calls share one read
                return old
            began = time.monotonic()
            with transaction(self._engine) as connection:
                revision = platform.revision(connection)
                if revision == old.revision:
                    self.current = new = _counted(connection, old)
                    self._read_at = began
                    return new
                changed = experiments.changed_since(connection, old.revision)
                new_keys = keys.changed_since(connection, old.revision)
                serving = models.serving(connection, since_revision=old.revision)
                ids = experiments.all_ids(connection)
                holdout = holdouts.newest(connection)
                known = {
                    id_: experiment for id_, experiment in old.by_id.items() if id_ in ids
                }  # a draft may be deleted
                by_key = {experiment.key: experiment for experiment in known.values()}
                base = replace(old, revision=revision, experiments=by_key, by_id=known, holdout=holdout)
                new = _counted(connection, _merge(base, changed, new_keys, serving))
            self._before_publishing(old, new)
            self.current, self._read_at = new, began
            return new
        finally:
            self._lock.release()


def compile_actions(actions: Sequence[ActionSpec]) -> Candidates:
    """Encode actions once for all decisions."""
    ids = [action.id for action in actions]
    lines = [encode_action(action.id, action.features) for action in actions]
    return Candidates(ids, lines, {action.id: action.payload for action in actions})


def compile_candidates(config: ExperimentConfig) -> Candidates:
    """Encode an experiment's own actions, or the combinations of its composed message."""
    spec = config.composition
    if spec is None:
        return compile_actions(config.actions)
    silent = [NOTHING] if spec.allow_nothing else []
    lines = [line_of(spec, combination) for combination in spec.combinations] + [encode_action(name) for name in silent]
    ids = [combination.id for combination in spec.combinations] + silent
    return Candidates(ids, lines, dict.fromkeys(ids))


def _counted(connection: Connection, snapshot: Snapshot) -> Snapshot:
    """Read the newest counts of the targets over a window; no experiment has one: nothing to read."""
    ids = [id_ for id_, experiment in snapshot.by_id.items() if experiment.targets and experiment.status == "running"]
    if not ids:
        return replace(snapshot, counts={}) if snapshot.counts else snapshot
    return replace(snapshot, counts={row.experiment_id: targets.read(row) for row in counts.newest(connection, ids)})


def compile_experiment(stored: StoredExperiment) -> Experiment:
    """Parse and encode a stored experiment."""
    config = ExperimentConfig.model_validate(stored.config)
    arms = {arm.key: Arm(arm.key, policy_in_force(config, arm)) for arm in config.arms}
    return Experiment(
        id=stored.id,
        key=stored.key,
        status=stored.status,
        salt=bytes(stored.salt),
        config_version=stored.config_version,
        config=config,
        arms=arms,
        shares=shares(config),
        candidates=compile_candidates(config),
        channels=config.channels(),
        plain=plain_arm(config),
        governed=any((config.fatigue, config.repeats, config.consent, config.profile, config.feedback)),
        targets={key: target for key, arm in arms.items() if (target := targets.target_of(arm.policy)) is not None},
    )


def plain_arm(config: ExperimentConfig) -> Arm:
    """Return the arm that decides for people who do not consent to personalisation, and for units in the global holdout.

    This is the control if it does not learn, or else the first arm that does not learn. If all arms learn, a uniform policy
    decides in the name of the control, or of the first arm if there is no control.
    """
    control_first = sorted(config.arms, key=lambda arm: arm.key != config.control.key)
    arms = [Arm(arm.key, parse_policy(arm.policy)) for arm in control_first]
    return next((arm for arm in arms if not isinstance(arm.policy, BanditPolicy)), Arm(arms[0].key, UniformPolicy()))


def _merge(
    base: Snapshot, changed: list[StoredExperiment], new_keys: list[StoredKey], serving: list[Serving]
) -> Snapshot:
    compiled = [compile_experiment(stored) for stored in changed]
    return replace(
        base,
        experiments={**base.experiments, **{experiment.key: experiment for experiment in compiled}},
        by_id={**base.by_id, **{experiment.id: experiment for experiment in compiled}},
        keys={**base.keys, **{key.id: key for key in new_keys}},
        serving={**base.serving, **{(row.experiment_id, row.arm): row for row in serving}},
    )
