"""Estimates what a tighter cap would have been worth, from a log that was collected under a looser cap or none.

We evaluate the cap as a policy: after a unit had as many messages as the cap allows, its actions have probability 0. See
``experiments.off_policy.trajectories`` for the method and its assumptions.
"""

from typing import NamedTuple

from pydantic import Field
from sqlalchemy import Engine

from app.design.people_config import CapSpec
from app.foundation.errors import FieldError
from app.foundation.fields import Model, invalid
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.off_policy.documents import CapAnswer
from app.off_policy.store import cap_evaluations as store
from app.off_policy.store.cap_evaluations import CapRow, Said
from app.registry.lookup import stored_experiment
from experiments.off_policy.trajectories import TrajectoryValue, cap_ratios, used, value
from experiments.validation import DataError

ASSUMPTIONS = (
    "Opportunities to decide come at times that the cap does not change.",
    "What one unit is shown changes no other unit's rewards.",
    "Each unit is weighted by its whole logged past since the first decision used; before that it is taken as it was.",
    "Where the cap is reached, what may still be chosen keeps its proportions.",
)


class CapQuestion(Model):
    """The question what a cap would have been worth."""

    cap: CapSpec
    max_decisions: int = Field(
        default=50_000, ge=100, le=200_000, description="The newest so many settled ones are used."
    )
    alpha: float = Field(default=0.05, gt=0, lt=0.5)


def evaluate(engine: Engine, key: str, question: CapQuestion) -> CapAnswer:
    """Estimate the value per unit under the cap, with its interval, and the paired difference to the logged value.

    :raises NotFound: no such experiment.
    :raises Unprocessable: the log cannot answer; the error says why.
    """
    cap = question.cap
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        configs = Configs(connection, experiment.id)
        rows = store.newest(connection, experiment.id, question.max_decisions)
        if len(rows) < 2:
            raise invalid((FieldError("/cap", "no_settled_decisions"),))
        channels: dict[int, dict[str, str]] = {
            version: {
                action.id: action.template.channel for action in configs.get(version).all_actions() if action.template
            }
            for version in {row.config_version for row in rows}
        }
        units = sorted({row.unit_id for row in rows})
        messages = store.said(connection, units, rows[-1].at, cap.window_s)
    counted = [message for message in messages if _counts(cap, message, experiment.id)]
    try:
        estimate = _value(rows, counted, channels, units, question)
    except DataError as error:
        raise invalid((FieldError("/cap", "log_cannot_answer", {"reason": str(error)}),)) from None
    return CapAnswer(
        experiment=key, cap=cap.model_dump(mode="json"), **estimate._asdict(), assumptions=list(ASSUMPTIONS)
    )


class _Line(NamedTuple):
    """A decision or a message of a unit, in the order of its time; a decision comes before the message that it sent."""

    unit: int  # code
    at: float  # seconds since the epoch
    said: int  # 1 for a message that the cap counts, else 0
    row: CapRow | None  # the decision; null: a message


def _value(
    rows: list[CapRow],
    counted: list[Said],
    channels: dict[int, dict[str, str]],
    units: list[str],
    question: CapQuestion,
) -> TrajectoryValue:
    cap, number = question.cap, {unit: code for code, unit in enumerate(units)}
    lines = [_Line(number[row.unit_id], row.at.timestamp(), 0, row) for row in rows]
    lines += [_Line(number[message.unit_id], message.at.timestamp(), 1, None) for message in counted]
    lines.sort(key=lambda line: line[:3])
    before = used(
        [line.unit for line in lines], [line.at for line in lines], [line.said for line in lines], cap.window_s
    )
    used_rows = [(line.row, already) for line, already in zip(lines, before, strict=True) if line.row is not None]
    decisions = [row for row, _ in used_rows]
    blocked_actions = [_kept_back(cap, row, channels) for row in decisions]
    mass = [
        sum(row.distribution[index] for index in held) for row, held in zip(decisions, blocked_actions, strict=True)
    ]
    blocked = [float(row.chosen in held) for row, held in zip(decisions, blocked_actions, strict=True)]
    ratios = cap_ratios([already for _, already in used_rows], blocked, mass, limit=cap.limit)
    return value(
        [number[row.unit_id] for row in decisions],
        [row.at.timestamp() for row in decisions],
        ratios.ratios,
        [row.reward for row in decisions],
        touched=int(ratios.reached.sum()),
        alpha=question.alpha,
    )


def _kept_back(cap: CapSpec, row: CapRow, channels: dict[int, dict[str, str]]) -> list[int]:
    """Indexes of the eligible actions that the cap applies to."""
    channel_of = {} if row.own_actions else channels[row.config_version]
    return [
        index
        for index, name in enumerate(row.eligible)
        if name in channel_of and cap.channel in (None, channel_of[name]) and cap.action in (None, name)
    ]


def _counts(cap: CapSpec, message: Said, experiment_id: int) -> bool:
    here = message.experiment_id == experiment_id
    if cap.action is not None:
        return here and message.action == cap.action and cap.channel in (None, message.channel)
    return (here or cap.across == "platform") and cap.channel in (None, message.channel)
