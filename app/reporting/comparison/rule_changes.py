"""Finds what was changed in the decision rule and in the metrics after the launch.

A rule that was rewritten after data came is not the rule that was written down: its false alarms are no longer bounded. It
stays allowed, because metrics are mistyped and plans change, and every verdict then says what changed, when, and after how
many decisions.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.results import RuleChange, StoredResults
from app.reporting.store import results as store

_SILENT = ("name",)  # fields of a metric that change no verdict


def find(connection: Connection, experiment: StoredExperiment, before: StoredResults | None) -> list[RuleChange]:
    """The changes since the experiment started, oldest first.

    :param before: the newest stored results; the changes in them are not counted again.
    """
    if experiment.started_at is None or experiment.config_version == 1:
        return []
    times = experiments.config_times(connection, experiment.id)
    later = [version for version in sorted(times) if times[version] > experiment.started_at and version > 1]
    known = {change.version: change for change in before.decision.changes} if before and before.decision else {}
    changes = []
    config: Mapping[str, Any] = experiments.config_of(connection, experiment.id, later[0] - 1) if later else {}
    for version in later:
        after = experiments.config_of(connection, experiment.id, version)
        words = list(_differences(config, after))
        if words:
            changes.append(known.get(version) or _counted(connection, experiment, version, times[version], words))
        config = after
    return changes


def _counted(
    connection: Connection, experiment: StoredExperiment, version: int, at: datetime, words: list[str]
) -> RuleChange:
    decisions = store.decided_before(connection, experiment.id, at)
    return RuleChange(version=version, at=at.isoformat(), decisions=decisions, differences=words)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two configurations, as far as a verdict depends on it, in words."""
    yield from _fields("", before["decision_rule"], after["decision_rule"])
    old, new = ({metric["key"]: metric for metric in config["metrics"]} for config in (before, after))
    for key in {**old, **new}:
        if key not in new:
            yield f"the {old[key]['role']} metric {key} was removed"
        elif key not in old:
            yield f"the {new[key]['role']} metric {key} was added"
        else:
            yield from _fields(f"{key}: ", old[key], new[key])


def _fields(of: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in {**before, **after}:
        if before.get(name) != after.get(name) and name not in _SILENT:
            yield f"{of}{name} from {_shown(before.get(name))} to {_shown(after.get(name))}"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    return "none" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
