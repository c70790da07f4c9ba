"""Watches the way of rewards from the apps: a client whose rewards are lost, and rewards that come ever later in their window."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field

from app.foundation.fields import Document
from app.guardian.store.contexts import Row
from app.guardian.streams import Batch, ByUnit, per_unit
from app.guardian.thresholds import LOST_MARGIN, MOST_KEYS, USUALLY_REWARDED
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch

LATE_MARGIN = 0.25  # of the part of the window that is usually left

PipelineKind = Literal["client_rewards_lost", "rewards_late"]


class WatchedPipeline(Document):
    """What is watched of an experiment's rewards, beside what each arm's watches see."""

    keys: dict[str, Watch] = Field(default_factory=dict)  # by API key: the share of its decisions with a reward event
    left: Watch = Watch()  # the share of the window that is left when a decision's first reward comes


class Trouble(NamedTuple):
    """What a watch noticed."""

    kind: PipelineKind
    key_id: str  # of the client; "": all
    began_at: datetime
    strength: float
    before: float
    after: float


def see(
    watched: WatchedPipeline, rows: Sequence[Row], units: ByUnit, threshold: float
) -> tuple[WatchedPipeline, list[Trouble]]:
    """Bring the watches up to date with newly settled decisions; returns what they noticed.

    :param units: whose the rows are.
    """
    left = [row.left for row in rows]
    there = np.array([share is not None for share in left], dtype=bool)
    batch = per_unit(units, [min(max(share or 0.0, 0.0), 1.0) for share in left], there)
    watch, found = _seen("rewards_late", "", watched.left, batch, threshold)
    keys, of_key = dict(watched.keys), np.array([row.key_id for row in rows])
    rewarded = [float(row.events > 0) for row in rows]
    for key_id in [*keys, *sorted(set(of_key.tolist()) - keys.keys())][:MOST_KEYS]:
        batch = per_unit(units, rewarded, of_key == key_id)
        before = keys.get(key_id, Watch())
        keys[key_id], troubles = _seen("client_rewards_lost", key_id, before, batch, threshold)
        found += troubles
    return WatchedPipeline(keys=keys, left=watch), found


def _seen(kind: PipelineKind, key_id: str, watch: Watch, batch: Batch, threshold: float) -> tuple[Watch, list[Trouble]]:
    """Add a batch to a watch; a watch that noticed something begins anew."""
    if not len(batch.values):
        return watch, []
    margin = LATE_MARGIN if kind == "rewards_late" else LOST_MARGIN
    seen = falls.observe(watch, batch.values, batch.times, margin=margin, most=1.0)
    if seen.level is None or seen.strength.max() < threshold:
        return seen.watch, []
    if kind == "client_rewards_lost" and not usually_rewarded(watch):
        return falls.without_evidence(seen.watch), []
    after, began = float(batch.values[batch.times >= seen.began].mean()), datetime.fromtimestamp(seen.began, UTC)
    return Watch(), [Trouble(kind, key_id, began, float(seen.strength.max()), seen.level.mean, after)]


def newest(watched: WatchedPipeline) -> dict[tuple[str, str], float]:
    """By kind and client, the mean of the newest observations, where a watch has enough of them."""
    named = {("client_rewards_lost", key_id): watch for key_id, watch in watched.keys.items()}
    means = {}
    for key, watch in (named | {("rewards_late", ""): watched.left}).items():
        n = sum(part.n for part in watch.recent)
        if n >= falls.LEAST:
            means[key] = sum(part.total for part in watch.recent) / n
    return means


def usually_rewarded(watch: Watch) -> bool:
    """Whether nearly all decisions of a client have a reward event; elsewhere a fall does not mean that events are lost."""
    return watch.known.n >= falls.LEAST and watch.known.total >= USUALLY_REWARDED * watch.known.n
