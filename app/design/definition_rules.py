"""The rules between the parts of an experiment's definition. They report all errors at once.

Each part is read by itself, and each rule looks only at parts that can be read. So one error hides no other, and no error is
reported that only follows from another.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from app.content import composition_rules
from app.content.composition_config import CompositionSpec, TooMany
from app.content.message_config import VariableSpec
from app.content.message_templates import problems as template_problems
from app.design import arm_rules, feedback_config
from app.design.arm_rules import ArmParts
from app.design.context import schema
from app.design.context.schema import SchemaField
from app.design.experiment_config import (
    ActionSpec,
    ExperimentConfig,
    FallbackSpec,
    RewardSpec,
    VariantSpec,
    with_reward,
)
from app.design.metric_config import EventSource, MetricSpec
from app.design.people_config import ConsentSpec, ContextField, FatigueSpec, ProfileSpec, silent_needed
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, Key, Readable, invalid, pydantic_fields, repeated
from bandits.encoding import FeatureError, encode_action
from bandits.formula import FormulaError
from bandits.formula import parse as parse_formula

Json = Mapping[str, Any]  # a definition as the caller sent it
_VARIANT: Readable[VariantSpec] = Readable(VariantSpec)
_METRIC: Readable[MetricSpec] = Readable(MetricSpec)
_VARIABLES: Readable[list[VariableSpec]] = Readable(list[VariableSpec])
_COMPOSITION: Readable[CompositionSpec] = Readable(CompositionSpec)
_REWARD: Readable[RewardSpec] = Readable(RewardSpec)
_FATIGUE: Readable[FatigueSpec] = Readable(FatigueSpec)
_CONSENT: Readable[ConsentSpec] = Readable(ConsentSpec)
_PROFILE: Readable[ProfileSpec] = Readable(ProfileSpec)
_CONTEXT_FIELDS: Readable[list[ContextField]] = Readable(list[ContextField])
_CONTEXT_SCHEMA: Readable[list[SchemaField]] = Readable(list[SchemaField])
_FALLBACK: Readable[FallbackSpec] = Readable(FallbackSpec)
_KEY: Readable[str] = Readable(Key)
_NUMBER: Readable[float] = Readable(float)
DAY_S = 86_400.0


class Parts(NamedTuple):
    """A definition as far as it can be read; null: that part cannot, or it is not there."""

    actions: Sequence[VariantSpec | None]
    arms: Sequence[ArmParts]
    reward: RewardSpec | None
    metrics: Sequence[MetricSpec | None]
    variables: list[VariableSpec] | None
    composition: CompositionSpec | None
    fatigue: FatigueSpec | None
    consent: ConsentSpec | None
    profile: ProfileSpec | None
    context_fields: list[ContextField] | None
    context_schema: list[SchemaField] | None

    def action_ids(self, composed: bool) -> set[str] | None:
        """The ids that can be chosen; null where they are not known."""
        if composed:
            try:
                return None if self.composition is None else set(self.composition.action_ids())
            except TooMany:
                return None
        ids = {action.id for action in self.actions if action is not None}
        return None if None in self.actions else ids

    def speaking(self, composed: bool) -> int:
        """How many actions have a message."""
        if composed:
            return len(self.composition.combinations) if self.composition else 0
        return sum(action is not None and action.template is not None for action in self.actions)


WIDEST_REWARD = 1e12  # up to there, learners and sums keep enough digits


def parse_config(document: object) -> ExperimentConfig:
    """Check a whole definition.

    :raises Unprocessable: it names every wrong field.
    """
    config, problems = checked(document)
    if config is None or problems:
        raise invalid(tuple(problems))
    return config


def checked(document: object) -> tuple[ExperimentConfig | None, list[FieldError]]:
    """The definition (null if its form is wrong) and all its errors."""
    problems: list[FieldError] = []
    config = None
    try:
        config = ExperimentConfig.model_validate(document)
        _learn_slates(config)
        parts = _parts_of(config)
    except ValidationError as error:
        problems += pydantic_fields(error, document)
        if not isinstance(document, Mapping):
            return None, problems
        parts = _readable_parts(document)
    paths = {problem.path for problem in problems}
    source = document if isinstance(document, Mapping) else config.model_dump(mode="json")  # type: ignore[union-attr]
    problems += [problem for problem in _rule_problems(source, parts) if problem.path not in paths]
    return config, problems


def _parts_of(config: ExperimentConfig) -> Parts:
    arms = [ArmParts._make(getattr(arm, name) for name in ArmParts._fields) for arm in config.arms]
    readable = {name: getattr(config, name) for name in Parts._fields if name != "arms"}
    return Parts(arms=arms, **readable)


def _readable_parts(document: Json) -> Parts:
    arms = []
    for row in _rows(document, "arms"):
        policy = row.get("policy")
        arms.append(
            ArmParts(
                _KEY.of(row.get("key")),
                _NUMBER.of(row.get("share")),
                policy if isinstance(policy, dict) else None,
                _KEY.of(row.get("lineage_of")),
                _FALLBACK.of(row.get("fallback")),
                row.get("apprentice") is True,
            )
        )
    return Parts(
        actions=[_VARIANT.of(row) for row in _rows(document, "actions")],
        arms=arms,
        reward=_REWARD.of(document.get("reward", {})),
        metrics=[_METRIC.of(row) for row in _rows(document, "metrics")],
        variables=_VARIABLES.of(document.get("variables", [])),
        composition=_COMPOSITION.of(document.get("composition")),
        fatigue=_FATIGUE.of(document.get("fatigue")),
        consent=_CONSENT.of(document.get("consent")),
        profile=_PROFILE.of(document.get("profile")),
        context_fields=_CONTEXT_FIELDS.of(document.get("context_fields")),
        context_schema=_CONTEXT_SCHEMA.of(document.get("context_schema")),
    )


def _rows(document: Json, name: str) -> list[JsonObject]:
    rows = document.get(name)
    return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []


def _learn_slates(config: ExperimentConfig) -> None:
    """Write into the stored policies that learning arms of a composed message learn slates."""
    for arm in config.arms if config.composition else []:
        if arm.policy.get("type") == "bandit":
            arm.policy = {**arm.policy, "slates": arm.policy.get("slates", True)}


def _rule_problems(document: Json, parts: Parts) -> Iterator[FieldError]:
    composed = document.get("composition") is not None
    ids = parts.action_ids(composed)
    if composed:
        if document.get("actions"):
            yield FieldError("/actions", "actions_and_composition")
        yield from composition_rules.problems(document["composition"], parts.composition, parts.variables)
    if document.get("lists") is not None:
        yield from _list_problems(parts, composed)
    yield from _action_problems(parts.actions)
    promoted = bool(document.get("shipped") or document.get("ramp"))
    yield from arm_rules.problems(document.get("control_arm"), parts.arms, ids, composed, promoted=promoted)
    yield from _formula_problems(document.get("reward_formula"))
    if parts.reward is not None:
        yield from _reward_problems(parts.reward)
        yield from feedback_config.problems(document.get("feedback"), parts.reward.min, parts.reward.max)
        yield from _window_problems(document, parts)
    if None not in parts.metrics:
        yield from _metric_problems([metric for metric in parts.metrics if metric is not None])
    yield from _template_problems(parts)
    if parts.context_schema is not None:
        segments = document.get("segments")
        listed = segments if isinstance(segments, list) else []
        yield from schema.problems(parts.context_schema, listed, parts.context_fields or [], parts.metrics)
    yield from _people_problems(document, parts, ids, composed)


def action_problems(actions: Sequence[ActionSpec]) -> list[FieldError]:
    """Duplicate ids, and features that cannot be encoded."""
    return [*_action_problems(actions)]


def _action_problems(actions: Sequence[ActionSpec | None]) -> Iterator[FieldError]:
    for index, first in repeated(None if action is None else action.id for action in actions):
        yield FieldError(f"/actions/{index}/id", "action_id_repeated", {"first": f"/actions/{first}"})
    for index, action in enumerate(actions):
        if action is None:
            continue
        try:
            encode_action(action.id, action.features)
        except FeatureError as error:
            yield FieldError(f"/actions/{index}/features{error.path}", error.code, error.params)


def _template_problems(parts: Parts) -> Iterator[FieldError]:
    if parts.variables is None:  # without them no text can be checked
        return
    for index, _ in repeated(variable.name for variable in parts.variables):
        yield FieldError(f"/variables/{index}/name", "name_taken", {"what": "variable"})
    for index, action in enumerate(parts.actions):
        if action is not None and action.template is not None:
            yield from template_problems(action.template, parts.variables, f"/actions/{index}/template")


def _people_problems(document: Json, parts: Parts, ids: set[str] | None, composed: bool) -> Iterator[FieldError]:
    fatigue = parts.fatigue
    if ids is not None and parts.speaking(composed) == len(ids) > 0 and silent_needed(fatigue, parts.consent):
        if composed:
            yield FieldError("/composition/allow_nothing", "nothing_not_allowed")
        else:
            yield FieldError("/actions", "no_silent_action")
    for index, cap in enumerate(fatigue.caps if fatigue else []):
        if ids is not None and cap.action is not None and cap.action not in ids:
            yield FieldError(f"/fatigue/caps/{index}/action", "unknown_action")
    quiet = fatigue.quiet_hours if fatigue else None
    if quiet and quiet.start == quiet.end:
        yield FieldError("/fatigue/quiet_hours/end", "quiet_hours_of_no_length")
    retention = _NUMBER.of(document.get("retention_s"))
    if fatigue and retention is not None and retention < fatigue.lookback_s():
        yield FieldError("/retention_s", "retention_too_short", {"lookback": fatigue.lookback_s()})
    names = [field.name for field in parts.context_fields or []]
    for index, _ in repeated(names):
        yield FieldError(f"/context_fields/{index}/name", "name_taken", {"what": "field"})
    if parts.profile and "profile" in names:
        yield FieldError("/context_fields", "profile_field_reserved")


def _window_problems(document: Json, parts: Parts) -> Iterator[FieldError]:
    """Windows that are longer than the experiment: no decision would be settled before the rule ends it."""
    rule = document.get("decision_rule")
    days = _NUMBER.of(rule.get("max_days")) if isinstance(rule, dict) else None
    if days is None or days <= 0:
        return
    if parts.reward is not None and parts.reward.window_s > days * DAY_S:
        yield FieldError("/reward/window_s", "window_longer_than_rule", {"days": days})
    for index, metric in enumerate(parts.metrics):
        if metric is not None and metric.window_s is not None and metric.window_s > days * DAY_S:
            yield FieldError(f"/metrics/{index}/window_s", "window_longer_than_rule", {"days": days})


def _list_problems(parts: Parts, composed: bool) -> Iterator[FieldError]:
    """Lists of messages: a call for a message decides one."""
    if composed:
        yield FieldError("/lists", "lists_of_messages")
    for index, action in enumerate(parts.actions):
        if action is not None and action.template is not None:
            yield FieldError(f"/actions/{index}/template", "lists_of_messages")


def _formula_problems(formula: Any) -> Iterator[FieldError]:
    written = formula.get("text") if isinstance(formula, dict) else None
    if isinstance(written, str):
        try:
            parse_formula(written)
        except FormulaError as error:
            yield FieldError("/reward_formula/text", error.code, {"position": error.position})


def problems_of_metric(metric: MetricSpec, pointer: str = "") -> Iterator[FieldError]:
    """What is wrong in one metric by itself; ``pointer`` leads to it."""
    source = metric.source
    if isinstance(source, EventSource) and metric.window_s is None:
        yield FieldError(f"{pointer}/window_s", "event_without_window")
    if isinstance(source, EventSource) and (source.value == "sum") != (source.field is not None):
        yield FieldError(f"{pointer}/source/field", "event_sum_field")


def _metric_problems(declared: list[MetricSpec]) -> Iterator[FieldError]:
    for index, metric in enumerate(declared):
        yield from problems_of_metric(metric, f"/metrics/{index}")
    metrics = with_reward(declared)
    keys = [metric.key for metric in metrics]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield FieldError("/metrics", "metric_key_repeated", {"key": key})
    if not any(metric.role == "primary" for metric in metrics):
        yield FieldError("/metrics", "no_primary_metric")


def _reward_problems(reward: RewardSpec) -> Iterator[FieldError]:
    if not reward.min < reward.max:
        yield FieldError("/reward/max", "max_below_min", {"min": reward.min})
    elif not reward.min <= reward.default <= reward.max:
        yield FieldError("/reward/default", "default_out_of_range", {"min": reward.min, "max": reward.max})
    if max(abs(reward.min), abs(reward.max)) > WIDEST_REWARD:
        yield FieldError("/reward", "reward_too_wide")
