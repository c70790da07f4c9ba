"""Read a log as the columns of an off-policy report: what was chosen with which probability, and what a policy would choose."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from app.files.context_columns import Mapping
from app.files.file_columns import Columns, Position, TextStyle
from app.files.log_files import format_of
from app.files.records import LoggedDecision, read_decisions
from app.files.refused import FileRefused
from experiments.validation import FloatArray

PROPENSITY, TARGET, REWARD, UNIT, ACTION = "propensity", "target_probability", "reward", "unit_id", "action"
COUNT = "stands_for"
MOST_ACTIONS = 50  # with more, no values by action
_ENDINGS = (".dsjson", ".jsonl", ".ndjson", ".json")


class Names(NamedTuple):
    """Other names of a log's fields, if it is no export of ours."""

    propensity: str | None
    reward: str | None
    unit: str | None
    action: str | None


def is_log(path: Path, target: str | None) -> bool:
    """Whether a file is a log of decisions, not a table with columns of any name."""
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".gzip") else path
    return target is not None or name.suffix.lower() in _ENDINGS


def log_columns(path: Path, target: str, names: Names, style: TextStyle) -> tuple[Columns, dict[str, str]]:
    """Return a log's columns, and by action the name of the column with its logged probability.

    :param target: the policy to value: uniform or fixed:ACTION.
    :raises FileRefused: the log or an option cannot be used.
    """
    given = {PROPENSITY: names.propensity, REWARD: names.reward, UNIT: names.unit, ACTION: names.action}
    mapping = Mapping({field: name for field, name in given.items() if name}, (), (), style.delimiter, style.decimal)
    positions, decisions = [], []
    for position, decision in read_decisions(path, format_of(path, None), mapping):
        positions.append(position)
        decisions.append(decision)
    if not decisions:
        raise FileRefused(f"{path.name} has no decisions: give a log with at least one.")
    return _columns(path, target, decisions, positions)


def _columns(
    path: Path, target: str, decisions: list[LoggedDecision], positions: list[str]
) -> tuple[Columns, dict[str, str]]:
    actions = list(dict.fromkeys(name for one in decisions for name in _eligible(one) or [one.action]))
    numbers = {
        PROPENSITY: np.array([one.propensity for one in decisions]),
        TARGET: _target(path, target, decisions, positions, actions),
        REWARD: np.array([one.reward for one in decisions]),
    }
    if any(one.stands_for is not None for one in decisions):
        numbers[COUNT] = np.array([one.stands_for or 1.0 for one in decisions])
    labels = {}
    if decisions[0].unit_id is not None:
        labels[UNIT] = [str(one.unit_id) for one in decisions]
    distribution: dict[str, str] = {}
    if 1 < len(actions) <= MOST_ACTIONS and all(one.distribution is not None for one in decisions):
        labels[ACTION] = [one.action for one in decisions]
        distribution = {action: f"p({action})" for action in actions}
        numbers |= {distribution[action]: _chances(action, decisions) for action in actions}
    order = {name: {text: code for code, text in enumerate(dict.fromkeys(texts))} for name, texts in labels.items()}
    codes = {name: np.array([order[name][text] for text in texts], dtype=np.int64) for name, texts in labels.items()}
    position = Position("named", names=tuple(positions))
    return Columns(numbers, codes, {name: list(texts) for name, texts in order.items()}, position), distribution


def _eligible(decision: LoggedDecision) -> list[str] | None:
    return None if decision.actions is None else [action["id"] for action in decision.actions]


def _chances(action: str, decisions: list[LoggedDecision]) -> FloatArray:
    return np.array(
        [
            next(
                (p for name, p in zip(_eligible(one) or (), one.distribution or (), strict=True) if name == action), 0.0
            )
            for one in decisions
        ]
    )


def _target(
    path: Path, target: str, decisions: list[LoggedDecision], positions: list[str], actions: list[str]
) -> FloatArray:
    """Return the probability with which the policy would have taken each logged action."""
    if target == "uniform":
        return np.array([1 / len(_eligible(one) or actions) for one in decisions])
    kind, _, action = target.partition(":")
    if kind != "fixed" or not action:
        raise FileRefused(f"The target {target!r} is not understood: write uniform or fixed:ACTION.")
    if action not in actions:
        known = ", ".join(actions[:30])
        raise FileRefused(f"{path.name}: no decision could take the action {action!r}: choose among {known}.")
    for one, position in zip(decisions, positions, strict=True):
        if action not in (_eligible(one) or actions):
            raise FileRefused(
                f"{path.name}, {position}: the action {action!r} was not eligible, so it cannot always be taken."
            )
    return np.array([float(one.action == action) for one in decisions])
