"""How far an experiment is on its way to the sample that was planned, and when it gets there at the pace so far."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from app.design.metric_config import DecisionRule

DAY_S = 86_400.0
MOST_DAYS = 3650.0  # a date further ahead says nothing


class Progress(NamedTuple):
    """Settled units against the planned sample."""

    units: int  # with a settled decision, in all arms
    planned: int  # in all arms
    chosen: bool  # a person planned the sample; else it is the least that the rule asks for
    ends_at: datetime | None  # when sample and least days are reached at the pace so far; null: not known
    stops_at: datetime | None  # when the rule stops whatever the results; null: never

    @property
    def share(self) -> float:
        """The part of the planned sample that is there, at most 1."""
        return min(1.0, self.units / self.planned)

    @property
    def too_slow(self) -> bool:
        """The rule stops before the planned sample is reached."""
        return self.ends_at is not None and self.stops_at is not None and self.ends_at > self.stops_at


def progress(
    rule: Mapping[str, JsonValue], arms: int, units: int, started_at: datetime | None, now: datetime
) -> Progress:
    """Compare the settled units with the plan. Without a planned sample, the rule's least units of each arm are the plan.

    :param rule: the experiment's decision rule.
    :param arms: arms that get units.
    """
    spec = DecisionRule.model_validate(rule)
    planned = spec.planned_units or spec.min_units * max(1, arms)
    stops_at = None
    if started_at is not None and spec.max_days is not None:
        stops_at = started_at + timedelta(days=spec.max_days)
    ends_at = None
    if started_at is not None and units > 0 and now > started_at:
        days = max(spec.min_days, (now - started_at).total_seconds() / DAY_S * planned / units)
        ends_at = started_at + timedelta(days=days) if days <= MOST_DAYS else None
    return Progress(units, planned, spec.planned_units is not None, ends_at, stops_at)
