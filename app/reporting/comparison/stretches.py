"""Which units an arm can be compared on, and with what chance they got it, through every change of the shares.

A *stretch* is a run of configurations with the same shares. A unit counts in the arm and the stretch in which it was first
seen. It counts until one of the two arms has no share any more, and only if no change of shares until then moves it to
another arm: whether it would be moved follows from the keyed hash that assigns it, not from what it did, so that leaving
such units out selects nobody.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig, shares
from app.foundation.times import iso
from app.registry.store import experiments
from app.registry.store.experiments import StoredExperiment
from app.reporting.documents.results import MovedUnits, ShareStretch
from app.reporting.store import counted_units
from app.reporting.store.counted_units import FirstSeen, Moved
from bandits.distribution import arm_draws, first_arm

DIGITS = 12  # two chances that agree to so many digits are one


class Stretch(NamedTuple):
    """A run of configurations with the same shares."""

    first_version: int
    shares: Mapping[str, float]  # of arms that get units; they sum to 1
    began_at: datetime | None = None  # null: of a log that was only planned


class Ends(NamedTuple):
    """How long the units of each stretch count: up to the stretch with this index, which is not included; 0: not at all."""

    by_stretch: tuple[int, ...]


def of_experiment(connection: Connection, experiment: StoredExperiment) -> list[Stretch]:
    """The stretches of an experiment, oldest first."""
    stretches: list[Stretch] = []
    began = experiments.config_times(connection, experiment.id)
    for version in range(1, experiment.config_version + 1):
        config = ExperimentConfig.model_validate(experiments.config_of(connection, experiment.id, version))
        given = _normalised(shares(config))
        if not stretches or stretches[-1].shares != given:
            stretches.append(Stretch(version, given, began[version]))
    return stretches


def _normalised(given: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(given.values())
    return {arm: share / total for arm, share in given.items() if share > 0}


def ends(stretches: Sequence[Stretch], arms: Sequence[str]) -> Ends:
    """Until when units that were first seen in each stretch count, for these arms: as long as all of them get units."""
    ends: list[int] = []
    end = 0
    for index in reversed(range(len(stretches))):
        if not all(arm in stretches[index].shares for arm in arms):
            end = 0
            ends.append(0)
            continue
        end = end or index + 1
        ends.append(end)
    return Ends(tuple(reversed(ends)))


def chance(stretches: Sequence[Stretch], pair: tuple[str, str], first: int, end: int) -> float:
    """The chance of the first arm, among units that got one of the two in stretch ``first`` and keep it up to ``end``."""
    one, other = (_kept(stretches[first:end], arm) for arm in pair)
    return round(one / (one + other), DIGITS)


def _kept(stretches: Sequence[Stretch], arm: str) -> float:
    """The chance to get an arm in each of these stretches: 1 / (1 + sum over other arms of max_s share / arm's share).

    The smallest of keyed exponentials with the shares as rates decides (``bandits.distribution.assign``), so an arm wins
    every time if each other draw is larger than its own times the largest ratio.
    """
    others = {name for stretch in stretches for name in stretch.shares} - {arm}
    ratios = [max(stretch.shares.get(name, 0.0) / stretch.shares[arm] for stretch in stretches) for name in others]
    return 1.0 / (1.0 + math.fsum(ratios))


def prepare(connection: Connection, experiment: StoredExperiment, stretches: Sequence[Stretch]) -> None:
    """Make the table of units that ``app.reporting.store.results`` joins, once for a computation.

    An experiment with constant shares needs none: its units never change their arm.
    """
    counted_units.create(connection, experiment.id, [stretch.first_version for stretch in stretches])
    counted_units.mark_moved(connection, _moved(experiment.salt, stretches, counted_units.first_seen(connection)))


def described(connection: Connection, experiment_id: int, stretches: Sequence[Stretch]) -> list[ShareStretch]:
    """The stretches for a report, with the time when each began."""
    began = experiments.config_times(connection, experiment_id)
    return [
        ShareStretch(
            first_version=stretch.first_version, began_at=iso(began[stretch.first_version]), shares=dict(stretch.shares)
        )
        for stretch in stretches
    ]


def moved(connection: Connection) -> MovedUnits:
    """How many units changed their arm; needs ``prepare``."""
    counted = counted_units.count_moved(connection)
    share = counted.moved / counted.units if counted.units else 0.0
    return MovedUnits(moved=counted.moved, left_out=counted.left_out, share=share)


def _moved(salt: bytes, stretches: Sequence[Stretch], units: Iterator[FirstSeen]) -> Iterator[Moved]:
    """The units that a later change of shares moves to another arm, whether they were seen after it or not."""
    arms = list(dict.fromkeys(arm for stretch in stretches for arm in stretch.shares))
    for unit in units:
        draws = arm_draws(salt, unit.unit_id, arms)
        if first_arm(draws, stretches[unit.stretch].shares) != unit.arm:
            continue  # its hash did not choose this arm, such as that of an imported log: only what was seen tells
        for index in range(unit.stretch + 1, len(stretches)):
            if first_arm(draws, stretches[index].shares) != unit.arm:
                yield Moved(unit.unit_id, index)
                break
