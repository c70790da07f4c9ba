"""The cumulative effect of what experiments shipped: everybody else against the units of the global holdout."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError
from app.foundation.fields import Key, PropertyPath, invalid
from app.foundation.formats.intervals import document_of
from app.foundation.store import latest, platform
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.impact.documents import EffectLine, HoldoutEffect, HoldoutStanding, HoldoutVersion
from app.impact.store import holdout as store
from app.impact.store.holdout import HELD, TREATED, EventSum, Groups, Shipped
from app.registry import holdout as setting
from app.registry.holdout import Standing
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment
from app.reporting.comparison.result_lines import moments
from app.reporting.store import results
from app.reporting.store.metric_sums import ArmSums
from experiments.arms.arm_cells import ArmCell, Stratum
from experiments.arms.strata import compare_strata
from experiments.results import missing
from experiments.validation import DataError

KIND = "holdout_effect"
DAY_S = 86_400.0
EVERY_S = 900.0
FACTOR = 100.0  # computing takes at most 1 / FACTOR of a worker's time
ASSUMPTIONS = (
    "A keyed hash of the unit decides who is held back, the same in every experiment, so both groups are alike but for what "
    "experiments do. The comparison is by intention: a unit counts in its group whatever it got.",
    "A unit counts from its first decision in one of these experiments since that one shipped, or since the holdout began if "
    "that was later. Units that were in the holdout only for a part of that time are in neither group.",
    "Rewards of several experiments are added as they are: the total means something only where they have one unit of measure. "
    "An event has one for all of them.",
    "Units outside the holdout may also be in experiments that still run; what those do is part of the difference. Nothing is "
    "assumed to carry over from a unit to another.",
    "The interval at every look holds at all looks together, asymptotically; the interval for one look holds for one.",
)


class Measured(BaseModel):
    """What is compared: the sum of rewards per unit, or the unit's own events."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    event: Key | None = Field(default=None, description="Name of an event; left out: the sum of rewards.")
    value: Literal["happened", "count", "sum"] = "happened"
    field: PropertyPath | None = Field(default=None, description="The property that is summed, with value sum.")
    window_s: float = Field(
        default=28 * DAY_S, ge=1, le=365 * DAY_S, description="Seconds from the unit's first decision; of events alone."
    )


def answer(standing: Standing) -> HoldoutStanding:
    """The global holdout as it is answered."""
    return HoldoutStanding(
        share=standing.share,
        since=None if standing.since is None else iso(standing.since),
        versions=[
            HoldoutVersion(
                version=row.version, share=row.share, actor=row.actor, reason=row.reason, at=iso(row.created_at)
            )
            for row in reversed(standing.versions)
        ],
    )


def effect(engine: Engine, measured: Measured) -> HoldoutEffect:
    """Compare everybody else with the holdout, over all experiments with a shipped arm and for each of them.

    The worker compares the rewards now and then (`compute_due`). Events are compared when somebody asks; so are rewards until
    the worker has compared them as the share and the shipped arms are now.

    :raises Unprocessable: a sum without a property, or a property without a sum.
    """
    check(measured)
    standing = setting.standing(engine)
    if measured == Measured():
        with transaction(engine) as connection:
            newest = latest.get(connection, latest.PLATFORM, KIND)
            about = _about(standing, _shipped(connection, standing.since))
        if newest is not None and newest.body["about"] == about:
            found = HoldoutEffect.model_validate(newest.body["effect"])
            return found.model_copy(update={"computed_at": iso(newest.computed_at)})
    return _compared(engine, measured, standing)


def compute_due(engine: Engine) -> bool:
    """Compare the rewards if the comparison is old, at intervals that depend on the time that takes; True: compared."""
    standing = setting.standing(engine)
    with transaction(engine) as connection:
        newest, now = latest.get(connection, latest.PLATFORM, KIND), platform.now(connection)
        about = _about(standing, _shipped(connection, standing.since))
    if not standing.course or not about["shipped"]:
        return False
    pause_s = 0.0 if newest is None or newest.body["about"] != about else max(EVERY_S, FACTOR * newest.seconds)
    if newest is not None and (now - newest.computed_at).total_seconds() < pause_s:
        return False
    began = time.monotonic()
    found = _compared(engine, Measured(), standing)
    with transaction(engine) as connection:
        body = {"about": about, "effect": found.as_json()}
        latest.put(connection, latest.PLATFORM, KIND, {}, body, time.monotonic() - began)
    return True


