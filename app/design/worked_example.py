"""The joined reward of one decision as an example for people, computed by the rule that learning uses."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from app.design.experiment_config import RewardSpec
from bandits.rewards import RewardEvent, join


class Worked(NamedTuple):
    """One decision's rewards and their joined reward."""

    taken: list[float]  # in the order of their times
    refused: list[float]  # outside of the bounds: the API refuses them
    joined: float  # the joined reward, which models learn
    nothing: float  # the joined reward of a decision without reports


def work_out(spec: RewardSpec, values: Sequence[float]) -> Worked:
    """Join values that were reported one after the other, within the window."""
    taken = [value for value in values if spec.min <= value <= spec.max]
    start = datetime(2000, 1, 1, tzinfo=UTC)
    events = [RewardEvent(value, start + timedelta(seconds=n), f"{n:06}") for n, value in enumerate(taken)]
    rule = (spec.aggregation, spec.default, spec.min, spec.max)
    refused = [value for value in values if not spec.min <= value <= spec.max]
    return Worked(taken, refused, join(events, *rule), join([], *rule))
