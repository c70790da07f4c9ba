"""What is done when a guardrail is crossed, by the rule that the metric names, and the way back.

A guardrail is crossed when the always-valid interval of an arm's difference holds only values beyond its margin. By default the
arm's fallback decides, if it has one: that is undone in one click, and goes on measuring. A pause, or the end of an arm, must be
chosen. What a person undid or closed is not done again while the guardrail stays crossed.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design import experiments, interventions
from app.design.experiment_config import ExperimentConfig
from app.design.fallbacks import trusted_policy
from app.foundation.errors import Conflict, NotFound
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.guardian import incidents
from app.guardian.documents import Incident
from app.guardian.store import incidents as store
from app.guardian.store.incidents import NewIncident, StoredIncident
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment

KIND = "guardrail"
ACTIONS = {"pause": "paused", "stop_arm": "stopped_arm", "fall_back": "fell_back", "tell": "told"}  # by a metric's rule
Did = Literal["paused", "stopped_arm", "fell_back", "told"]


class Crossing(NamedTuple):
    """An arm that is worse than the control on a guardrail, at every look together."""

    arm: str
    metric: str  # key
    text: str


def settle(engine: Engine, key: str, crossings: Sequence[Crossing], *, believable: bool = True) -> None:
    """Open an incident for each new crossing and do what its metric says; close those that are over.

    :param believable: False: the arms' units do not match their shares, so crossings are only told.
    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        before = _newest(connection, stored_experiment(connection, key).id)
    crossed = {(crossing.arm, crossing.metric): crossing for crossing in crossings}
    if not any(_is_news(before.get(place), place in crossed) for place in {*before, *crossed}):
        return
    with transaction(engine) as connection:
        platform.next_revision(
            connection
        )  # as every change of a configuration does first, so that none waits for another
        experiment = stored_experiment(connection, key, lock=True)
        newest = _newest(connection, experiment.id)
        for place in {*newest, *crossed}:
            incident, crossing = newest.get(place), crossed.get(place)
            if not _is_news(incident, crossing is not None):
                continue
            if incident is not None and incident.closed_at is None:
                _note(connection, incident, crossing is not None)
            elif crossing is not None:
                _open(connection, key, crossing, believable)
            elif incident is not None:
                store.add_evidence(connection, incident.id, {"over": True})


def undo(engine: Engine, key: str, incident_id: int, actor: str) -> Incident:
    """Take back what was done about a crossed guardrail. The incident stays open as long as it is crossed.

    :raises NotFound: no such experiment or incident.
    :raises Conflict: nothing was done, or it was undone.
    """
    with transaction(engine) as connection:
        platform.next_revision(connection)
        experiment = stored_experiment(connection, key, lock=True)
        incident = store.find(connection, experiment.id, incident_id)
        if incident is None:
            raise NotFound("unknown_incident", f"Experiment {key!r} has no incident {incident_id}.")
        if not incidents.undoable(incident):
            raise Conflict("nothing_to_undo", f"Nothing that was done about incident {incident_id} can be undone.")
        _undo(connection, experiment, incident, actor)
        store.act(connection, incident.id, "undone", actor)
        after = store.find(connection, experiment.id, incident_id)
        assert after is not None
        return incidents.described(after, key)


def _undo(connection: Connection, experiment: StoredExperiment, incident: StoredIncident, actor: str) -> None:
    codes = {str(action["code"]) for action in incident.actions}
    reason = f"What was done about incident {incident.id} is undone."
    config = ExperimentConfig.model_validate(experiment.config)
    if "paused" in codes and experiment.status == "paused":
        experiments.move_in(connection, experiment.key, "start", actor, reason)
    if "stopped_arm" in codes:
        shares = cast(dict[str, float], incident.evidence.get("shares") or {})
        interventions.resume_arms(connection, experiment.key, shares, actor=actor, reason=reason)
    if "fell_back" in codes and any(arm.key == incident.arm and arm.fallen_back for arm in config.arms):
        interventions.set_fallen_back(connection, experiment.key, incident.arm, False, actor=actor, reason=reason)


def _newest(connection: Connection, experiment_id: int) -> dict[tuple[str, str], StoredIncident]:
    """The newest incident of each arm and guardrail."""
    rows = store.of_kind(connection, experiment_id, KIND)
    return {(row.arm, str(row.evidence.get("metric"))): row for row in reversed(rows)}


def _is_news(newest: StoredIncident | None, crossed: bool) -> bool:
    """Whether something is to be written: it is crossed for the first time or again, or is over."""
    if newest is None:
        return crossed
    over = newest.evidence.get("over") is True
    ends = newest.closed_at is None and not crossed and not incidents.undoable(newest)
    return over is crossed or ends


def _note(connection: Connection, incident: StoredIncident, crossed: bool) -> None:
    """Keep whether an open incident's guardrail is crossed; one that is not, and about which nothing holds, is over."""
    store.add_evidence(connection, incident.id, {"over": not crossed})
    # What still holds was done for a reason: without the arm's data nothing shows that it is over.
    if not crossed and not incidents.undoable(incident):
        store.act(connection, incident.id, "recovered", incidents.ACTOR)
        store.close(connection, incident.id)


def _open(connection: Connection, key: str, crossing: Crossing, believable: bool) -> None:
    experiment = stored_experiment(connection, key, lock=True)
    config = ExperimentConfig.model_validate(experiment.config)
    metric = next(metric for metric in config.all_metrics() if metric.key == crossing.metric)
    evidence: dict[str, JsonValue] = {"metric": crossing.metric, "text": crossing.text}
    incident = NewIncident(experiment.id, crossing.arm, KIND, platform.now(connection), evidence)
    incident_id = store.add(connection, incident)
    did = _what_to_do(experiment, config, crossing.arm, metric.on_crossed) if believable else "told"
    if did == "paused":
        experiments.move_in(connection, key, "pause", incidents.ACTOR, crossing.text)
    elif did == "fell_back":
        interventions.set_fallen_back(connection, key, crossing.arm, True, actor=incidents.ACTOR, reason=crossing.text)
    elif did == "stopped_arm":
        stopped = interventions.stop_arm(connection, key, crossing.arm, actor=incidents.ACTOR, reason=crossing.text)
        store.add_evidence(connection, incident_id, {"shares": {**stopped}})
    store.act(connection, incident_id, did, incidents.ACTOR)


def _what_to_do(experiment: StoredExperiment, config: ExperimentConfig, arm: str, rule: str) -> Did:
    """The rule's action; only telling where it is done already, or there is nothing to do it to."""
    spec = next(each for each in config.arms if each.key == arm)
    possible = {
        "paused": experiment.status == "running",
        "stopped_arm": spec.share > 0 and config.control.key != arm,
        "fell_back": trusted_policy(config, spec) is not None and not spec.fallen_back,
    }
    did = ACTIONS[rule]
    return cast(Did, did) if experiment.status == "running" and possible.get(did, True) else "told"
