"""Incidents: opened by a watch, acted on by an arm's rule, closed when the arm earns again what it earned, or by a person."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, cast

from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design import interventions
from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.fallbacks import rule_of
from app.foundation.errors import Conflict, NotFound
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian.documents import Action, Incident, Kind, WatchSummary
from app.guardian.store import incidents as store
from app.guardian.store.incidents import NewIncident, StoredIncident
from app.learning.store import challenges, rebuilds
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from bandits.policy import BanditPolicy, parse_policy

ACTOR = "guardian"
RESTORE_AT = 1000.0  # evidence that the learned policy is better than the fallback, at which it decides again
RECOVERED = 0.9  # share of the former value at which a fall is over
MOST = 200  # newest incidents that are listed
WORDS = {
    "value_fell": "{arm} earned {after} per decision since {began}, {before} before.",
    "rewards_lost": "Rewards of {arm} stopped arriving: {after} of its decisions since {began} have one, {before} before. "
    "Is the app still reporting them?",
    "behind_fallback": "{arm} earned {gap} less per decision than its fallback since {began}.",
    "guardrail": "{text}",
    "anomaly": "{why}",
    "context_drift": "{why}",
    "rewards_doubled": "Decisions of {arm} have more reward events than before since {began}. Does the app report them twice?",
    "stale_model": "{why}",
    "client_rewards_lost": "{why}",
    "rewards_late": "{why}",
}


class Alarm(NamedTuple):
    """What a watch noticed."""

    kind: (
        str  # value_fell, rewards_lost, behind_fallback; restored: the learned policy is better than the fallback again
    )
    arm: str
    began_at: datetime
    strength: float
    before: float | None
    after: float
    worth: float | None  # of the fallback


def settle(
    connection: Connection,
    experiment: StoredExperiment,
    config: ExperimentConfig,
    alarms: Sequence[Alarm],
    values: Mapping[tuple[str, str], float],
) -> None:
    """Close the incidents that are over, open one for each alarm, and do what the arms' rules say.

    :param values: by arm and stream, the newest means, where they are known.
    """
    for incident in store.still_open(connection, experiment.id):
        stream = "rewarded" if incident.kind == "rewards_lost" else "value"
        if incident.kind in ("value_fell", "rewards_lost") and recovered(incident, values.get((incident.arm, stream))):
            store.act(connection, incident.id, "recovered", ACTOR)
            store.close(connection, incident.id)
    for alarm in alarms:
        if alarm.kind != "restored":
            _open(connection, experiment, config, alarm)
        elif _fell_back(connection, experiment.id, alarm.arm):  # what a person decided, a person takes back
            restore_in(connection, experiment, alarm.arm, ACTOR, "It is better than its fallback again.")


def _fell_back(connection: Connection, experiment_id: int, arm: str) -> bool:
    """True when this module let an arm's fallback decide."""
    still_open = store.still_open(connection, experiment_id)
    return any((incident.arm, incident.kind) == (arm, "behind_fallback") for incident in still_open)


def recovered(incident: StoredIncident, value: float | None) -> bool:
    """Whether a fall is over: the newest mean is near what it was before; None: it is not known."""
    before = incident.evidence.get("before")
    if value is None or not isinstance(before, int | float):
        return False
    return value >= before - (1 - RECOVERED) * abs(before)


def _open(connection: Connection, experiment: StoredExperiment, config: ExperimentConfig, alarm: Alarm) -> None:
    for incident in store.still_open(connection, experiment.id):
        if (incident.arm, incident.kind) == (alarm.arm, alarm.kind):
            return  # it is known already
    evidence: dict[str, JsonValue] = {
        "strength": alarm.strength,
        "before": alarm.before,
        "after": alarm.after,
        "worth": alarm.worth,
    }
    opened = NewIncident(experiment.id, alarm.arm, alarm.kind, alarm.began_at, evidence)
    incident_id = store.add(connection, opened)
    arm = next(arm for arm in config.arms if arm.key == alarm.arm)
    if (
        not rule_of(arm).act or arm.apprentice
    ):  # an apprentice shows what the app would show: that is for people to look at
        store.act(connection, incident_id, "told", ACTOR)
    elif alarm.kind == "value_fell" and _relearns(connection, experiment.id, arm, alarm.began_at):
        store.act(connection, incident_id, "relearn", ACTOR)
    elif alarm.kind == "behind_fallback":
        reason = WORDS[alarm.kind].format(**_words(alarm.arm, alarm.began_at, evidence))
        interventions.set_fallen_back(connection, experiment.key, alarm.arm, True, actor=ACTOR, reason=reason)
        store.act(connection, incident_id, "fell_back", ACTOR)
    else:
        store.act(connection, incident_id, "told", ACTOR)


