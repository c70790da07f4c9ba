"""Checks of a trigger against what it names: the experiment whose message it sends, its variables, its caps."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Engine

from app.design import message_variables
from app.design.experiment_config import ExperimentConfig
from app.design.people_config import FatigueSpec
from app.foundation.errors import FieldError
from app.foundation.store.engine import transaction
from app.messaging.triggers.definition import AbsencePattern, CountPattern, TriggerConfig
from app.registry.store import experiments


def variable_problems(trigger: TriggerConfig, experiment: ExperimentConfig) -> list[FieldError]:
    """The variables that a message needs and the trigger never supplies."""
    return [
        FieldError("/variables", "trigger_variable_missing", {"variable": name})
        for name in message_variables.missing(experiment, trigger.variables, trigger.channel)
    ]


class Tighter(NamedTuple):
    """A limit of the experiment that is tighter than the trigger's pace: some firings send nothing."""

    every_s: float  # the shortest time between two firings for one unit
    limit: int  # messages
    window_s: float  # within which the limit counts


def tighter_limits(engine: Engine, trigger: TriggerConfig) -> list[Tighter]:
    """The limits of the experiment that are tighter than the pace of a trigger whose pattern sets one."""
    every = _fires_every(trigger)
    with transaction(engine) as connection:
        found = experiments.find(connection, trigger.experiment)
    if every is None or found is None:
        return []
    fatigue = ExperimentConfig.model_validate(found.config).fatigue
    return list(_tighter(fatigue, every, trigger)) if fatigue else []


def _fires_every(trigger: TriggerConfig) -> float | None:
    """The shortest time in seconds between two firings for one unit; null: the pattern sets none."""
    pattern = trigger.pattern
    if isinstance(pattern, CountPattern):
        return pattern.window_s
    return pattern.for_s if isinstance(pattern, AbsencePattern) else None


def _tighter(fatigue: FatigueSpec, every: float, trigger: TriggerConfig) -> Iterator[Tighter]:
    for cap in fatigue.caps:
        applies = cap.action is None and (cap.channel is None or trigger.channel in (None, cap.channel))
        if applies and cap.window_s / every > cap.limit:
            yield Tighter(every, cap.limit, cap.window_s)
    if fatigue.min_distance_s and fatigue.min_distance_s > every:
        yield Tighter(every, 1, fatigue.min_distance_s)
