"""What is asked and answered, as plain values."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

Features = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random bits, so that the server's index grows at one end."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that can be chosen."""

    id: str
    features: Features = field(default_factory=dict)
    payload: Any = None  # handed back with the decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One decision that is asked for. Asking the same question twice gives the same decision."""

    experiment: str  # key
    unit_id: str  # whom the arm is assigned to: a user, a household, a session
    context: Mapping[str, Any] = field(default_factory=dict)  # what is known now
    actions: Sequence[Action | Mapping[str, Any]] | None = None  # this call's candidates; None: the experiment's
    excluded_actions: Sequence[str] = ()
    decision_id: str = field(default_factory=new_id)
    default: Action | str | None = None  # what to show when there is no answer; None: LoopwiseUnavailable is raised
    defer_activation: bool = False  # True: not learned from until it is activated


class Ranked(NamedTuple):
    """An action and its probability."""

    id: str
    probability: float


class Ineligible(NamedTuple):
    """An action that was left out."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to show. Of a default (``logged`` is False) only ids, payload and ``reason`` are known."""

    decision_id: str
    action_id: str  # what to show
    payload: Any  # of that action
    logged: bool  # False: the default, because there was no answer in time; rewards for it are not sent
    arm: str | None = None
    propensity: float | None = None  # the probability with which the action was drawn
    ranking: tuple[Ranked, ...] = ()  # the chosen action, then the others from likely to unlikely
    policy_version: int | None = None  # the model that decided; 0: no trained model took part
    ineligible: tuple[Ineligible, ...] = ()
    reason: str | None = None  # why the default was taken


@dataclass(frozen=True, slots=True)
class Reward:
    """One event: what a decision was worth. Sending the same value twice counts once."""

    decision: Decision | str  # or its id
    value: float
    metric: str = "reward"  # this one is learned from; other names are kept for reports
    reward_id: str = field(default_factory=new_id)
    occurred_at: datetime | None = None  # with a time zone; None: when it arrives


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a reward."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    logged: bool  # False: nothing was sent, because the decision is a default that the server may not know
    occurred_at: datetime | None = None
    received_at: datetime | None = None
    late: bool = False  # True: after the reward window; kept, not learned from
