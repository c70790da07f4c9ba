"""Opens and closes the incidents that no arm's rule acts on: somebody stands out, a field changed, a model is stale."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import JsonValue
from sqlalchemy import Connection

from app.accounts.store import keys
from app.foundation.store import platform
from app.guardian.incidents import ACTOR, recovered
from app.guardian.pipeline import Trouble
from app.guardian.store import incidents as store
from app.guardian.store.incidents import NewIncident
from app.registry.store.experiments import StoredExperiment

PIPELINE = {
    "client_rewards_lost": "Rewards for the decisions of the API key {key} stopped arriving: {after:.0%} of its decisions since "
    "{began} have one, {before:.0%} before. Is that app still reporting them?",
    "rewards_late": "Rewards come later than before since {began}: {after:.0%} of the reward window is left when the first one "
    "of a decision arrives, {before:.0%} before. What comes after the window is not counted.",
}


class Anomaly(NamedTuple):
    """Somebody who stands out."""

    arm: str  # of the unit; "": all arms
    suspect: int
    why: str  # in words, without the unit's id
    strength: float
    held: bool  # whether its decisions are held out of learning


class Drift(NamedTuple):
    """A field of the context that changed."""

    field: str
    began_at: datetime
    strength: float
    before: float  # share of usual decisions
    after: float
    what: str  # in a sentence


def open_anomaly(connection: Connection, experiment: StoredExperiment, anomaly: Anomaly) -> None:
    """Open an incident for somebody who stands out."""
    evidence: dict[str, JsonValue] = {
        "strength": anomaly.strength,
        "suspect": anomaly.suspect,
        "why": anomaly.why,
    }
    now: datetime = platform.now(connection)
    incident_id = store.add(connection, NewIncident(experiment.id, anomaly.arm, "anomaly", now, evidence))
    store.act(connection, incident_id, "held" if anomaly.held else "told", ACTOR)


def open_drift(connection: Connection, experiment: StoredExperiment, drift: Drift) -> None:
    """Open an incident for a field of the context that changed."""
    began = drift.began_at.strftime("%Y-%m-%d %H:%M UTC")
    why = (
        f"The context field {drift.field} is not what it was since {began}: {drift.after:.0%} of the decisions are as usual, "
        f"{drift.before:.0%} before. {drift.what}"
    )
    evidence: dict[str, JsonValue] = {
        "strength": drift.strength,
        "before": drift.before,
        "after": drift.after,
        "why": why,
    }
    opened = NewIncident(experiment.id, "", "context_drift", drift.began_at, evidence)
    store.act(connection, store.add(connection, opened), "told", ACTOR)


def settle_pipeline(
    connection: Connection,
    experiment: StoredExperiment,
    troubles: Sequence[Trouble],
    newest: Mapping[tuple[str, str], float],
) -> None:
    """Open an incident for each trouble with rewards, and close those that are over.

    :param newest: by kind and client, the newest means, where they are known.
    """
    known = [row for row in store.still_open(connection, experiment.id) if row.kind in PIPELINE]
    for incident in known:
        if recovered(incident, newest.get((incident.kind, str(incident.evidence["key_id"])))):
            store.act(connection, incident.id, "recovered", ACTOR)
            store.close(connection, incident.id)
    open_now = {(row.kind, row.evidence["key_id"]) for row in known}
    for trouble in troubles:
        if (trouble.kind, trouble.key_id) not in open_now:
            key = keys.find(connection, trouble.key_id)
            began = trouble.began_at.strftime("%Y-%m-%d %H:%M UTC")
            words = {"key": (key.name if key else "") or trouble.key_id, "began": began}
            why = PIPELINE[trouble.kind].format(before=trouble.before, after=trouble.after, **words)
            evidence: dict[str, JsonValue] = {
                "strength": trouble.strength,
                "before": trouble.before,
                "after": trouble.after,
                "key_id": trouble.key_id,
                "why": why,
            }
            opened = NewIncident(experiment.id, "", trouble.kind, trouble.began_at, evidence)
            store.act(connection, store.add(connection, opened), "told", ACTOR)


def settle_stale(connection: Connection, experiment: StoredExperiment, stale: Mapping[str, str]) -> None:
    """Open an incident for each arm whose model is stale, and close those of models that are not any more.

    :param stale: by arm, why.
    """
    known = {row.arm: row for row in store.still_open(connection, experiment.id) if row.kind == "stale_model"}
    for arm, incident in known.items():
        if arm not in stale:
            store.act(connection, incident.id, "recovered", ACTOR)
            store.close(connection, incident.id)
    for arm, why in stale.items():
        if arm not in known:
            now: datetime = platform.now(connection)
            opened = NewIncident(experiment.id, arm, "stale_model", now, {"why": why})
            store.act(connection, store.add(connection, opened), "told", ACTOR)


def close_of_suspects(
    connection: Connection, experiment_id: int, suspects: Sequence[int], code: str, actor: str
) -> None:
    """End the incidents of suspects about whom a person decided.

    :param code: released, or excluded.
    """
    for incident in store.still_open(connection, experiment_id):
        if incident.kind == "anomaly" and incident.evidence.get("suspect") in suspects:
            store.act(connection, incident.id, code, actor)
            store.close(connection, incident.id)
