"""Off-policy evaluations as they are stored, answered and shown. See ``app.off_policy.evaluation_table``.

Fields with a default are missing in documents that were stored before the field existed, or belong to some lines only.
"""

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest


class EvaluationWindow(Document):
    """The decisions that policies were trained on and evaluated on."""

    trained_on: int
    evaluated_on: int
    lists: int | None = None  # that the evaluated decisions make up; null: the experiment answers single decisions
    units: int
    first: str
    last: str


class WeightHistogram(Document):
    """How many evaluated decisions have which weight."""

    edges: list[float]
    counts: list[int]  # one fewer than edges; the last also counts larger weights


class EstimatorLine(Document):
    """A policy's value by one estimator."""

    value: float | None
    std_error: float | None
    intervals: dict[str, IntervalDocument]  # by method
    estimand: str
    reason: str  # why there is no value


class ValueDifference(Document):
    """A policy's value minus that of the policy that runs, paired on the same decisions.

    The interval of a candidate is that of the search, which corrects for all candidates.
    """

    difference: float
    std_error: float
    interval: IntervalDocument


class CoursePoint(Document):
    """The value after some decisions. All intervals of a course hold together."""

    decisions: int  # that the policy was scored on so far
    at: str  # when the last of them was made
    value: float | None
    interval: IntervalDocument


class PositionLine(Document):
    """A policy's value at one position of its lists, under what it put above."""

    position: int  # from 1
    lists: int
    value: float | None
    interval: IntervalDocument  # holds at every look
    one_look: IntervalDocument


class ValuedModel(Document):
    """The model that a candidate ended with: it had learned every decision of the evaluation that may be learned."""

    sha256: str
    decisions: int
    rounds: list[int]  # how many of them it learned at a time, oldest first
    settled_until: str  # the log as it was then
    policy: dict[str, object]  # every default written out


class PolicyLine(Document):
    """One policy: its value, if the log identifies it, and the reasons against it.

    The difference to the running policy is filled in after that policy's line is computed.
    """

    model_config = ConfigDict(frozen=False)

    policy: str
    text: str
    basis: str = ""  # a code: how it is kept from being scored on what it learned (``policies.BASIS``)
    scored_on: int | None = None  # decisions
    scored_from: str | None = None  # when the first of them was made
    features_off: list[str] = Field(default_factory=list)
    value: float | None
    interval: IntervalDocument | None  # holds at every look; in older documents for one look
    one_look: IntervalDocument | None = None  # holds for one look at a size fixed beforehand
    one_look_method: str | None = None
    headline: str | None  # estimator and interval
    status: str  # identified, warning, not_identified
    reasons: list[str]
    reason_codes: list[str] = Field(default_factory=list)
    reason_params: list[dict[str, float]] = Field(default_factory=list)  # one for each code
    effective_sample_size: float | None
    mean_weight: float | None
    max_weight: float | None
    overlap: float | None
    weight_histogram: WeightHistogram
    estimators: dict[str, EstimatorLine]
    course: list[CoursePoint] = Field(default_factory=list)  # the headline over time; empty: not identified
    positions: list[PositionLine] = Field(default_factory=list)  # of lists
    model: ValuedModel | None = None  # of a candidate that learns
    against_running: ValueDifference | None = None


class Realised(Document):
    """A learning arm's value as predicted from the other arms' decisions, and what it earned."""

    arm: str
    reason: str = ""  # why nothing can be compared
    predicted: float | None = None
    predicted_interval: IntervalDocument | None = None
    predicted_from: int | None = None
    realised: float | None = None
    realised_interval: IntervalDocument | None = None
    realised_on: int | None = None
    difference_interval: IntervalDocument | None = None
    agrees: bool | None = None  # null: nothing can be compared


class SearchLine(Document):
    """One candidate in the search over all candidates."""

    name: str
    compared_on: int | None = None  # decisions, or lists, that both it and what runs were scored on
    detectable: float | None = None  # the smallest true difference that 80% of such evaluations would show
    difference: float
    std_error: float
    p_value: float
    adjusted_p: float
    interval: IntervalDocument
    promoted: bool
    reason: str


class Search(Document):
    """Which candidate may be staged as a new arm."""

    candidates: list[SearchLine]
    winner: str | None
    text: str


