"""Drafts: what somebody typed about an experiment, kept step by step, even if it is wrong or incomplete.

A draft makes a new experiment, or a change of one. Each save names the version that it began from, so that two people
who edit the same draft never overwrite each other unnoticed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine

from app.design import experiments
from app.design.life import approvals
from app.design.store import drafts as store
from app.design.store.drafts import StoredDraft
from app.foundation.errors import FieldError, NotFound, check_version
from app.foundation.fields import JsonObject, invalid
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment

MAX_BYTES = 8_000_000  # of everything typed; twice what a definition of 1,000 large actions needs


class Unfinished(NamedTuple):
    """A draft in a list."""

    id: int
    title: str
    experiment: str | None  # key of the experiment that it changes
    version: int
    updated_by: str
    updated_at: Any


def unfinished(engine: Engine) -> list[Unfinished]:
    """Every draft into which somebody typed something, the last saved first."""
    with transaction(engine) as connection:
        return [Unfinished(*row) for row in store.newest(connection)]


def create(engine: Engine, typed: JsonObject, actor: str) -> int:
    """A draft of a new experiment; returns its id. Without texts, an untouched draft of the same actor is reused."""
    with transaction(engine) as connection:
        untouched = None if typed else store.untouched(connection, actor, None, None)
        return untouched or store.add(connection, typed, actor, None, None)


def create_change(engine: Engine, key: str, base_version: int, typed: JsonObject, actor: str) -> int:
    """A draft of a change of an experiment; returns its id. An untouched draft of the same actor is reused.

    :param base_version: the configuration that ``typed`` was filled from.
    :raises NotFound: no such experiment.
    :raises Conflict: it is concluded.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        if experiment.status == "concluded":
            raise experiments.concluded()
        untouched = store.untouched(connection, actor, experiment.id, base_version)
        return untouched or store.add(connection, typed, actor, experiment.id, base_version)


def get(engine: Engine, draft_id: int) -> StoredDraft:
    """One draft.

    :raises NotFound: it was discarded, or made into an experiment.
    """
    with transaction(engine) as connection:
        return _known(connection, draft_id)


def save(
    engine: Engine, draft_id: int, version: int, steps: Sequence[str], typed: JsonObject, actor: str
) -> StoredDraft:
    """Keep what was typed in one step, or what several begin with.

    :param version: the version that the person began from.
    :param typed: the fields of the steps, as texts in the shape of a definition; the others stay.
    :raises Conflict: somebody saved in the meantime; nothing is stored.
    :raises Unprocessable: the whole draft is too long.
    """
    with transaction(engine) as connection:
        draft = _unchanged(connection, draft_id, version)
        saved = dict.fromkeys([*draft.typed.get("saved", []), *steps])
        everything = {"saved": [*saved], "document": draft.typed.get("document", {}) | typed}
        if len(orjson.dumps(everything)) > MAX_BYTES:
            raise invalid((FieldError("", "draft_too_large", {"megabytes": MAX_BYTES // 10**6}),))
        store.save(connection, draft_id, everything, version + 1, actor)
        return _known(connection, draft_id)


def discard(engine: Engine, draft_id: int, version: int) -> None:
    """Forget a draft.

    :raises Conflict: somebody saved in the meantime, and may want to keep it.
    """
    with transaction(engine) as connection:
        _unchanged(connection, draft_id, version)
        store.remove(connection, draft_id)


def publish(
    engine: Engine, settings: Settings, draft_id: int, version: int, document: JsonObject, actor: str
) -> StoredExperiment:
    """Create the draft's experiment, or apply its change, and delete the draft, in one transaction.

    :param document: the configuration that was typed.
    :raises Unprocessable: it names every wrong field.
    :raises Conflict: somebody saved the draft or changed the experiment in the meantime, or the change is not possible.
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


def ask_to_publish(engine: Engine, draft_id: int, version: int, document: JsonObject, actor: str) -> StoredExperiment:
    """Ask a second person for the draft's change, and delete the draft, in one transaction.

    :param document: the configuration that was typed.
    :raises Unprocessable: it names every wrong field.
    :raises Conflict: somebody saved the draft or changed the experiment in the meantime, or the change is not possible.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)
        draft = _unchanged(connection, draft_id, version)
        before = stored_experiment(connection, str(draft.experiment), lock=True)
        check_version("experiment_changed", before.config_version, draft.base_version)
        approvals.check_change(before, document)
        approvals.ask_in(connection, before, "change", document, actor)
        store.remove(connection, draft_id)
        return before


def rebase(engine: Engine, draft_id: int, version: int, base_version: int, actor: str) -> None:
    """Let a change begin from a newer configuration of its experiment, after somebody compared the two; its texts stay.

    :raises Conflict: somebody saved in the meantime.
    """
    with transaction(engine) as connection:
        draft = _unchanged(connection, draft_id, version)
        store.save(connection, draft_id, draft.typed, version + 1, actor)
        store.rebase(connection, draft_id, base_version)


def _known(connection: Connection, draft_id: int, *, lock: bool = False) -> StoredDraft:
    draft = store.find(connection, draft_id, lock=lock)
    if draft is None:
        message = "There is no such draft any more: somebody discarded it, or made it into an experiment."
        raise NotFound("unknown_draft", message)
    return draft


def _unchanged(connection: Connection, draft_id: int, version: int) -> StoredDraft:
    draft = _known(connection, draft_id, lock=True)
    check_version("draft_changed", draft.version, version, saved_by=draft.updated_by)
    return draft