def _relearns(connection: Connection, experiment_id: int, arm: ArmSpec, began_at: datetime) -> bool:
    """Ask for the model to be learned again from the change on; False: the arm does not learn.

    A policy with rebuilds finds the change in its log by itself. For any other, a challenger learns what came since then, and
    serves once it is shown to be better.
    """
    policy = parse_policy(arm.policy)
    if isinstance(policy, BanditPolicy) and policy.rebuilds:
        return rebuilds.ask(connection, experiment_id, arm.key)
    return challenges.ask(connection, experiment_id, arm.key, began_at)


def restore_in(
    connection: Connection, experiment: StoredExperiment, arm: str, actor: str, reason: str
) -> StoredExperiment:
    """Let the learned policy of an arm decide again, and close the incidents that it fell back for."""
    for incident in store.still_open(connection, experiment.id):
        if (incident.arm, incident.kind) == (arm, "behind_fallback"):
            store.act(connection, incident.id, "restored", actor)
            store.close(connection, incident.id)
    return interventions.set_fallen_back(connection, experiment.key, arm, False, actor=actor, reason=reason)


def restore(engine: Engine, key: str, arm: str, reason: str, actor: str) -> StoredExperiment:
    """Let the learned policy of an arm decide again: the way back of a fallback.

    :raises NotFound: no such experiment or arm.
    :raises Conflict: the arm's fallback does not decide.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        return restore_in(connection, experiment, arm, actor, reason)


def fall_back(engine: Engine, key: str, arm: str, reason: str, actor: str) -> StoredExperiment:
    """Let an arm's fallback decide, because a person says so.

    :raises NotFound: no such experiment or arm.
    :raises Conflict: it decides already, or the arm has no fallback.
    """
    with transaction(engine) as connection:
        return interventions.set_fallen_back(connection, key, arm, True, actor=actor, reason=reason)


def close(engine: Engine, key: str, incident_id: int, actor: str) -> Incident:
    """End an incident, because a person has seen to it.

    :raises NotFound: no such experiment or incident.
    :raises Conflict: its arm's fallback still decides.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key, lock=True)
        incident = store.find(connection, experiment.id, incident_id)
        if incident is None:
            raise NotFound("unknown_incident", f"Experiment {key!r} has no incident {incident_id}.")
        arms = {arm.key: arm for arm in ExperimentConfig.model_validate(experiment.config).arms}
        if incident.kind == "behind_fallback" and arms[incident.arm].fallen_back:
            raise Conflict(
                "fallback_decides", f"The fallback of arm {incident.arm!r} decides. Let the arm decide first."
            )
        if incident.closed_at is None:  # what was done stays done
            store.act(connection, incident.id, "closed", actor)
            store.close(connection, incident.id)
        closed = store.find(connection, experiment.id, incident_id)
        assert closed is not None
        return described(closed, key)


def listed(engine: Engine, key: str) -> list[Incident]:
    """The newest incidents of an experiment, newest first.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        return [described(incident, key) for incident in store.newest(connection, experiment.id, MOST)]


def summary(connection: Connection, experiment: StoredExperiment) -> WatchSummary:
    """What lists of experiments show of the open incidents."""
    still_open = [described(incident, experiment.key) for incident in store.still_open(connection, experiment.id)]
    return WatchSummary(open=len(still_open), text=still_open[0].text if still_open else "")


def described(incident: StoredIncident, key: str) -> Incident:
    """An incident in words."""
    evidence = incident.evidence
    return Incident(
        id=incident.id,
        experiment=key,
        arm=incident.arm,
        kind=cast(Kind, incident.kind),
        began_at=iso(incident.began_at),
        opened_at=iso(incident.opened_at),
        closed_at=None if incident.closed_at is None else iso(incident.closed_at),
        before=_number(evidence.get("before")),
        after=_number(evidence.get("after")),
        strength=_number(evidence.get("strength")) or 0.0,
        actions=[Action.model_validate(action) for action in incident.actions],
        text=WORDS[incident.kind].format(**_words(incident.arm, incident.began_at, evidence)),
        can_undo=undoable(incident),
    )


def undoable(incident: StoredIncident) -> bool:
    """True when something was done about a crossed guardrail that still holds."""
    codes = {str(action["code"]) for action in incident.actions}
    acted = bool(codes & {"paused", "stopped_arm", "fell_back"})
    return incident.kind == "guardrail" and acted and "undone" not in codes


def _words(arm: str, began_at: datetime, evidence: Mapping[str, object]) -> dict[str, str]:
    after = _number(evidence.get("after"))
    return {
        "arm": arm,
        "text": str(evidence.get("text", "")),
        "began": began_at.strftime("%Y-%m-%d %H:%M UTC"),
        "before": _written(_number(evidence.get("before"))),
        "after": _written(after),
        "gap": _written(None if after is None else -after),
        "why": str(evidence.get("why", "")),
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _written(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"
