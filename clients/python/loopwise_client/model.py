"""Decisions, their rewards and messages, as plain values."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Union

Features = Union[Mapping[str, Any], Sequence[Mapping[str, Any]]]
Channel = Literal["in_app", "push", "email", "sms"]
Kind = Literal["thumbs", "stars", "score", "reason", "comment", "dismissed", "not_interested"]


def new_id() -> str:
    """32 hex digits: 48 bits of milliseconds, then 80 random bits, so that the server's index grows at one end."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True)
class Action:
    """One thing that can be chosen."""

    id: str
    features: Features = field(default_factory=dict)
    payload: Any = None  # handed back with the decision


Default = Union[
    Action, str, Sequence[Union[Action, str]]
]  # what to show without an answer; several: from the top of a list


@dataclass(frozen=True)
class Question:
    """A request for one decision. Asking the same question twice gives the same decision."""

    experiment: str  # key
    unit_id: str  # the unit that has an arm: a user, a household, a session
    context: Mapping[str, Any] = field(default_factory=dict)  # the context at the time of the decision
    actions: Sequence[Action | Mapping[str, Any]] | None = None  # this call's candidates; None: the experiment's
    excluded_actions: Sequence[str] = ()
    decision_id: str = field(default_factory=new_id)
    default: Default | None = None  # what to show when there is no answer; None: LoopwiseUnavailable is raised
    defer_activation: bool = False  # True: not learned from until it is activated
    slots: int | None = None  # the length of a list of different actions; None: one action
    time_zone: str | None = None  # the unit's, as Europe/Vienna; for quiet hours
    test: bool = False  # True: a trial. It is decided and logged, and counts nowhere


class Ranked(NamedTuple):
    """An action and its probability."""

    id: str
    probability: float


class Ineligible(NamedTuple):
    """An action that was left out."""

    id: str
    reason: str


class PartChance(NamedTuple):
    """A part of a composed message and its probability."""

    part: str
    probability: float


class Slot(NamedTuple):
    """The choice of one slot of a composed message; the slot "say" is the choice whether to say something."""

    slot: str
    part: str
    propensity: float  # its marginal probability, given that something is said
    given_above: float  # given the slots above; these multiply to the decision's propensity
    distribution: tuple[PartChance, ...]  # the marginal probabilities of all its parts


@dataclass(frozen=True)
class Position:
    """One position of a list: a decision of its own, with its own reward and feedback."""

    position: int  # from 1
    decision_id: str
    action_id: str
    payload: Any
    logged: bool  # as of the list
    propensity: float | None = None  # among the actions that the positions above left


@dataclass(frozen=True)
class Decision:
    """The action to show. A default (``logged`` is False) has only ids, payloads and ``reason``."""

    decision_id: str
    action_id: str  # what to show; of a list its first position
    payload: Any  # of that action
    logged: bool  # False: the default, because there was no answer in time; nothing is reported about it
    arm: str | None = None
    propensity: float | None = None  # the probability with which the action was drawn
    ranking: tuple[Ranked, ...] = ()  # the chosen action, then the others from likely to unlikely
    policy_version: int | None = None  # the model that decided; 0: no trained model took part
    ineligible: tuple[Ineligible, ...] = ()
    reason: str | None = None  # why the default was taken
    positions: tuple[Position, ...] = ()  # of a list
    unfilled: int = 0  # positions of the list for which there is no action
    slots: tuple[Slot, ...] = ()  # of a composed message
    test: bool = False  # True: a trial, which counts nowhere


class Message(NamedTuple):
    """The message for a person: plain text, which you must escape in HTML."""

    title: str
    body: str
    call_to_action: str  # the text of the button
    locale: str  # of the text that was used
    channel: str


@dataclass(frozen=True)
class MessageDecision(Decision):
    """The message to show. Silence because of a missing answer has ``logged`` False, and "" as its ``action_id``."""

    message: Message | None = None  # None: say nothing


@dataclass(frozen=True)
class Delivery:
    """A message of a trigger, as a webhook gets it or as it is held for its unit."""

    delivery_id: int  # the same each time it is sent
    decision_id: str
    experiment: str
    unit_id: str
    message: Message
    created_at: datetime


Decided = Union[Decision, Position, Delivery, str]  # anything that names a decision; a text is its id


@dataclass(frozen=True)
class Reward:
    """One reward event of a decision. Sending the same value twice counts once."""

    decision: Decided
    value: float
    metric: str = "reward"  # "reward" is learned from; other names are kept for reports
    reward_id: str = field(default_factory=new_id)
    occurred_at: datetime | None = None  # with a time zone; None: when it arrives


@dataclass(frozen=True)
class Receipt:
    """The receipt of a reward."""

    decision_id: str
    reward_id: str
    metric: str
    value: float
    logged: bool  # False: nothing was sent, because the decision is a default that the server may not know
    occurred_at: datetime | None = None
    received_at: datetime | None = None
    late: bool = False  # True: after the reward window; kept, not learned from


@dataclass(frozen=True)
class Feedback:
    """A person's answer to a decision. Sending the same value twice counts once."""

    decision: Decided
    kind: Kind
    value: str | float | None = None  # thumbs: "up", "down"; stars: 1 to 5; score: 0 to 10; reason: its name; else None
    comment: str | None = None  # in their own words, with any kind
    feedback_id: str = field(default_factory=new_id)
    occurred_at: datetime | None = None  # with a time zone; None: when it arrives


@dataclass(frozen=True)
class FeedbackReceipt:
    """The receipt of an answer."""

    decision_id: str
    feedback_id: str
    kind: str
    value: str | float | None
    comment: str | None
    logged: bool  # False: nothing was sent, because the decision is a default that the server may not know
    occurred_at: datetime | None = None
    received_at: datetime | None = None
    late: bool = False  # True: after the reward window; kept, not learned from


@dataclass(frozen=True)
class Event:
    """Something that a unit did. Sending the same value twice counts once."""

    unit_id: str
    name: str  # such as lesson-done
    properties: Mapping[str, Any] = field(default_factory=dict)  # nested JSON
    event_id: str = field(default_factory=new_id)
    occurred_at: datetime | None = None  # with a time zone; None: when it arrives


class EventReceipt(NamedTuple):
    """A stored event."""

    event_id: str
    occurred_at: datetime
    received_at: datetime
    ignored: str | None  # why it fires no trigger; None: it may fire one
