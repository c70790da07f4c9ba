"""The documents of this feature: what is watched, and incidents."""

from typing import Literal

from pydantic import Field

from app.foundation.fields import Document
from experiments.monitoring.falls import Watch

Stream = Literal["value", "rewarded", "once", "fallback"]
SubjectKind = Literal["context_field", "client_rewards", "reward_delay"]
Kind = Literal[
    "value_fell",
    "rewards_lost",
    "behind_fallback",
    "guardrail",
    "anomaly",
    "context_drift",
    "rewards_doubled",
    "stale_model",
    "client_rewards_lost",
    "rewards_late",
]
Code = Literal[
    "relearn",
    "fell_back",
    "told",
    "restored",
    "closed",
    "recovered",
    "paused",
    "stopped_arm",
    "undone",
    "held",
    "released",
    "excluded",
]


class Point(Document):
    """The evidence at one look."""

    at: str
    strength: float  # the e-detector's value
    mean: float  # of the newest observations
    level: float | None  # that the watch bets on; null: it learned too little to bet


class WatchDocument(Document):
    """One watched number of one arm."""

    arm: str
    stream: Stream
    state: Watch
    armed: bool = True  # False: it gathers what is usual, and cannot raise anything yet
    quiet_until: int = 0  # observations before which it raises nothing: the arm has time to learn again
    since: str  # when it began
    trusted: Watch  # what the fallback earns
    points: list[Point] = Field(default_factory=list)  # oldest first


class Watched(Document):
    """Everything that is watched in an experiment, as the worker keeps it."""

    watches: list[WatchDocument]
    cursors: dict[str, str]  # by arm, when its newest outcome that was read was settled


class WatchSummary(Document):
    """What lists of experiments show."""

    open: int  # incidents
    text: str  # of the newest open one


class Action(Document):
    """Something that was done about an incident, by the platform or by a person."""

    at: str
    actor: str
    code: Code


class Incident(Document):
    """Something that went wrong, from its beginning to its end."""

    id: int
    experiment: str
    arm: str
    kind: Kind
    began_at: str  # when the fall most likely began
    opened_at: str
    closed_at: str | None
    before: float | None  # the mean until then
    after: float | None  # the mean since then, when it was noticed
    strength: float  # of the evidence
    actions: list[Action]
    text: str  # in words
    can_undo: bool = False  # what was done about it still holds, and can be taken back


class Incidents(Document):
    """The answer to a list of incidents."""

    incidents: list[Incident]


class WatchedNow(Document):
    """One watched number as it stands."""

    arm: str
    stream: Stream
    armed: bool
    observations: int
    strength: float  # 1 and less: nothing speaks for a fall
    threshold: float
    level: float | None
    since: str


class WatchedSubject(Document):
    """Something that is watched over all arms, as it stands."""

    kind: SubjectKind
    subject: str  # the field, or the API key's id; "" where there is only one
    armed: bool  # False: it learns what is usual
    observations: int
    strength: float
    threshold: float


class Guarded(Document):
    """What is watched in an experiment, and its incidents."""

    experiment: str
    computed_at: str | None
    observations_between_false_alarms: float
    watched: list[WatchedNow]
    over_all_arms: list[WatchedSubject]
    incidents: list[Incident]
