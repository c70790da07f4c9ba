"""Reads the newest part of a log that a report may hold in memory, and the names and values of its context fields."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from pydantic import JsonValue
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.foundation.settings import Settings
from app.learning.examples import Configs
from app.off_policy.log_table import LogTable, build
from app.off_policy.policies import Policies
from app.off_policy.store.evaluations import LoggedRow
from app.registry.store import models
from app.registry.store.experiments import StoredExperiment
from app.reporting.store import whom as store
from experiments.logs.cuts import Cut, cut

NEWEST = 20_000  # decisions at most
PAIRS = 200_000  # pairs of a decision and an action that it could have had, at most: they bound memory and time
SAMPLE = 200  # newest decisions that tell how many actions a decision has
MIN_ROWS = 100
MOST_FIELDS = 6  # of the contexts, where none is declared
MOST_VALUES = 8  # of a field; the rest is one value
MOST_FEATURES = 20  # whose importance is measured


class Window(NamedTuple):
    """The newest decisions as arrays."""

    table: LogTable
    configs: Configs
    limit: int  # the newest so many were read at most


def read(
    connection: Connection, settings: Settings, experiment: StoredExperiment, config: ExperimentConfig
) -> Window | None:
    """Read the newest settled decisions, of lists the first positions; null when there are fewer than ``MIN_ROWS``.

    :raises DataError: a model version that decided cannot be read.
    """
    until = store.complete_until(connection, experiment.id, [arm.key for arm in config.arms])
    sample = store.newest(connection, experiment.id, SAMPLE, until)
    if not sample:
        return None
    limit = max(MIN_ROWS, min(NEWEST, PAIRS // max(len(row.eligible) for row in sample)))
    rows = _since_forgotten(connection, experiment.id, store.newest(connection, experiment.id, limit, until))
    if len(rows) < MIN_ROWS:
        return None
    configs = Configs(connection, experiment.id)
    policies = Policies(connection, settings, experiment, config)
    table = build(rows, configs, policies.version)
    first = np.flatnonzero(table.position == 1)
    if len(first) < MIN_ROWS:
        return None
    return Window(table if len(first) == len(table) else table.take(first), configs, limit)


def _since_forgotten(connection: Connection, experiment_id: int, rows: list[LoggedRow]) -> list[LoggedRow]:
    """The rows after the last one that a forgotten model version decided: an erasure left nothing to recompute it with."""
    forgotten = set()
    for arm, number in {(row.arm, row.policy_version) for row in rows if row.policy_version}:
        version = models.find(connection, experiment_id, arm, number)
        if version is not None and version.forgotten:
            forgotten.add((arm, number))
    last = max((index for index, row in enumerate(rows) if (row.arm, row.policy_version) in forgotten), default=-1)
    return rows[last + 1 :]


def flat(context: object) -> Mapping[str, JsonValue]:
    """The top-level fields of a context, which may be a list of objects."""
    if isinstance(context, Mapping):
        return context
    parts = context if isinstance(context, list) else []
    return {name: value for part in parts if isinstance(part, Mapping) for name, value in part.items()}


def names(table: LogTable, most: int) -> list[str]:
    """The most frequent top-level fields of the contexts."""
    counts = Counter(name for row in table.rows for name in flat(row.context))
    return sorted(counts, key=lambda name: (-counts[name], name))[:most]


def cuts(table: LogTable, declared: list[str]) -> dict[str, Cut]:
    """The values of the declared fields, or of the most frequent ones; fields with a single value are left out."""
    fields = declared or names(table, MOST_FIELDS)
    groups_by_field = {name: cut([flat(row.context).get(name) for row in table.rows], MOST_VALUES) for name in fields}
    return {name: groups for name, groups in groups_by_field.items() if len(groups.names) > 1}
