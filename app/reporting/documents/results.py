"""The results of an experiment as they are stored, answered and shown. See ``app.reporting.results``.

Fields with a default are missing in documents that were stored before the field existed, or belong to some lines only.
"""

from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument

Role = Literal["primary", "secondary", "guardrail"]
Direction = Literal["increase", "decrease"]
NOT_COMPUTED = IntervalDocument(low=None, high=None, reason="not computed yet")


class ResultsWindow(Document):
    """The data behind the results."""

    decisions: int
    settled: int | None = None  # all settled decisions, also those after ``complete_until``
    units: int
    first: str | None
    last: str | None
    complete_until: str | None = None  # decisions from here on are left out, because some arm is not settled yet


class SampleRatio(Document):
    """Units against the arms' shares."""

    p_value: float | None  # for one look
    anytime_p_value: float | None
    alert: bool
    observed: dict[str, int]
    expected: dict[str, float]
    text: str


class ChanceToWin(Document):
    """One arm's probability to be the best of all arms, and its expected loss, with a flat prior."""

    probability: float
    expected_loss: float


class NonInferiority(Document):
    """A guardrail's test at one look: is the arm worse by less than the margin?"""

    margin: float
    p_value: float
    bound: float
    shown: bool


class AlwaysValid(Document):
    """The p-value and intervals that hold at every look together."""

    p_value: float | None
    interval: IntervalDocument
    relative_interval: IntervalDocument = NOT_COMPUTED
    simultaneous_interval: IntervalDocument = NOT_COMPUTED  # for all comparisons on metrics that decide together


class Adjustment(Document):
    """What a covariate did for a comparison."""

    correlation: float  # of a unit's part of the metric with its covariate
    units: int  # that have one; the others count as the mean


class ShrunkEffect(Document):
    """A segment's difference, pulled towards that of all segments as far as its noise deserves."""

    difference: float
    interval: IntervalDocument  # for one look
    kept: float  # share of its distance from the common mean


class Headline(Document):
    """The figures that lead in a line, for the requested method."""

    interval: IntervalDocument | None = None
    p_value: float | None = None
    chance_to_win: ChanceToWin | None = None


class ComparisonLine(Document):
    """One arm compared with the control on one metric, in one segment or over all.

    Lines are filled in steps: p-values are adjusted after all lines of all metrics are computed.
    """

    model_config = ConfigDict(frozen=False)

    arm: str
    control: str
    segment: str | None
    difference: float | None  # arm minus control, in the metric's unit
    std_error: float | None
    p_value: float | None
    interval: IntervalDocument
    relative_lift: float | None
    relative_interval: IntervalDocument
    always_valid: AlwaysValid
    non_inferiority: NonInferiority | None
    test: str = ""
    control_value: float | None = None  # of the compared units, weighted to the same shares of strata
    arm_value: float | None = None
    units: dict[str, int] | None = None  # that were compared, by arm
    effective_units: float | None = None  # of the arm that has fewer
    effective_events: float | None = None  # that the smaller arm expects if both are alike
    shrunk: ShrunkEffect | None = None  # of a segment among three or more
    covariate: Adjustment | None = None  # null: the metric has none
    left_out: int = 0  # units that there is nothing to compare with
    chance_to_win: ChanceToWin | None
    running_p: float | None = None  # the smallest sequential p-value of all looks so far
    running_sign: int | None = None  # of the difference at that look
    adjusted_p_value: float | None = None
    adjusted_running_p: float | None = None
    adjustment: Literal["holm", "fdr_bh"] | None = None
    headline: Headline | None = None


class ArmValue(Document):
    """One arm's value of a metric."""

    arm: str
    segment: str | None
    units: int
    decisions: int
    value: float | None
    std_error: float | None
    reason: str = ""  # why there is no value


class LineagesLine(Document):
    """The effect of a way of learning that runs several times: the mean of its lineages against the control."""

    lineage: str  # the name that they share
    arms: list[str]
    difference: float
    spread: float  # standard deviation between lineages
    interval: IntervalDocument  # for one look, of what the way of learning does, also in runs that were not made


