"""Tags and owners of experiments, which change no decision, and each person's stars."""

from pydantic import Field
from sqlalchemy import Engine

from app.accounts.store import users
from app.design.store import stars
from app.foundation.errors import FieldError
from app.foundation.fields import Key, Model, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store import experiments as store
from app.registry.store.experiments import StoredExperiment

MOST_TAGS = 10


class Labels(Model):
    """What is given replaces what was; what is left out stays."""

    tags: list[Key] | None = Field(default=None, max_length=MOST_TAGS)
    owner: str | None = Field(default=None, max_length=100, description="The name of a user.")


def label(engine: Engine, key: str, given: Labels, actor: str) -> StoredExperiment:
    """Replace the tags or the owner of an experiment, whatever its status.

    :raises NotFound: no such experiment.
    :raises Unprocessable: the new owner is not a user.
    """
    with transaction(engine) as connection:
        before = stored_experiment(connection, key, lock=True)
        tags = before.tags if given.tags is None else sorted(set(given.tags))
        owner = before.owner if given.owner is None else given.owner.strip().lower()
        if owner != before.owner and users.find(connection, owner) is None:
            raise invalid((FieldError("/owner", "owner_unknown"),))
        if (tags, owner) != (before.tags, before.owner):
            store.set_labels(connection, before.id, tags, owner)
            was, after = {"tags": before.tags, "owner": before.owner}, {"tags": tags, "owner": owner}
            platform.record_change(
                connection, actor=actor, kind="experiment_labelled", experiment_id=before.id, before=was, after=after
            )
        return stored_experiment(connection, key)


def star(engine: Engine, user_id: int, key: str, starred: bool) -> None:
    """Let a person's home page show an experiment first, or not any more.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        stars.put(connection, user_id, stored_experiment(connection, key).id, starred)


def starred(engine: Engine, user_id: int) -> frozenset[str]:
    """The keys of the experiments that a person has starred."""
    with transaction(engine) as connection:
        return stars.keys(connection, user_id)
