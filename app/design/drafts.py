"""Drafts: what somebody typed about an experiment, kept step by step, also where it is wrong or not complete yet.

A draft makes a new experiment, or a change of one. Each save names the version that it began from, so that two people
who edit the same draft never overwrite each other unseen.
"""

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine

from app.design import experiments
from app.design.store import drafts as store
from app.design.store.drafts import StoredDraft
from app.foundation.errors import FieldError, NotFound, check_version
from app.foundation.fields import JsonObject, invalid
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment

MAX_BYTES = 8_000_000  # of everything typed; twice what a definition of 1,000 large actions needs


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


def create(engine: Engine, typed: JsonObject, actor: str) -> int:
    """A draft of a new experiment; returns its id."""
    with transaction(engine) as connection:
        return store.add(connection, typed, actor, None, None)


def create_change(engine: Engine, key: str, base_version: int, typed: JsonObject, actor: str) -> int:
    """A draft of a change of an experiment; returns its id. One of the actor's own that nothing was typed into serves again.

    :param base_version: the configuration that ``typed`` was filled from.
    :raises NotFound: no such experiment.
    :raises Conflict: it is concluded.
    """
    with transaction(engine) as connection:
        found = stored_experiment(connection, key)
        if found.status == "concluded":
            raise experiments.concluded()
        known = store.untouched(connection, actor, found.id, base_version)
        return known or store.add(connection, typed, actor, found.id, base_version)


def get(engine: Engine, draft_id: int) -> StoredDraft:
    """One draft.

    :raises NotFound: it was discarded, or made into an experiment.
    """
    with transaction(engine) as connection:
        return _known(connection, draft_id)


def save(engine: Engine, draft_id: int, version: int, step: str, typed: JsonObject, actor: str) -> StoredDraft:
    """Keep what was typed in one step.

    :param version: the one that the typing began from.
    :param typed: the fields of the step, as texts in the shape of a definition; the others stay.
    :raises Conflict: somebody saved meanwhile; nothing is stored.
    :raises Unprocessable: all of it together is too long.
    """
    with transaction(engine) as connection:
        draft = _unchanged(connection, draft_id, version)
        saved = dict.fromkeys([*draft.typed.get("saved", []), step])
        everything = {"saved": [*saved], "document": draft.typed.get("document", {}) | typed}
        if len(orjson.dumps(everything)) > MAX_BYTES:
            raise invalid((FieldError("", "draft_too_large", {"megabytes": MAX_BYTES // 10**6}),))
        store.save(connection, draft_id, everything, version + 1, actor)
        return _known(connection, draft_id)


def discard(engine: Engine, draft_id: int, version: int) -> None:
    """Forget a draft.

    :raises Conflict: somebody saved meanwhile, and may want to keep it.
    """
    with transaction(engine) as connection:
        _unchanged(connection, draft_id, version)
        store.remove(connection, draft_id)


def publish(
    engine: Engine, settings: Settings, draft_id: int, version: int, document: JsonObject, actor: str
) -> StoredExperiment:
    """Make the draft's experiment, or its change of one, and forget the draft: both or neither.

    :param document: the configuration that was typed.
    :raises Unprocessable: naming every wrong field.
    :raises Conflict: somebody saved the draft or changed the experiment meanwhile, or the change is not possible.
    """
    with transaction(engine) as connection:
        draft = _unchanged(connection, draft_id, version)
        if draft.experiment is None:
            made = experiments.create_in(connection, settings, document, actor)
        else:
            made = experiments.change_in(
                connection, settings, draft.experiment, document, actor, expected_version=draft.base_version
            )
        store.remove(connection, draft_id)
        return made


def rebase(engine: Engine, draft_id: int, version: int, base_version: int, actor: str) -> None:
    """Say that a change was looked at beside a newer configuration of its experiment, and stays as it was typed.

    :raises Conflict: somebody saved meanwhile.
    """
    with transaction(engine) as connection:
        draft = _unchanged(connection, draft_id, version)
        store.save(connection, draft_id, draft.typed, version + 1, actor)
        store.rebase(connection, draft_id, base_version)


def _known(connection: Connection, draft_id: int, *, lock: bool = False) -> StoredDraft:
    found = store.find(connection, draft_id, lock=lock)
    if found is None:
        message = "There is no such draft any more: somebody discarded it, or made it into an experiment."
        raise NotFound("unknown_draft", message)
    return found


def _unchanged(connection: Connection, draft_id: int, version: int) -> StoredDraft:
    draft = _known(connection, draft_id, lock=True)
    check_version("draft_changed", draft.version, version, saved_by=draft.updated_by)
    return draft
