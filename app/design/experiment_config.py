"""The configuration of an experiment, and the rules between its parts. The API, the pages and imports use it.

A configuration is immutable once stored: every change makes the next version, and each decision names the version that
it was made under.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from app.content import composition as composed
from app.content.composition_config import NOTHING, CompositionSpec
from app.content.message_config import MessageTemplate, VariableSpec
from app.design.context.schema import MAX_FIELDS, SchemaField
from app.design.feedback_config import FeedbackSpec, answers_worth
from app.design.metric_config import DEFAULT_METRIC, MAX_METRICS, DecisionRule, MetricSpec, RewardSource
from app.design.people_config import ConsentSpec, ContextField, FatigueSpec, ProfileSpec, RepeatsSpec
from app.design.promotion_config import Ramp, Shipped
from app.design.safety_config import DEFAULT_SAFETY, SafetySpec
from app.foundation.fields import Id, JsonObject, Key, Model, Sparse

MAX_ACTIONS = 1000
MAX_POSITIONS = 50  # of a list
MAX_ARMS = 50
MAX_WINDOW_S = 90 * 86_400
SHARE_TOLERANCE = 1e-6
# Absent parts are left out of the stored document, so that documents older than a part stay as they are.
OPTIONAL_PARTS = (
    *("reward_formula", "repeats"),
    *("fatigue", "consent", "profile", "context_schema", "context_fields"),
    *("retention_s", "feedback", "composition", "lists"),
    *("shipped", "ramp", "safety"),
)


Features = Annotated[
    JsonObject | list[JsonObject],
    Field(description="A JSON object (or a list of objects) of strings, numbers, booleans and nested objects."),
]


class ActionSpec(Model):
    """One thing that can be chosen."""

    id: Id
    features: Features = Field(default_factory=dict)
    payload: JsonValue = Field(default=None, description="Handed back with the decision, never read by Loopwise.")


class VariantSpec(ActionSpec, Sparse):
    """An action of the experiment, which may have a message, rendered for each person."""

    newer: ClassVar = {"template": None}

    template: MessageTemplate | None = Field(
        default=None, description="The message; without one, /v1/messages/decide says nothing when it is chosen."
    )


class FallbackSpec(Model):
    """What a learning arm does while it earns less than what a person trusts."""

    to: dict[str, JsonValue] | None = Field(
        default=None,
        description='{"type": "fixed", "action": ID}, {"type": "uniform"} or {"type": "first_action"}; null: the control\'s '
        "policy, if it does not learn.",
    )
    margin: float = Field(
        default=0.1, ge=0, le=10, description="Least share of the fallback's value by which the arm has to be worse."
    )
    probe: float = Field(
        default=0.05,
        ge=0.01,
        le=0.5,
        description="Share of decisions that the learned policy makes meanwhile, to be measured.",
    )
    act: bool = Field(default=True, description="False: only tell.")


class ListSpec(Model):
    """A list of different actions that the app asks for. Each position is a decision with a reward of its own."""

    positions: int = Field(
        default=3, ge=1, le=MAX_POSITIONS, description="How many actions a call asks for, with `slots`."
    )
    reward: Literal["position", "list"] = Field(
        default="position",
        description="What the app reports. position: what each position earned; list: what the whole list earned, for each "
        "of its positions.",
    )


class ArmSpec(Sparse):
    """One policy and its share of the units."""

    newer: ClassVar = {"lineage_of": None, "fallback": None, "fallen_back": False, "apprentice": False}

    key: Key
    share: float = Field(ge=0, le=1, description="Share of the units; all arms' shares sum to 1.")
    policy: dict[str, JsonValue] = Field(
        description='{"type": "fixed", "action": ID}, {"type": "uniform"}, {"type": "first_action"}, or {"type": "bandit", '
        '"algorithm": NAME, "parameters": {...}, "exploration_floor": SHARE}; see docs/policies.md.',
        examples=[{"type": "bandit"}],
    )
    lineage_of: Key | None = Field(
        default=None,
        description="A name that learning arms with equal policies and shares have in common: independent runs of one way of "
        "learning, whose spread results show.",
    )
    fallback: FallbackSpec | None = Field(default=None, description="Of a learning arm; null: the defaults.")
    fallen_back: bool = Field(
        default=False,
        description="True: the fallback decides. The platform sets it, and what a caller sends is not used.",
    )
    apprentice: bool = Field(
        default=False,
        description="Of a learning arm. True: the first action of each call is shown, and the model learns to imitate it until "
        "it is switched on. A change that leaves it out keeps it.",
    )


class RewardSpec(Model):
    """How the rewards that arrive for a decision become the number that models learn."""

    window_s: float = Field(
        default=600, ge=1, le=MAX_WINDOW_S, description="Seconds that a decision waits for rewards."
    )
    default: float = Field(default=0.0, description="The reward when none arrived within the window.")
    aggregation: Literal["sum", "max", "mean", "first", "last"] = "sum"
    min: float = Field(default=0.0, description="Smallest reward; a reported value below it is refused.")
    max: float = Field(default=1.0, description="Largest reward; a reported value above it is refused.")


class RewardFormula(Model):
    """The reward as a formula over what is reported, instead of the joined reward alone. It may change at any time."""

    text: str = Field(
        max_length=500,
        description="Such as reward + 0.2 * dwell - 3 * unsubscribes: numbers, names of reported metrics (their sum in time), +, "
        "-, *, parentheses. reward is the joined reward. The value is cut at the reward's min and max.",
    )
    relearn: bool = Field(
        default=True,
        description="Whether earlier decisions get their reward by this formula, and models learn them again; else from now on.",
    )


class ExperimentConfig(Sparse):
    """The whole definition of an experiment."""

    newer: ClassVar = dict.fromkeys(OPTIONAL_PARTS)

    key: Key
    name: str = Field(default="", max_length=200)
    hypothesis: str = Field(default="", max_length=10_000)
    actions: list[VariantSpec] = Field(default_factory=list, max_length=MAX_ACTIONS)
    variables: list[VariableSpec] = Field(
        default_factory=list, max_length=50, description="Placeholders that the actions' templates may name."
    )
    arms: list[ArmSpec] = Field(min_length=1, max_length=MAX_ARMS)
    control_arm: Key | None = Field(default=None, description="The arm that others are compared with.")
    reward: RewardSpec = Field(default_factory=RewardSpec)
    metrics: list[MetricSpec] = Field(
        default_factory=list, max_length=MAX_METRICS, description="Beside the reward, which is always a metric."
    )
    segments: list[str] = Field(
        default_factory=list, max_length=10, description="Top-level context fields that results may be split by."
    )
    decision_rule: DecisionRule = Field(default_factory=DecisionRule)
    fatigue: FatigueSpec | None = Field(default=None, description="Caps, quiet hours and distance between messages.")
    repeats: RepeatsSpec | None = Field(
        default=None, description="Most repeats in a row, and caps for each group of actions and unit."
    )
    consent: ConsentSpec | None = Field(default=None, description="The purposes that need a yes; by default none does.")
    profile: ProfileSpec | None = Field(default=None, description="What the unit's own history adds to the context.")
    context_schema: list[SchemaField] | None = Field(
        default=None,
        max_length=MAX_FIELDS,
        description="The fields that apps send, with type and example; segments, context_fields and covariates name only these.",
    )
    context_fields: list[ContextField] | None = Field(
        default=None,
        max_length=200,
        description="The only context fields that are used and stored; by default all are.",
    )
    retention_s: float | None = Field(
        default=None, ge=86_400, description="Seconds after which decisions lose everything that points to their unit."
    )
    feedback: FeedbackSpec | None = Field(default=None, description="What explicit answers are worth.")
    reward_formula: RewardFormula | None = Field(default=None, description="The reward as a formula over metrics.")
    composition: CompositionSpec | None = Field(
        default=None, description="A message made of slots; its combinations are the actions."
    )
    lists: ListSpec | None = Field(
        default=None,
        description="The app asks for lists of actions; pages, programs and reports then speak of positions.",
    )
    safety: SafetySpec | None = Field(
        default=None, description="What is done about data that cannot be trusted; by default the defaults."
    )
    shipped: Shipped | None = Field(
        default=None,
        description="The arm that decides for good. The platform sets it; what a caller sends is not used.",
    )
    ramp: Ramp | None = Field(
        default=None, description="An arm on its way there. The platform sets it; what a caller sends is not used."
    )

    @property
    def bounds(self) -> SafetySpec:
        """What is done about data that cannot be trusted: as declared, or the defaults."""
        return self.safety or DEFAULT_SAFETY

    @property
    def control(self) -> ArmSpec:
        """The arm that the others are compared with: the declared one, or else the first."""
        return next((arm for arm in self.arms if arm.key == self.control_arm), self.arms[0])

    def all_actions(self) -> list[VariantSpec]:
        """The declared actions, or the composition's combinations (their texts are ``composition.Composer``'s)."""
        spec = self.composition
        if spec is None:
            return self.actions
        variants = [
            VariantSpec(id=combination.id, features=composed.features_of(spec, combination))
            for combination in spec.combinations
        ]
        return variants + ([VariantSpec(id=NOTHING)] if spec.allow_nothing else [])

    def channels(self) -> dict[str, str]:
        """The channel of each action that has a message."""
        if self.composition is None:
            return {action.id: action.template.channel for action in self.actions if action.template}
        return {combination.id: self.composition.channel for combination in self.composition.combinations}

    def all_metrics(self) -> list[MetricSpec]:
        """The declared metrics; the reward comes first unless the definition declares it itself."""
        return with_reward(self.metrics)


def worth_of(config: ExperimentConfig) -> JsonObject:
    """What decides rewards beside the reported ones, as JSON: the worth of answers, and the formula. Each is a version."""
    formula = config.reward_formula
    return answers_worth(config.feedback) | ({} if formula is None else {"formula": formula.model_dump(mode="json")})


def shares(config: ExperimentConfig) -> dict[str, float]:
    """Each arm's share of the units."""
    return {arm.key: arm.share for arm in config.arms}


def lineages(arms: Sequence[ArmSpec]) -> dict[str, list[str]]:
    """The arms of each way of learning that runs several times, by the name that they share."""
    names = dict.fromkeys(arm.lineage_of for arm in arms if arm.lineage_of is not None)
    return {name: [arm.key for arm in arms if arm.lineage_of == name] for name in names}


def with_reward(declared: list[MetricSpec]) -> list[MetricSpec]:
    """Declared metrics with the reward, which comes first unless the definition declares it itself."""
    if any(isinstance(metric.source, RewardSource) for metric in declared):
        return declared
    primary = any(metric.role == "primary" for metric in declared)
    return [DEFAULT_METRIC.model_copy(update={"role": "secondary" if primary else "primary"}), *declared]
