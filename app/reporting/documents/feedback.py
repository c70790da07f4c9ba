"""The report on feedback as it is stored, answered and shown. See ``app.reporting.feedback_report``."""

from typing import Literal

from pydantic import Field, JsonValue

from app.foundation.fields import Document
from app.foundation.formats.intervals import IntervalDocument


class AnswerRateDocument(Document):
    """How many decisions were answered."""

    decisions: int
    units: int
    answered: int
    rate: float
    interval: IntervalDocument


class AgreementDocument(Document):
    """How answers and rewards rank the decisions that have both."""

    decisions: int
    units: int
    correlation: float | None
    interval: IntervalDocument


class ResponseBiasDocument(Document):
    """How the implicit rewards of answered decisions differ from those of the others."""

    answered: int
    silent: int
    mean_answered: float | None
    mean_silent: float | None
    difference: float | None
    interval: IntervalDocument


class FeedbackGroup(Document):
    """All decisions, those of one arm, or those with one value of a segment field."""

    group: Literal["all", "arm", "segment"]
    field: str | None  # of a segment
    name: str
    rate: AnswerRateDocument
    agreement: AgreementDocument
    bias: ResponseBiasDocument


class FeedbackKind(Document):
    """Answers of one kind."""

    kind: str
    answers: int
    late: int
    arms: dict[str, int]


class FeedbackWindow(Document):
    """The data behind the report."""

    decisions: int
    units: int
    first: str | None
    last: str | None


class SchemaInForce(Document):
    """The feedback schema in force now."""

    version: int | None
    worth: dict[str, JsonValue] | None  # the schema, as the experiment's definition has it
    applied_at: str | None
    being_computed: int | None = Field(description="A newer schema's version, or null.")
    problem: str | None = Field(description="Why that failed.")
    retry_at: str | None


class StoredFeedback(Document):
    """What people say against what they do, as the worker computed it."""

    answers: int
    late: int
    kinds: list[FeedbackKind]
    window: FeedbackWindow
    groups: list[FeedbackGroup] = Field(description="All, each arm, each segment: rate, agreement, bias.")
    assumptions: list[str]


class FeedbackReport(StoredFeedback):
    """The newest report and the feedback schema in force now."""

    experiment: str
    in_force: SchemaInForce
    computed_at: str | None = Field(description="Null: the worker has not computed it yet.")
    age_s: float | None
    seconds: float | None
