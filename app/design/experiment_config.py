"""What an experiment is made of, and the rules that hold between its parts. Used by the API, the pages and imports alike.

A configuration is immutable once stored: every change makes the next version, and each decision names the version that
it was made under.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from app.content import composition as composed
from app.content.composition_config import NOTHING, CompositionSpec
from app.content.message_config import MessageTemplate, VariableSpec
from app.content.message_templates import problems as template_problems
from app.design.feedback_config import FeedbackSpec
from app.design.metric_config import DEFAULT_METRIC, MAX_METRICS, DecisionRule, MetricSpec, RewardSource
from app.design.people_config import ConsentSpec, ContextField, FatigueSpec, ProfileSpec, silent_needed
from app.foundation.errors import FieldError
from app.foundation.fields import Id, Key, Model, invalid, pydantic_fields
from bandits.encoding import FeatureError, encode_action
from bandits.policy import FixedPolicy, PolicyError, parse_policy

MAX_ACTIONS = 1000
MAX_ARMS = 50
MAX_WINDOW_S = 90 * 86_400
SHARE_TOLERANCE = 1e-6
# Left out of the stored document where they are absent, so that one from before they existed stays as it is.
OPTIONAL_PARTS = ("fatigue", "consent", "profile", "context_fields", "retention_s", "feedback", "composition")


Features = Annotated[
    dict[str, Any] | list[dict[str, Any]],
    Field(description="A JSON object (or a list of objects) of strings, numbers, booleans and nested objects."),
]


class ActionSpec(Model):
    """One thing that can be chosen."""

    id: Id
    features: Features = Field(default_factory=dict)
    payload: JsonValue = Field(default=None, description="Handed back with the decision, never read by Loopwise.")


class VariantSpec(ActionSpec):
    """An action of the experiment, which may say something: its message is rendered for each person."""

    template: MessageTemplate | None = Field(
        default=None, description="The message; without one, /v1/messages/decide says nothing when it is chosen."
    )

    @model_serializer(mode="wrap")
    def _without_no_template(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = inner(self)
        return {name: value for name, value in found.items() if name != "template" or value is not None}


class ArmSpec(Model):
    """One policy and its share of the units."""

    key: Key
    share: float = Field(ge=0, le=1, description="Share of the units; all arms' shares sum to 1.")
    policy: dict[str, JsonValue] = Field(
        description='{"type": "fixed", "action": ID}, {"type": "uniform"}, or {"type": "bandit", "algorithm": NAME, '
        '"parameters": {...}, "exploration_floor": SHARE}; see docs/policies.md.',
        examples=[{"type": "bandit", "algorithm": "squarecb", "exploration_floor": 0.05}],
    )


class RewardSpec(Model):
    """How the rewards that arrive for a decision become the one number that is learned from."""

    window_s: float = Field(
        default=600, ge=1, le=MAX_WINDOW_S, description="Seconds that a decision waits for rewards."
    )
    default: float = Field(default=0.0, description="The reward when none arrived within the window.")
    aggregation: Literal["sum", "max", "mean", "first", "last"] = "sum"
    min: float = Field(default=0.0, description="Smallest reward; a reported value below it is refused.")
    max: float = Field(default=1.0, description="Largest reward; a reported value above it is refused.")


class ExperimentConfig(Model):
    """The whole definition of an experiment."""

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
    consent: ConsentSpec | None = Field(default=None, description="What needs a yes; without it nothing does.")
    profile: ProfileSpec | None = Field(default=None, description="What the unit's own past adds to the context.")
    context_fields: list[ContextField] | None = Field(
        default=None, max_length=200, description="The only context fields that are used and stored; without it all."
    )
    retention_s: float | None = Field(
        default=None, ge=86_400, description="Seconds after which decisions lose whatever points to their unit."
    )
    feedback: FeedbackSpec | None = Field(default=None, description="What explicit answers are worth.")
    composition: CompositionSpec | None = Field(
        default=None, description="A message made of slots; its combinations take the place of actions."
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = inner(self)
        return {name: value for name, value in found.items() if name not in OPTIONAL_PARTS or value is not None}

    @property
    def control(self) -> ArmSpec:
        """The arm that the others are compared with: the declared one, or else the first."""
        return next((arm for arm in self.arms if arm.key == self.control_arm), self.arms[0])

    def all_actions(self) -> list[VariantSpec]:
        """The declared actions, or the composition's combinations (their texts are ``composition.Composer``'s)."""
        spec = self.composition
        if spec is None:
            return self.actions
        found = [VariantSpec(id=one.id, features=composed.features_of(spec, one)) for one in spec.combinations]
        return found + ([VariantSpec(id=NOTHING)] if spec.allow_nothing else [])

    def channels(self) -> dict[str, str]:
        """By action that says something, its channel."""
        if self.composition is None:
            return {action.id: action.template.channel for action in self.actions if action.template}
        return {one.id: self.composition.channel for one in self.composition.combinations}

    def all_metrics(self) -> list[MetricSpec]:
        """The declared metrics; the reward comes first unless it was declared in words of its own."""
        if any(isinstance(metric.source, RewardSource) for metric in self.metrics):
            return self.metrics
        primary = any(metric.role == "primary" for metric in self.metrics)
        return [DEFAULT_METRIC.model_copy(update={"role": "secondary" if primary else "primary"}), *self.metrics]


def parse_config(document: Any) -> ExperimentConfig:
    """Check a whole definition.

    :raises Unprocessable: naming every wrong field.
    """
    try:
        config = ExperimentConfig.model_validate(document)
    except ValidationError as error:
        raise invalid(pydantic_fields(error, document)) from None
    _learn_slates(config)
    composition = _composition_problems(config)
    if composition:
        raise invalid(tuple(composition))
    problems = [
        *_action_problems(config.actions),
        *_arm_problems(config),
        *_reward_problems(config.reward),
        *_metric_problems(config),
        *_template_problems(config),
        *_people_problems(config),
    ]
    if problems:
        raise invalid(tuple(problems))
    return config


def _learn_slates(config: ExperimentConfig) -> None:
    """Learning arms of a composed message learn slates, said explicitly in what is stored."""
    for arm in config.arms if config.composition else []:
        if arm.policy.get("type") == "bandit":
            arm.policy = {**arm.policy, "slates": arm.policy.get("slates", True)}


def _composition_problems(config: ExperimentConfig) -> list[FieldError]:
    found = []
    for index, arm in enumerate(config.arms):
        if arm.policy.get("type") == "bandit" and arm.policy.get("slates", False) != (config.composition is not None):
            found.append(FieldError(f"/arms/{index}/policy/slates", "slates_without_composition"))
    if config.composition is not None:
        if config.actions:
            found.append(FieldError("/actions", "actions_and_composition"))
        found += composed.problems(config.composition, config.variables)
    return found


def shares(config: ExperimentConfig) -> dict[str, float]:
    """By arm, its share of the units."""
    return {arm.key: arm.share for arm in config.arms}


def action_problems(actions: Sequence[ActionSpec]) -> list[FieldError]:
    """Duplicate ids, and features that cannot be encoded."""
    return list(_action_problems(actions))


def _action_problems(actions: Sequence[ActionSpec]) -> list[FieldError]:
    problems = []
    seen: dict[str, int] = {}
    for index, action in enumerate(actions):
        first = seen.setdefault(action.id, index)
        if first != index:
            problems.append(FieldError(f"/actions/{index}/id", "action_id_repeated", {"first": f"/actions/{first}"}))
        try:
            encode_action(action.id, action.features)
        except FeatureError as error:
            problems.append(FieldError(f"/actions/{index}/features{error.path}", error.code, error.params))
    return problems


def _template_problems(config: ExperimentConfig) -> list[FieldError]:
    names = [one.name for one in config.variables]
    found = [
        FieldError(f"/variables/{place}/name", "name_taken", {"what": "variable"})
        for place, name in enumerate(names)
        if names.index(name) != place
    ]
    for place, action in enumerate(config.actions):
        if action.template is not None:
            found += template_problems(action.template, config.variables, f"/actions/{place}/template")
    return found


def _people_problems(config: ExperimentConfig) -> list[FieldError]:
    found = []
    ids, speaking = {action.id for action in config.all_actions()}, config.channels()
    if speaking and len(speaking) == len(ids) and silent_needed(config.fatigue, config.consent):
        if config.composition:
            found.append(FieldError("/composition/allow_nothing", "nothing_not_allowed"))
        else:
            found.append(FieldError("/actions", "no_silent_action"))
    for place, cap in enumerate(config.fatigue.caps if config.fatigue else []):
        if cap.action is not None and cap.action not in ids:
            found.append(FieldError(f"/fatigue/caps/{place}/action", "unknown_action"))
    if config.fatigue and config.retention_s is not None and config.retention_s < config.fatigue.lookback_s():
        params = {"lookback": config.fatigue.lookback_s()}
        found.append(FieldError("/retention_s", "retention_too_short", params))
    names = [one.name for one in config.context_fields or []]
    for place, name in enumerate(names):
        if names.index(name) != place:
            found.append(FieldError(f"/context_fields/{place}/name", "name_taken", {"what": "field"}))
    if config.profile and "profile" in names:
        found.append(FieldError("/context_fields", "profile_field_reserved"))
    return found + _feedback_problems(config)


def _feedback_problems(config: ExperimentConfig) -> list[FieldError]:
    spec, low, high = config.feedback, config.reward.min, config.reward.max
    if spec is None:
        return []
    worth: dict[str, float | None] = {"dismissed": spec.dismissed, "not_interested": spec.not_interested}
    if spec.thumbs:
        worth |= {"thumbs/up": spec.thumbs.up, "thumbs/down": spec.thumbs.down}
    if spec.score:
        worth |= {"score/low": spec.score.low, "score/high": spec.score.high}
    worth |= {f"stars/{place}": value for place, value in enumerate(spec.stars or [])}
    worth |= {f"reasons/{name}": value for name, value in (spec.reasons or {}).items()}
    return [
        FieldError(f"/feedback/{path}", "worth_out_of_range", {"low": low, "high": high})
        for path, value in worth.items()
        if value is not None and not low <= value <= high
    ]


def _arm_problems(config: ExperimentConfig) -> list[FieldError]:
    problems = []
    keys, ids = [arm.key for arm in config.arms], {action.id for action in config.all_actions()}
    for index, arm in enumerate(config.arms):
        if keys.index(arm.key) != index:
            problems.append(FieldError(f"/arms/{index}/key", "arm_key_repeated"))
        problems += _policy_problems(index, arm, ids)
    total = math.fsum(arm.share for arm in config.arms)
    if abs(total - 1) > SHARE_TOLERANCE:
        problems.append(FieldError("/arms", "shares_sum", {"total": total, "whole": 1}))
    if config.control_arm is not None and config.control_arm not in keys:
        problems.append(FieldError("/control_arm", "unknown_arm", {"known": keys}))
    return problems


def _policy_problems(index: int, arm: ArmSpec, action_ids: set[str]) -> list[FieldError]:
    try:
        policy = parse_policy(arm.policy)
    except PolicyError as error:
        return [FieldError(f"/arms/{index}/policy{one.path}", one.code, one.params) for one in error.problems]
    if isinstance(policy, FixedPolicy) and action_ids and policy.action not in action_ids:
        return [FieldError(f"/arms/{index}/policy/action", "unknown_action")]
    return []


def _metric_problems(config: ExperimentConfig) -> list[FieldError]:
    keys = [metric.key for metric in config.all_metrics()]
    repeated = {key for key in keys if keys.count(key) > 1}
    problems = [FieldError("/metrics", "metric_key_repeated", {"key": key}) for key in sorted(repeated)]
    if not any(metric.role == "primary" for metric in config.all_metrics()):
        problems.append(FieldError("/metrics", "no_primary_metric"))
    return problems


def _reward_problems(reward: RewardSpec) -> list[FieldError]:
    problems = []
    if not reward.min < reward.max:
        problems.append(FieldError("/reward/max", "max_below_min", {"min": reward.min}))
    elif not reward.min <= reward.default <= reward.max:
        problems.append(FieldError("/reward/default", "default_out_of_range", {"min": reward.min, "max": reward.max}))
    if max(abs(reward.min), abs(reward.max)) > 1e12:
        problems.append(FieldError("/reward", "reward_too_wide"))
    return problems
