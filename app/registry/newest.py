"""The newest report of an experiment, with its age: the worker stores it, and of a small log a request may compute the first."""

from collections.abc import Callable
from typing import Final, Protocol, TypedDict, TypeVar

from sqlalchemy import Connection, Engine

from app.foundation.store.engine import transaction
from app.foundation.store.latest import Latest
from app.foundation.times import iso
from app.registry.lookup import stored_experiment

SMALL: Final = 5_000  # decisions that a request can read while somebody waits


class Report(Protocol):
    """What is served of a report."""

    @property
    def computed_at(self) -> str | None:
        """When it was computed; null: the worker has not computed one yet."""


class Age(TypedDict):
    """When a report was computed, how old it is, and how long that took; null: there is none."""

    computed_at: str | None
    age_s: float | None
    seconds: float | None


R = TypeVar("R", bound=Report)


def age_of(newest: Latest | None) -> Age:
    """The age of a stored report, as every report answers it."""
    if newest is None:
        return {"computed_at": None, "age_s": None, "seconds": None}
    return {"computed_at": iso(newest.computed_at), "age_s": round(newest.age_s, 1), "seconds": newest.seconds}


def or_computed(
    engine: Engine,
    key: str,
    stored: Callable[[], R],
    compute: Callable[[], object],
    is_small: Callable[[Connection, int, int], bool],
) -> R:
    """The stored report; without one, computes it now if the log is small.

    :param is_small: given an experiment's id and ``SMALL``, whether its log has at most so many decisions.
    :returns: a report without figures (``computed_at`` null) while the worker has not computed a long log yet.
    :raises NotFound: no such experiment.
    """
    report = stored()
    if report.computed_at is not None:
        return report
    with transaction(engine) as connection:
        small = is_small(connection, stored_experiment(connection, key).id, SMALL)
    if not small:
        return report
    compute()
    return stored()
