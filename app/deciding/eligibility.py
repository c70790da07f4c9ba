"""Who may be shown what, now: consent, mutes, quiet hours, distance and caps, all before the draw, each with its reason.

A unit's state is read while the unit is held and is brought up to date within a commit, so that simultaneous decisions see
each other. Actions without a message are never kept back by what concerns messages.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from app.deciding.requests import DecideRequest
from app.deciding.snapshot import Candidates, Experiment
from app.deciding.store.units import Contact, Past, Question, UnitRow
from app.design.people_config import PURPOSES, CapSpec, ConsentSpec, FatigueSpec, QuietHours

Reasons = list[dict[str, str]]


@dataclass(frozen=True)
class UnitState:
    """What is known of one unit at the moment of a decision."""

    now: float  # Unix time, in seconds
    consent: dict[str, str]  # by purpose: granted, denied or revoked
    contacts: list[Contact]  # shared by all experiments of the unit; grows within a commit
    muted: set[str]  # actions
    past: list[Past]  # newest first

    @classmethod
    def of(cls, row: UnitRow, contacts: list[Contact]) -> "UnitState":
        """As read."""
        return cls(row.now, row.consent, contacts, row.muted, row.past)


def question(experiment: Experiment, unit_id: str) -> Question:
    """What an experiment must know of a unit."""
    config = experiment.config
    return Question(
        unit_id,
        experiment.id,
        config.fatigue.lookback_s() if config.fatigue else 0.0,
        config.feedback.mute_s if config.feedback else 0.0,
        config.profile.lookback if config.profile else 0,
    )


def withheld(spec: ConsentSpec | None, consent: dict[str, str]) -> list[str]:
    """The purposes that the unit does not consent to."""
    rules = spec or ConsentSpec()
    return [
        purpose
        for purpose in PURPOSES
        if consent.get(purpose, "granted" if getattr(rules, purpose) == "unless_denied" else "denied") != "granted"
    ]


def keep(candidates: Candidates, reasons: dict[str, str]) -> tuple[Candidates, Reasons]:
    """The candidates without those that have a reason against them, and these with their reasons."""
    if not reasons:
        return candidates, []
    pairs = zip(candidates.ids, candidates.lines, strict=True)
    kept = [(name, line) for name, line in pairs if name not in reasons]
    against = [{"id": name, "reason": reasons[name]} for name in candidates.ids if name in reasons]
    return Candidates([name for name, _ in kept], [line for _, line in kept], candidates.payloads), against


def reasons_against(
    experiment: Experiment, request: DecideRequest, ids: list[str], state: UnitState, denied: list[str]
) -> dict[str, str]:
    """Per action that this unit may not get now, why.

    :param denied: the purposes without consent.
    """
    found = {name: "not interested" for name in ids if name in state.muted}
    channels = experiment.channels if request.actions is None else {}
    fatigue = experiment.config.fatigue
    for name in ids:
        channel = channels.get(name)
        if name in found or channel is None:
            continue
        reason = "no consent to messages" if "message" in denied else None
        if reason is None and fatigue is not None:
            reason = _too_much(fatigue, request.time_zone, state, experiment.id, name, channel)
        if reason is not None:
            found[name] = reason
    return found


def _too_much(
    fatigue: FatigueSpec, time_zone: str | None, state: UnitState, experiment_id: int, action: str, channel: str
) -> str | None:
    if fatigue.quiet_hours and is_quiet(fatigue.quiet_hours, time_zone, state.now):
        return "quiet hours"
    distance = fatigue.min_distance_s
    if distance is not None and any(contact.at > state.now - distance for contact in state.contacts):
        return f"another message within {distance:g} s"
    for cap in fatigue.caps:
        if (
            cap.channel in (None, channel)
            and cap.action in (None, action)
            and _used(cap, state, experiment_id) >= cap.limit
        ):
            return _words(cap)
    return None


def is_quiet(quiet: QuietHours, time_zone: str | None, now: float) -> bool:
    """True in the unit's quiet hours.

    :param time_zone: the unit's, as the call names it.
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


def _words(cap: CapSpec) -> str:
    what = f"{cap.channel} messages" if cap.channel else "messages"
    which = "of this one" if cap.action else "of this experiment" if cap.across == "experiment" else "in all"
    return f"cap: {cap.limit} {what} {which} in {cap.window_s:g} s"
