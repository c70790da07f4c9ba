"""The shapes of this feature's answers, for the OpenAPI document; the tests compare real answers with them."""

from pydantic import BaseModel, Field, JsonValue


class ChosenAction(BaseModel):
    id: str
    payload: JsonValue = None


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
    test: bool | None = Field(default=None, description="True: a trial, which counts nowhere; otherwise not there.")
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
