"""What decisions log of the windows of targets on exposure, and what the worker has counted in them."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from sqlalchemy import Connection, text

from app.foundation.fields import JsonObject

KIND = "targets"  # of the document in `latest`


class LoggedCounts(TypedDict):
    """The counts of an arm's window, as a decision saw them; see `bandits.exposure.Counts`."""

    decisions: int
    groups: list[int]  # in the order in which the groups occur among the eligible actions
    eligible: list[int]  # decisions that could draw them
    lag: float
    age_s: float  # how old they were


Counted = dict[str, LoggedCounts]  # by arm


class CountsRow(NamedTuple):
    """The newest counts of one experiment."""

    experiment_id: int
    body: JsonObject  # by arm, see `app.deciding.windows.targets.ArmCounts`
    age_s: float  # by the database's clock


_COUNTS = text(
    """
    SELECT experiment_id, body, greatest(0, extract(epoch FROM clock_timestamp() - computed_at))::float8 AS age_s
    FROM latest WHERE kind = :kind AND experiment_id = ANY(:ids) AND body IS NOT NULL
    """
)


def newest(connection: Connection, experiment_ids: Sequence[int]) -> list[CountsRow]:
    """Return the newest counts of these experiments."""
    rows = connection.execute(_COUNTS, {"kind": KIND, "ids": list(experiment_ids)})
    return [CountsRow._make(row) for row in rows]
