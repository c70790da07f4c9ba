"""Defines requests of analysts: candidate policies, and how to evaluate them on the log."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Final, Literal

from pydantic import Field, JsonValue

from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError
from app.foundation.fields import Key, Model, Time, invalid
from bandits.exposure import WINDOWS, parse_exposure
from bandits.parameters import INTERACTIONS
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


class PriceQuestion(Model):
    """What bounds on exposure would cost: an arm's own choices as they were, moved into each of these bounds."""

    arm: Key = Field(description="A learning arm.")
    by: str = Field(min_length=1, max_length=200, description='A text feature of the actions, or "action".')
    bound: Literal["least", "most", "parity"] = Field(
        default="least", description="Which member of a policy's `exposure` is varied."
    )
    values: list[float] | None = Field(
        default=None,
        min_length=1,
        max_length=12,
        description="The bounds to value; without it eight steps from no bound to equal shares.",
    )
    window: int | None = Field(
        default=None,
        ge=WINDOWS[0],
        le=WINDOWS[1],
        description="The bounds are a target over so many newest decisions; without it they hold in every decision.",
    )


Algorithm = Literal[
    "auto", "thompson", "squarecb", "epsilon_greedy", "softmax", "bag", "cover", "regcb", "first"
]  # tests hold it to LEARNERS and ALGORITHMS
DEFAULT_ALGORITHMS: Final[tuple[Algorithm, ...]] = (
    "auto",
    "thompson",
    "squarecb",
    "epsilon_greedy",
    "softmax",
    "regcb",
)
Floor = Annotated[float, Field(ge=0.001, le=1)]
Rate = Annotated[float, Field(ge=0.0001, le=10)]


class Space(Model):
    """What may differ between the policies of a search."""

    algorithms: list[Algorithm] = Field(default=list(DEFAULT_ALGORITHMS), min_length=1, max_length=9)
    exploration_floors: list[Floor] = Field(default=[0.01, 0.05], min_length=1, max_length=10)
    learning_rates: list[Rate] = Field(
        default=[0.1, 0.5, 1.0], min_length=1, max_length=10, description="Of Vowpal Wabbit's algorithms."
    )
    interactions: list[list[str]] = Field(
        default=[["context*action"], ["context*action", "context*context*action"]],
        min_length=1,
        max_length=10,
        description=f"Of Vowpal Wabbit's algorithms; each a list of names from {', '.join(INTERACTIONS)}.",
    )
    scaling: list[bool] = Field(
        default=[False, True], min_length=1, max_length=2, description="Of Vowpal Wabbit's algorithms."
    )


class Tune(Model):
    """Search many policies on the earlier part of the log, before the best of them are evaluated on the later one."""

    points: int = Field(default=50, ge=2, le=200, description="Policies that are tried, the default one among them.")
    finalists: int = Field(default=3, ge=1, le=5, description="How many are stored as candidates and evaluated.")
    choose_share: float = Field(
        default=1 / 3, gt=0, lt=1, description="Later share of the earlier part: not learned from, but chosen by."
    )
    space: Space = Field(default_factory=Space)
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="Of the draw of policies from the space.")
    budget_s: float = Field(default=300, ge=1, le=3600, description="After so long no further policy is tried.")


class TuneRequest(Model):
    """A search for a better policy: train, choose and test on three parts of the log, by time."""

    tune: Tune = Field(default_factory=Tune)
    test_share: float = Field(default=0.25, gt=0, lt=1, description="Newest share of the log: seen by no choice.")
    since: Time | None = Field(default=None, description="Only decisions from this time on.")
    until: Time | None = Field(default=None, description="Only decisions before this time.")
    max_decisions: int = Field(default=100_000, ge=400, le=1_000_000, description="The newest so many are used.")
    alpha: float = Field(default=0.05, gt=0, lt=0.5)


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
    tune: Tune | None = Field(
        default=None, description="Search policies on the earlier part first; `POST .../policy/search` sets it."
    )
    price: PriceQuestion | None = Field(default=None, description="Also say what bounds on exposure would cost.")


def check_price(question: PriceQuestion, learning: Sequence[str]) -> None:
    """Refuse a question about an arm that does not learn, or about bounds that no policy may have.

    :param learning: keys of the learning arms.
    :raises Unprocessable: the error names the field.
    """
    if question.arm not in learning:
        raise invalid((FieldError("/price/arm", "arm_does_not_learn", {"arm": question.arm, "known": [*learning]}),))
    for index, value in enumerate(question.values or []):
        try:
            parse_exposure({"by": question.by, question.bound: value})
        except ValueError:
            raise invalid((FieldError(f"/price/values/{index}", "policy_exposure"),)) from None


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
