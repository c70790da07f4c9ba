"""What all metrics of one computation have in common."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.reporting.comparison.stretches import Ends, Stretch
from app.reporting.store.metric_sums import Scope
from app.reporting.store.results import Overview


class Computation(NamedTuple):
    """What all metrics of one computation have in common."""

    connection: Connection
    experiment_id: int
    config: ExperimentConfig
    segment: str | None
    until: datetime | None
    as_of: datetime
    seen: Overview
    stretches: Sequence[Stretch]
    feedback_version: int
    counted: datetime | None  # what kept sums count, see ``app.reporting.store.unit_sums``; None: there are none

    @property
    def arms(self) -> list[str]:
        return [arm.key for arm in self.config.arms]

    def scope(self, ends: Ends) -> Scope:
        """The outcomes that count for some arms."""
        versions = tuple(stretch.first_version for stretch in self.stretches)
        times = tuple(self.stretches[end].began_at if end < len(self.stretches) else None for end in ends.by_stretch)
        return Scope(self.experiment_id, self.as_of, self.segment, self.until, versions, ends.by_stretch, times)
