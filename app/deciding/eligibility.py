"""Find the actions that a unit may get now, and log the reason why it may not get the others.

Consent, mutes, quiet hours, the minimum distance and caps are checked before the draw. A unit's state is read under the
unit's lock and updated within a commit, so that simultaneous decisions see each other. Rules about messages never exclude
an action that sends no message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import JsonValue

from app.content.reasons import Reason
from app.deciding.requests import DecideRequest
from app.deciding.snapshot import Candidates, Experiment
from app.deciding.store.decisions import LoggedReason
from app.deciding.store.units import Contact, Past, Question, UnitRow
from app.design.people_config import PURPOSES, REPEATS_LOOKBACK, CapSpec, ConsentSpec, FatigueSpec, QuietHours


@dataclass(frozen=True)
class UnitState:
    """The state of one unit at the moment of a decision."""

    now: float  # Unix time, in seconds
    consent: dict[str, str]  # by purpose: granted, denied or revoked
    contacts: list[Contact]  # shared by all experiments of the unit; grows within a commit
    muted: set[str]  # actions
    past: list[Past]  # newest first
    made: list[Past] = field(default_factory=list)  # decided within this commit, newest first

    @classmethod
    def of(cls, row: UnitRow, contacts: list[Contact]) -> "UnitState":
        """Return the state as it was read."""
        return cls(row.now, row.consent, contacts, row.muted, row.past)


def question(experiment: Experiment, unit_id: str) -> Question:
    """Return the query for what an experiment needs to know about a unit."""
    config = experiment.config
    return Question(
        unit_id,
        experiment.id,
        config.fatigue.lookback_s() if config.fatigue else 0.0,
        config.feedback.mute_s if config.feedback else 0.0,
        max(config.profile.lookback if config.profile else 0, REPEATS_LOOKBACK if config.repeats else 0),
    )


def withheld(spec: ConsentSpec | None, consent: dict[str, str]) -> list[str]:
    """Return the purposes without the unit's consent."""
    rules = spec or ConsentSpec()
    return [
        purpose
        for purpose in PURPOSES
        if consent.get(purpose, "granted" if getattr(rules, purpose) == "unless_denied" else "denied") != "granted"
    ]


class Eligible(NamedTuple):
    """The actions that may be chosen, and the reasons against all others."""

    candidates: Candidates
    against: list[LoggedReason]

    def without(self, reasons: Mapping[str, Reason]) -> "Eligible":
        """Exclude the actions that have a reason against them."""
        if not reasons:
            return self
        ids, lines, payloads = self.candidates
        pairs = [(action, line) for action, line in zip(ids, lines, strict=True) if action not in reasons]
        against: list[LoggedReason] = [
            {"id": action, "code": reasons[action].code, "params": reasons[action].params}
            for action in ids
            if action in reasons
        ]
        remaining = Candidates([action for action, _ in pairs], [line for _, line in pairs], payloads)
        return Eligible(remaining, self.against + against)


def reasons_against(
    experiment: Experiment, request: DecideRequest, ids: list[str], state: UnitState, denied: list[str]
) -> dict[str, Reason]:
    """Return the reason against each action that this unit may not get now.

    :param denied: the purposes without consent.
    """
    channels = experiment.channels if request.actions is None else {}
    kept_back = {
        action: reason
        for action in ids
        if (reason := _kept_back(experiment, channels.get(action), action, request, state, denied)) is not None
    }
    # Saying nothing cannot be muted: somebody who mutes every message would get an error in place of silence.
    muted = [action for action in ids if action in state.muted and (channels.get(action) or not channels)]
    return kept_back | {action: Reason("muted", {}) for action in muted}


def _kept_back(
    experiment: Experiment,
    channel: str | None,
    action: str,
    request: DecideRequest,
    state: UnitState,
    denied: list[str],
) -> Reason | None:
    """The reason against sending an action's message now."""
    fatigue = experiment.config.fatigue
    if channel is None:
        return None
    if "message" in denied:
        return Reason("no_consent", {})
    if fatigue is None:
        return None
    return _too_soon(fatigue, request.time_zone, state) or _capped(fatigue.caps, state, experiment.id, action, channel)


def _too_soon(fatigue: FatigueSpec, time_zone: str | None, state: UnitState) -> Reason | None:
    if fatigue.quiet_hours and is_quiet(fatigue.quiet_hours, time_zone, state.now):
        return Reason("quiet_hours", {})
    distance = fatigue.min_distance_s
    if distance is not None and any(contact.at > state.now - distance for contact in state.contacts):
        return Reason("min_distance", {"min_distance_s": distance})
    return None


def _capped(caps: Sequence[CapSpec], state: UnitState, experiment_id: int, action: str, channel: str) -> Reason | None:
    for cap in caps:
        applies = cap.channel in (None, channel) and cap.action in (None, action)
        if applies and _used(cap, state, experiment_id) >= cap.limit:
            scope = "action" if cap.action else cap.across
            params: dict[str, JsonValue] = {
                "limit": cap.limit,
                "window_s": cap.window_s,
                "channel": cap.channel,
                "scope": scope,
            }
            return Reason("cap", params)
    return None


def is_quiet(quiet: QuietHours, time_zone: str | None, now: float) -> bool:
    """Return True in the unit's quiet hours.

    :param time_zone: the unit's time zone as the call names it; None if the call names none.
    :param now: Unix time, in seconds.
    """
    clock = datetime.fromtimestamp(now, UTC).astimezone(quiet.zone(time_zone)).strftime("%H:%M")
    if quiet.start <= quiet.end:
        return quiet.start <= clock < quiet.end
    return clock >= quiet.start or clock < quiet.end


def _used(cap: CapSpec, state: UnitState, experiment_id: int) -> int:
    since = state.now - cap.window_s
    return sum(
        contact.at > since
        and cap.channel in (None, contact.channel)
        and (cap.action is None or (contact.action == cap.action and contact.experiment_id == experiment_id))
        and (cap.across == "platform" or contact.experiment_id == experiment_id)
        for contact in state.contacts
    )
