"""The shapes of this feature's answers, for the OpenAPI document; the tests compare real answers with them."""

from typing import Literal

from pydantic import BaseModel, Field

from app.content.composition_config import CompositionSpec
from app.content.message_config import VariableSpec
from app.design.context.schema import SchemaField
from app.design.experiment_config import ArmSpec, ListSpec, RewardSpec, VariantSpec
from app.design.feedback_config import FeedbackSpec
from app.design.metric_config import DecisionRule, MetricSpec
from app.design.people_config import ConsentSpec, ContextField, FatigueSpec, ProfileSpec
from app.design.promotion_config import Ramp, Shipped
from app.design.safety_config import SafetySpec
from app.foundation.fields import JsonObject


class ExperimentAnswer(BaseModel):
    """The configuration as it was given, with defaults, and where the experiment stands."""

    key: str
    status: Literal["draft", "running", "paused", "concluded"]
    config_version: int
    created_at: str
    started_at: str | None
    concluded_at: str | None
    archived_at: str | None = Field(description="Lists of the pages leave it out since then.")
    starts_at: str | None = Field(description="When it starts by itself; null: a person starts it.")
    ends_at: str | None = Field(description="When it is concluded by itself; null: a person concludes it.")
    conclusion: str | None
    owner: str = Field(description="Who created it, or was made its owner: a user, an API key, or cli.")
    tags: list[str]
    name: str
    hypothesis: str
    actions: list[VariantSpec]
    composition: CompositionSpec | None = Field(default=None, description="Not there when the message is not composed.")
    lists: ListSpec | None = Field(default=None, description="Not there when the app asks for single actions.")
    variables: list[VariableSpec]
    arms: list[ArmSpec]
    control_arm: str | None
    reward: RewardSpec
    metrics: list[MetricSpec]
    segments: list[str]
    decision_rule: DecisionRule
    fatigue: FatigueSpec | None = Field(default=None, description="This and the next nine are not there if not set.")
    consent: ConsentSpec | None = None
    profile: ProfileSpec | None = None
    context_schema: list[SchemaField] | None = None
    context_fields: list[ContextField] | None = None
    retention_s: float | None = None
    feedback: FeedbackSpec | None = None
    safety: SafetySpec | None = None
    shipped: Shipped | None = None
    ramp: Ramp | None = None


class ExperimentListAnswer(BaseModel):
    experiments: list[ExperimentAnswer]
    next: str | None = Field(description="Give it as `after` to go on; null at the end.")


class DeletedAnswer(BaseModel):
    key: str
    deleted: bool


class ModelVersionAnswer(BaseModel):
    number: int
    parent: int | None
    kind: Literal["initial", "incremental", "refit", "rebuild", "relearned", "challenger", "staged", "copied", "warm"]
    trained_on: int = Field(description="Decisions that this round learned from.")
    examples: int = Field(description="Decisions learned from, with all ancestors'.")
    sha256: str
    serving: bool
    checks: JsonObject = Field(description="What was tried before it served, and what that gave.")
    manifest: JsonObject = Field(description="How it was learned; its format has a version.")
    created_at: str
    erased_at: str | None = Field(
        description="When its bytes were forgotten with a unit that it had learned from, or learned again without that unit."
    )


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
