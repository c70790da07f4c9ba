"""Targets on exposure over a window: counts them for the draw, and reports what was reached.

The worker counts each arm's newest decisions by group and stores the counts (``latest``). Web processes read them with their
configuration, see `app.deciding.windows.targets`; `bandits.exposure` turns them into the bounds of the next decision.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import orjson
from pydantic import TypeAdapter
from sqlalchemy import Connection, Engine

from app.deciding.snapshot import compile_candidates
from app.deciding.store import counts as stored_counts
from app.deciding.windows.targets import RESTS_AFTER_S, ArmCounts, belong, read, target_of
from app.design.experiment_config import ExperimentConfig
from app.design.fallbacks import policy_in_force
from app.fairness.documents import GroupTarget, TargetReport
from app.fairness.store import fairness
from app.fairness.store import targets as store
from app.fairness.store.targets import WindowRow
from app.foundation.isolation import each
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from bandits.encoding import encode_action, escape
from bandits.exposure import ACTION, WINDOWS, WINDOWS_S, Exposure, value_of

KIND = stored_counts.KIND
FACTOR = 10.0  # counting takes at most 1 / FACTOR of a worker's time
PAIRS = 200_000  # pairs of a decision and an action in a window, at most: where there are many actions, fewer decisions count
MOST = 100  # groups of a report
MOST_KEPT = 1_000  # groups whose chances are kept, those first that could be drawn most often
_BODY = TypeAdapter(dict[str, ArmCounts])
Named = Callable[[WindowRow], list[str]]  # the group of each eligible action


def compute_due(engine: Engine) -> list[str]:
    """Count what is due; returns the experiments' keys."""
    with transaction(engine) as connection:
        keys = store.due(connection, FACTOR)
    return each(engine, KIND, keys, lambda key: compute(engine, key))


def compute(engine: Engine, key: str) -> None:
    """Count and store the windows of one experiment's arms."""
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        most = max(WINDOWS[0], PAIRS // max(1, fairness.widest(connection, experiment.id)))
        candidates = compile_candidates(config)
        lines = dict(zip(candidates.ids, candidates.lines, strict=True))
        found = {
            arm: _counted(connection, experiment.id, arm, target, most, _names(lines, target.by))
            for arm, target in targets(config).items()
        }
        latest.put(connection, experiment.id, KIND, {}, _BODY.dump_python(found), time.monotonic() - began)


def targets(config: ExperimentConfig) -> dict[str, Exposure]:
    """By arm, its target over a window."""
    found = {spec.key: target_of(policy_in_force(config, spec)) for spec in config.arms}
    return {arm: target for arm, target in found.items() if target is not None}


def _counted(
    connection: Connection, experiment_id: int, arm: str, target: Exposure, most: int, names: Named
) -> ArmCounts:
    longest = target.window_s or WINDOWS_S[1]
    rows = store.window(connection, experiment_id, arm, min(most, target.window or WINDOWS[1]), longest)
    return count(rows, target, names)


def count(rows: Iterable[WindowRow], target: Exposure, names: Named) -> ArmCounts:
    """Count the decisions of a window by group."""
    decisions, span_s = 0, 0.0
    groups, eligible, even = Counter[str](), Counter[str](), dict[str, float]()
    for row in rows:
        named = names(row)
        decisions, span_s = decisions + row.decisions, max(span_s, row.age_s)
        groups[named[row.chosen]] += row.decisions
        possible = dict.fromkeys(named)
        for name in possible:
            eligible[name] += row.decisions
            even[name] = even.get(name, 0.0) + row.decisions / len(possible)
    kept = dict(eligible.most_common(MOST_KEPT))
    return ArmCounts(
        *(target.by, target.window, target.window_s, decisions),
        *(dict(groups), kept, {name: even[name] for name in kept}, span_s),
    )


def _names(lines: Mapping[str, str], by: str) -> Named:
    """Name groups as the draw does: by the actions of the configuration, or by those that the call brought."""

    def named(row: WindowRow) -> list[str]:
        own = (
            {}
            if row.actions is None
            else {action["id"]: action.get("features") for action in orjson.loads(row.actions)}
        )
        return [
            value_of(encode_action(name, own[name]) if name in own else lines.get(name, ""), by)
            for name in row.eligible
        ]

    return (lambda row: row.eligible) if by == ACTION else named


def reports(connection: Connection, experiment_id: int, config: ExperimentConfig) -> list[TargetReport]:
    """What each arm with a target over a window reached, as of the newest counts."""
    newest = next(iter(stored_counts.newest(connection, [experiment_id])), None)
    arms = {} if newest is None else read(newest).arms
    return [
        _report(arm, target, arms.get(arm), None if newest is None else newest.age_s)
        for arm, target in targets(config).items()
    ]


def _report(arm: str, target: Exposure, counted: ArmCounts | None, age_s: float | None) -> TargetReport:
    if counted is None or not belong(counted, target):
        counted, age_s = None, None
    rows = [] if counted is None else _groups(target, counted)
    return TargetReport(
        arm=arm,
        by=target.by,
        window=target.window,
        window_s=target.window_s,
        decisions=0 if counted is None else counted.decisions,
        age_s=None if age_s is None else round(age_s, 1),
        rests=age_s is None or age_s >= RESTS_AFTER_S,
        groups=rows[:MOST],
        others=max(0, len(rows) - MOST),
    )


def _groups(target: Exposure, counted: ArmCounts) -> list[GroupTarget]:
    """The groups, the one furthest below its target first."""
    names, total = list(counted.eligible), max(1, counted.decisions)
    low, high = target.bounds(max(1, len(names))) if target.parity is not None else (target.least, target.most)
    rows = [
        GroupTarget(
            name=_value(name, target.by),
            share=counted.groups.get(name, 0) / total,
            least=low,
            most=high,
            eligible=counted.eligible[name] / total,
            possible=counted.even[name] / total,
            out_of_reach=counted.even[name] / total < low - 1e-9,
        )
        for name in names
    ]
    return sorted(rows, key=lambda row: (min(row.share - row.least, row.most - row.share), row.name))


def _value(token: str, by: str) -> str:
    return token if by == ACTION else token.removeprefix(f"{escape(by)}=")
