"""Each person's named filters of the list of experiments: words, status, tag, owner and order."""

from typing import NamedTuple

from pydantic import Field
from sqlalchemy import Engine

from app.design.store import saved_filters as store
from app.foundation.errors import FieldError
from app.foundation.fields import Model, invalid
from app.foundation.store.engine import transaction

MOST = 30  # filters of a person


class Filter(Model):
    """What a list of experiments shows; an empty text does not restrict it."""

    search: str = Field(default="", max_length=200)
    status: str = Field(default="", max_length=20)
    tag: str = Field(default="", max_length=100)
    owner: str = Field(default="", max_length=100)
    sort: str = Field(default="", max_length=20)


class NamedFilter(Model):
    """A filter with the name that a person gave it."""

    name: str = Field(min_length=1, max_length=60)
    filter: Filter


class Choices(NamedTuple):
    """What experiments can be filtered by, and the filters that a person has saved."""

    tags: list[str]
    owners: list[str]
    saved: list[NamedFilter]


def save(engine: Engine, user_id: int, named: NamedFilter) -> None:
    """Save a filter; one of the same name is replaced.

    :raises Unprocessable: the person has as many filters as anybody may have.
    """
    with transaction(engine) as connection:
        names = {stored.name for stored in store.of_user(connection, user_id)}
        if named.name not in names and len(names) >= MOST:
            raise invalid((FieldError("/name", "too_many_filters", {"limit": MOST}),))
        store.put(connection, user_id, named.name, named.filter.model_dump(mode="json"))


def remove(engine: Engine, user_id: int, name: str) -> None:
    """Forget a filter; without one of that name, nothing happens."""
    with transaction(engine) as connection:
        store.remove(connection, user_id, name)


def choices(engine: Engine, user_id: int) -> Choices:
    """What a person can filter by."""
    with transaction(engine) as connection:
        saved = [
            NamedFilter(name=stored.name, filter=Filter.model_validate(stored.filter))
            for stored in store.of_user(connection, user_id)
        ]
        return Choices(store.tags(connection), store.owners(connection), saved)