class MetricResults(Document):
    """Every arm's value of one metric, and every other arm against the control."""

    metric: str
    name: str
    role: Role
    direction: Direction
    min_effect: float
    window_s: float | None
    winsorize: float | None = None
    source: dict[str, JsonValue]  # as in the metric's definition
    feedback_version: int = 0
    open_decisions: int = 0  # settled decisions whose window of this metric is not over yet: they do not count
    open_units: int = 0  # of a metric of events: units whose window is not over yet: they do not count
    late_events: int = 0  # in the window of a unit, and reported after that unit was counted: they do not count
    unreadable_events: int = 0  # in the window of a unit, without a number in the property that is summed
    preliminary: bool = False  # no window is over yet: values so far, and no comparison
    arms: list[ArmValue]
    comparisons: list[ComparisonLine]
    lineages: list[LineagesLine] = Field(default_factory=list)

    def gain(self, difference: float) -> float:
        """A difference in the metric's unit, positive where the arm is better than the control."""
        return difference if self.direction == "increase" else -difference

    def best(self) -> ComparisonLine | None:
        """The comparison of the arm that gains most; null when nothing can be compared."""
        gains = [(self.gain(line.difference), line) for line in self.comparisons if line.difference is not None]
        return max(gains, key=lambda pair: pair[0], default=(0.0, None))[1]

    def values(self) -> dict[str, float | None]:
        """The arms' values over all segments."""
        return {arm.arm: arm.value for arm in self.arms if arm.segment is None}


class DailyEffect(Document):
    """The difference to the control among the decisions of one day."""

    day: str  # ISO 8601, UTC
    difference: float | None
    std_error: float | None
    interval: IntervalDocument  # for one look


class DailyEffects(Document):
    """One arm's difference to the control on the first primary metric, day by day."""

    arm: str
    control: str
    days: list[DailyEffect]
    change_per_day: float | None  # of the difference
    change_interval: IntervalDocument | None  # for one look, days taken as independent


class RuleChange(Document):
    """A change of the decision rule, or of a metric, after the launch."""

    version: int  # of the configuration
    at: str
    decisions: int  # made before it
    differences: list[str]  # in words


class RuleVerdict(Document):
    """The verdict of the decision rule on the results."""

    rule: dict[str, JsonValue]
    verdict: Literal["ship", "stop", "review", "keep_running"]
    arm: str | None  # the arm to ship, or the control to keep
    reasons: list[str]
    crossed: list[str]  # guardrails
    days: float = 0.0
    changes: list[RuleChange] = Field(default_factory=list)  # since the launch, oldest first


class ShareStretch(Document):
    """A run of configurations with the same shares."""

    first_version: int
    began_at: str  # ISO 8601, UTC
    shares: dict[str, float]


class MovedUnits(Document):
    """Units that a change of shares moved to another arm."""

    moved: int  # seen in more than one arm
    left_out: int  # of all comparisons, because a change of shares moves them
    share: float  # seen in more than one arm, of all units


HeldOut = Literal["with", "without"]


class StoredResults(Document):
    """The results of an experiment as the worker computed them."""

    experiment: str
    segment: str | None
    control: str
    window: ResultsWindow
    units: dict[str, int]
    feedback_version: int = Field(default=0, description="Feedback schema of the rewards; 0: no answer counts.")
    sample_ratio: SampleRatio
    metrics: list[MetricResults]
    assumptions: list[str]
    stretches: list[ShareStretch] = Field(default_factory=list)
    daily: list[DailyEffects] = Field(default_factory=list)  # of the first primary metric; empty where it has no days
    daily_at: str | None = None  # when they were computed
    moved_units: MovedUnits | None = None  # null: the shares never changed
    excluded_units: int = 0
    held_out: HeldOut = Field(default="with", description="Whether decisions that are held out for suspects count.")
    held_out_decisions: int = Field(default=0, description="Decisions that are held out for suspects, in all arms.")
    decision: RuleVerdict | None = None  # null for results that are split

    def primary(self) -> list[MetricResults]:
        """The primary metrics, in the order of their declaration."""
        return [metric for metric in self.metrics if metric.role == "primary"]


class Results(StoredResults):
    """Results with their age, and with a headline in each line."""

    method: str
    computed_at: str
    age_s: float
    seconds: float


class ResultsSummary(Document):
    """What the list of experiments shows: the primary metric's best arm against the control, and what is wrong."""

    metric: str
    direction: Direction
    arm: str | None
    lift: float | None
    lift_interval: IntervalDocument | None
    verdict: str
    ship: str | None
    crossed: list[str]
    sample_ratio: str | None  # in words, when it is an alert
    units: int = 0

    def gain(self) -> float | None:
        """The relative lift, positive where the arm is better."""
        return self.lift if self.lift is None or self.direction == "increase" else -self.lift
