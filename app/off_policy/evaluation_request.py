"""Defines requests of analysts: candidate policies, and how to evaluate them on the log."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

from pydantic import Field, JsonValue

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError
from app.foundation.fields import Key, Model, Time, invalid
from bandits.policy import BanditPolicy, FixedPolicy, Policy, PolicyError, parse_policy

MAX_CANDIDATES = 100
RESERVED = ("logged", "running", "control", "uniform", "best_fixed")


class CandidateSpec(Model):
    """A policy that never ran: a definition (trained forward through the log when it learns), or a model version."""

    key: Key
    policy: dict[str, JsonValue] | None = Field(
        default=None, description="As an arm's policy: fixed, uniform, or bandit with algorithm and parameters."
    )
    model: dict[str, JsonValue] | None = Field(
        default=None, description='A stored model version, {"arm": KEY, "version": NUMBER}, instead of a policy.'
    )
    features_off: list[str] = Field(
        default_factory=list, max_length=100, description="Top-level context fields that a learned policy does not see."
    )


class EvaluationRequest(Model):
    """Begin on the earlier part of the log, evaluate on the later one, and score no model on what it learned."""

    name: str = Field(default="", max_length=256, description="What you call it.")
    own_id: str | None = Field(
        default=None, min_length=1, max_length=256, description="Your own id, unique within the experiment."
    )
    candidates: list[Key] | None = Field(
        default=None, max_length=MAX_CANDIDATES, description="Keys of stored candidates; without it all of them."
    )
    train_share: float = Field(
        default=0.5, gt=0, lt=1, description="Earlier share of the log: trained on, and not evaluated."
    )
    since: Time | None = Field(default=None, description="Only decisions from this time on, to train and to evaluate.")
    until: Time | None = Field(default=None, description="Only decisions before this time.")
    max_decisions: int = Field(default=100_000, ge=100, le=1_000_000, description="The newest so many are used.")
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    held_out: Literal["with", "without"] = Field(
        default="with", description="Whether decisions that are held out of rounds for suspects are used."
    )


def policy_of(spec: CandidateSpec) -> Policy:
    """The policy of a candidate that is none of a stored model. One that learns does not see the fields that are off.

    :raises PolicyError: it cannot be used.
    """
    policy = parse_policy(spec.policy or {})
    return blinkered(policy, spec.features_off) if isinstance(policy, BanditPolicy) else policy


def blinkered(policy: BanditPolicy, off: Iterable[str]) -> BanditPolicy:
    """A policy that does not see these fields either."""
    return replace(policy, features_off=tuple({*policy.features_off, *off}))


def check_candidate(spec: CandidateSpec, config: ExperimentConfig) -> None:
    """Refuse a candidate that cannot be evaluated.

    For composed messages, this sets ``slates`` of a policy that learns, unless the policy gives it.

    :raises Unprocessable: the error names the field.
    """
    if spec.key in RESERVED:
        raise invalid((FieldError("/key", "candidate_key_reserved", {"key": spec.key}),))
    if (spec.policy is None) == (spec.model is None):
        raise invalid((FieldError("/policy", "policy_or_model"),))
    if spec.model is not None:
        arm, version = spec.model.get("arm"), spec.model.get("version")
        if set(spec.model) != {"arm", "version"} or type(arm) is not str or type(version) is not int:
            raise invalid((FieldError("/model", "not_a_model"),))
        return
    composed = config.composition is not None
    if composed and spec.policy and spec.policy.get("type") == "bandit":
        spec.policy = {**spec.policy, "slates": spec.policy.get("slates", True)}
    try:
        policy = policy_of(spec)
    except PolicyError as error:
        raise invalid(
            tuple(FieldError(f"/policy{problem.path}", problem.code, problem.params) for problem in error.problems)
        ) from None
    if isinstance(policy, BanditPolicy) and policy.slates and not composed:
        raise invalid((FieldError("/policy/slates", "slates_not_composed"),))
    actions = {action.id for action in config.all_actions()}
    if isinstance(policy, FixedPolicy) and actions and policy.action not in actions:
        raise invalid((FieldError("/policy/action", "unknown_action"),))