class CalibrationBin(Document):
    """Logged choices with similar predicted rewards."""

    decisions: int
    predicted: float  # mean prediction of a model that had not learned these decisions
    realised: float  # mean reward
    interval: IntervalDocument  # of the mean reward


class ActionLine(Document):
    """What one action of a learning arm is worth."""

    action: str
    value: float | None
    interval: IntervalDocument


class ArmActions(Document):
    """The values of a learning arm's actions, from its own decisions."""

    arm: str
    reason: str = ""  # why there are none
    decisions: int
    actions: list[ActionLine] = Field(default_factory=list)


class PricePoint(Document):
    """An arm's value within one bound on exposure, and what the bound costs."""

    bound: float | None  # of each group's share of a decision, or of the window; null: without a bound
    smallest: float | None  # the smallest group's mean exposure under it, in the scored decisions
    value: float | None  # null: the log does not identify it
    interval: IntervalDocument | None  # holds at every look
    cost: float | None  # value without the bound minus value with it, paired on the same decisions
    cost_interval: IntervalDocument | None  # for one look
    reasons: list[str]


class Price(Document):
    """What bounds on the exposure of groups of actions would cost an arm."""

    arm: str
    by: str
    bound: str  # least, most, parity
    window: int | None = None  # decisions over which it is a target; null: it holds in every decision
    groups: int  # the most that a scored decision has
    decisions: int  # scored
    points: list[PricePoint]  # the first without a bound


class TunedLine(Document):
    """One policy of a search, with its last score on the part that was chosen by."""

    candidate: str | None  # key of the candidate that it became; null: it is no finalist
    policy: dict[str, object]  # every default written out
    learned: int  # decisions that it had learned for this score
    value: float | None  # doubly robust; null: see reason
    std_error: float | None
    ips: float | None
    effective_sample_size: float | None
    reason: str = ""  # why it has no score


class EvaluationResult(Document):
    """The result of an evaluation as the worker computed it."""

    out_of_sample: bool = False  # True: no model was scored on what it learned. Older documents had no such rule.
    estimand: str = ""  # what a value is the mean of, in words
    window: EvaluationWindow
    logged_value: float
    policies: list[PolicyLine]
    realised: list[Realised] = Field(default_factory=list)
    search: Search
    calibration: list[CalibrationBin] = Field(default_factory=list)
    actions: list[ArmActions] = Field(default_factory=list)
    price: Price | None = None  # only where it was asked for
    assumptions: list[str]
    leaderboard: list[TunedLine] = Field(default_factory=list)  # of a search, best first


class EvaluationAnswer(Document):
    """An evaluation as a job, with its result when it is done."""

    id: int
    experiment: str
    status: Literal["queued", "running", "done", "failed"] = Field(description="queued, running, done or failed.")
    progress: float
    request: EvaluationRequest
    result: EvaluationResult | None
    error: str | None
    created_at: str
    finished_at: str | None


class EvaluationListAnswer(Document):
    evaluations: list[EvaluationAnswer]


class StagingAnswer(Document):
    """Where a candidate stands on its way to an arm."""

    candidate: str
    status: Literal["candidate", "waiting", "failed", "staged"] = Field(
        description="waiting: the worker learns its model; failed: see problem; staged: it is an arm."
    )
    share: float | None = Field(description="Share of the units that was asked for, or that the arm has now.")
    evaluation: int | None = Field(description="That valued the model; null: it needs none.")
    sha256: str | None = Field(description="Of the valued model, or of the model that the arm began with.")
    problem: str | None


class CandidateListAnswer(Document):
    candidates: list[CandidateSpec]


class CapAnswer(Document):
    """What a tighter cap would have been worth."""

    experiment: str
    cap: dict[str, JsonValue]
    value: float = Field(description="Mean over units of the sum of a unit's rewards, under the cap.")
    interval: tuple[float, float]
    logged: float = Field(description="The same as it was.")
    difference: float
    difference_interval: tuple[float, float]
    units: int
    decisions: int
    touched: int = Field(description="Decisions at which the cap would have been reached.")
    effective_units: float
    largest_weight: float
    trusted: bool = Field(description="False: too few effective units for the interval.")
    assumptions: list[str]
