"""Drafts: what somebody typed about an experiment, kept step by step, also where it is wrong or not complete yet.

A draft makes a new experiment, or a change of one. Each save names the version that it began from, so that two people
who edit the same draft never overwrite each other unseen.
"""

from typing import Any, NamedTuple

from sqlalchemy import Engine

from app.store import drafts as store
from app.store.engine import transaction


class Unfinished(NamedTuple):
    """A draft in a list."""

    id: int
    title: str
    experiment: str | None  # key of the experiment that it changes
    updated_by: str
    updated_at: Any


def unfinished(engine: Engine) -> list[Unfinished]:
    """Every draft, the last saved first."""
    with transaction(engine) as connection:
        return [Unfinished(*row) for row in store.newest(connection)]
