"""The shapes of answers, for the OpenAPI document; the tests compare real answers with them."""

from typing import Any, Literal

from pydantic import BaseModel, Field, JsonValue

from app.foundation.fields import JsonObject


class ProblemField(BaseModel):
    path: str = Field(description="JSON pointer to the wrong value.")
    code: str = Field(description="What is wrong with it; stable.")
    params: dict[str, JsonValue] = Field(default_factory=dict, description="What the message names, such as a limit.")
    message: str = Field(description="The same in words, which may change.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[ProblemField] = Field(default_factory=list)


class ChosenAction(BaseModel):
    id: str
    payload: Any = None


class Ranked(BaseModel):
    id: str
    probability: float = Field(ge=0, le=1)


class Ineligible(BaseModel):
    id: str
    reason: str = Field(description="In words.")
    code: str | None = Field(default=None, description="Not in decisions from before reasons had codes.")
    params: dict[str, JsonValue] | None = Field(default=None, description="The values that the words name.")


class PartChance(BaseModel):
    part: str
    probability: float = Field(ge=0, le=1)


class SlotAnswer(BaseModel):
    """What one slot of a composed message holds."""

    slot: str = Field(
        description='"say" is where it is decided whether to say something, if saying nothing is allowed.'
    )
    part: str
    propensity: float = Field(gt=0, le=1, description="Its marginal probability, given that something is said.")
    given_above: float = Field(gt=0, le=1, description="Given the slots above; these multiply to the propensity.")
    distribution: list[PartChance] = Field(description="The marginal probabilities of all its parts.")


class PositionAnswer(BaseModel):
    """One position of a list: a decision of its own, with its own reward."""

    position: int = Field(ge=1)
    decision_id: str
    action: ChosenAction
    propensity: float = Field(gt=0, le=1, description="Among the actions that the positions above left.")


class DecideAnswer(BaseModel):
    decision_id: str
    arm: str
    action: ChosenAction
    propensity: float = Field(gt=0, le=1, description="The probability with which this action was really drawn.")
    ranking: list[Ranked] = Field(description="The chosen action, then the others from likely to unlikely.")
    policy_version: int = Field(description="The model version that decided; 0: no trained model took part.")
    ineligible: list[Ineligible]
    slots: list[SlotAnswer] | None = Field(default=None, description="Of a composed message; otherwise not there.")
    positions: list[PositionAnswer] | None = Field(default=None, description="When a list was asked for.")
    unfilled: int | None = Field(default=None, ge=0, description="Positions of the list for which no action was left.")


class Message(BaseModel):
    locale: str = Field(description="Of the text that was used.")
    channel: str
    title: str
    body: str
    call_to_action: str
    asks: str | None = Field(default=None, description="The kind of feedback that it asks for; not there: none.")


class MessageAnswer(DecideAnswer):
    message: Message | None = Field(description="As this person gets it, plain text; null: say nothing.")


class DecideBatchAnswer(BaseModel):
    decisions: list[DecideAnswer]


class RewardAnswer(BaseModel):
    decision_id: str
    reward_id: str
    metric: str
    value: float
    occurred_at: str
    received_at: str
    late: bool = Field(description="True: it came after the reward window; kept and counted, not learned from.")


class RewardBatchAnswer(BaseModel):
    rewards: list[RewardAnswer]


class FeedbackAnswer(BaseModel):
    decision_id: str
    feedback_id: str
    kind: str
    value: str | int | float | None
    comment: str | None
    occurred_at: str
    received_at: str
    late: bool = Field(description="True: it came after the reward window; kept and counted, not learned from.")


class FeedbackBatchAnswer(BaseModel):
    feedback: list[FeedbackAnswer]


class ActivationAnswer(BaseModel):
    decision_id: str
    state: Literal["active"]
    activated: bool = Field(description="False: it was active already.")


class ExperimentAnswer(BaseModel):
    """The configuration as it was given, with defaults, and where the experiment stands."""

    key: str
    status: Literal["draft", "running", "paused", "concluded"]
    config_version: int
    created_at: str
    started_at: str | None
    concluded_at: str | None
    conclusion: str | None
    owner: str = Field(description="Who created it: a user, an API key, or cli.")
    name: str
    hypothesis: str
    actions: list[JsonObject]
    composition: JsonObject | None = Field(default=None, description="Not there when the message is not composed.")
    variables: list[JsonObject]
    arms: list[JsonObject]
    control_arm: str | None
    reward: JsonObject
    metrics: list[JsonObject]
    segments: list[str]
    decision_rule: JsonObject


class ExperimentListAnswer(BaseModel):
    experiments: list[ExperimentAnswer]
    next: str | None = Field(description="Give it as `after` to go on; null at the end.")


class ModelVersionAnswer(BaseModel):
    number: int
    parent: int | None
    kind: Literal["initial", "incremental", "refit", "rebuild"]
    trained_on: int = Field(description="Decisions that this round learned from.")
    examples: int = Field(description="Decisions learned from, with all ancestors'.")
    sha256: str
    serving: bool
    checks: JsonObject
    manifest: JsonObject
    created_at: str
    erased_at: str | None = Field(description="When it was forgotten with a unit that it had learned from.")


class ArmPolicyAnswer(BaseModel):
    arm: str
    serving: int
    problem: str | None = Field(description="Why the newest round did not go into service.")
    versions: list[ModelVersionAnswer]


class PolicyAnswer(BaseModel):
    experiment: str
    arms: list[ArmPolicyAnswer]


class RollbackAnswer(BaseModel):
    experiment: str
    arm: str
    serving: int
    before: int


class RebuildAnswer(BaseModel):
    experiment: str
    arm: str
    status: Literal["waiting"]


class PinAnswer(BaseModel):
    experiment: str
    arm: str
    candidate: str | None
    status: Literal["waiting"]


PROBLEM_STATUSES = ("400", "401", "403", "404", "409", "413", "422", "429", "503")
PROBLEMS: dict[Any, Any] = dict.fromkeys(PROBLEM_STATUSES, Problem)  # flask-openapi gives the app's own to no blueprint