def _about(standing: Standing, shipped: Sequence[Shipped]) -> dict[str, JsonValue]:
    """What a comparison is about: another share, or another shipped arm, makes it one of something else."""
    arms: list[JsonValue] = [[row.key, row.arm, iso(row.since)] for row in shipped]
    return {"share": standing.share, "versions": len(standing.versions), "shipped": arms}


def _compared(engine: Engine, measured: Measured, standing: Standing) -> HoldoutEffect:
    with transaction(engine) as connection:
        shipped = _shipped(connection, standing.since)
        base = HoldoutEffect(
            share=standing.share,
            measured=words(measured),
            lines=[],
            left_out=standing.ever - standing.always,
            assumptions=list(ASSUMPTIONS),
            computed_at=iso(platform.now(connection)),
        )
        if not standing.course:
            return base.model_copy(update={"reason": "There is no global holdout."})
        if not shipped:
            return base.model_copy(update={"reason": "No experiment has shipped an arm that is not its control."})
        results.give_memory(connection)
        groups = Groups(standing.versions[-1].salt, standing.always, standing.ever)
        events = _events(measured)
        together = store.sums(connection, shipped, groups, events, together=True).get(None, [])
        apart = store.sums(connection, shipped, groups, events)
    chance = (1 - standing.ever) / (1 - standing.ever + standing.always)
    lines = [_line(None, together, chance)]
    lines += [_line(row, apart.get(row.experiment_id, []), chance) for row in shipped]
    return base.model_copy(update={"lines": lines})


def check(measured: Measured) -> None:
    """:raises Unprocessable: a sum without a property, or a property without a sum."""
    if measured.event is not None and (measured.value == "sum") != (measured.field is not None):
        raise invalid((FieldError("/field", "event_sum_field"),))


def words(measured: Measured) -> str:
    """What is summed per unit."""
    if measured.event is None:
        return "sum of rewards per unit"
    within = f"within {measured.window_s / DAY_S:g} days of the unit's first decision"
    kinds = {
        "happened": f"share of units with a {measured.event} event",
        "count": f"{measured.event} events per unit",
        "sum": f"sum of {measured.field} over {measured.event} events per unit",
    }
    return f"{kinds[measured.value]} {within}"


def _events(measured: Measured) -> EventSum | None:
    if measured.event is None:
        return None
    path = None if measured.field is None else measured.field.split(".")
    return EventSum(measured.event, measured.value, path, measured.window_s)


def _shipped(connection: Connection, since: datetime | None) -> list[Shipped]:
    rows = [_of_experiment(row, since) for row in experiments.changed_since(connection, -1)]
    return [row for row in rows if row is not None]


def _of_experiment(row: StoredExperiment, since: datetime | None) -> Shipped | None:
    config = ExperimentConfig.model_validate(row.config)
    if config.shipped is None or config.shipped.arm == config.control.key:
        return None
    at = datetime.fromisoformat(config.shipped.at)
    return Shipped(row.id, row.key, config.shipped.arm, at if since is None else max(at, since))


def _line(shipped: Shipped | None, rows: Sequence[ArmSums], chance: float) -> EffectLine:
    sides = {row.arm: row for row in rows}
    held, others = sides.get(HELD), sides.get(TREATED)
    line = EffectLine(
        experiment=None if shipped is None else shipped.key,
        arm=None if shipped is None else shipped.arm,
        since=None if shipped is None else iso(shipped.since),
        held_units=held.units if held else 0,
        other_units=others.units if others else 0,
        held=held.mean_num if held else None,
        others=others.mean_num if others else None,
        difference=None,
        relative_lift=None,
        interval=document_of(missing("too few units: each group needs two whose decisions are settled")),
        always_valid=document_of(missing("too few units: each group needs two whose decisions are settled")),
    )
    if held is None or others is None:
        return line
    try:
        figures = compare_strata([Stratum(_cell(held), _cell(others), chance)])
    except DataError as error:
        gone = document_of(missing(error.sentence(None)))
        return line.model_copy(update={"interval": gone, "always_valid": gone})
    return line.model_copy(
        update={
            "difference": figures.comparison.difference,
            "relative_lift": figures.comparison.relative_lift,
            "interval": document_of(figures.comparison.interval),
            "always_valid": document_of(figures.always_valid.interval),
        }
    )


def _cell(row: ArmSums) -> ArmCell:
    return ArmCell(moments(row), row.mean_size, round(row.units * row.mean_num) if row.binary else None)
