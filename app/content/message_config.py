"""The definition of a message variant: texts by language for a channel, and the variables that they may name."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from app.foundation.fields import Model, Sparse, names_by_pattern, shaped

PARTS: Final = ("title", "body", "call_to_action")
Channel = Literal["in_app", "push", "email", "sms"]
LocaleKey = Annotated[str, shaped(r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", "locale_shape")]
VariableName = Annotated[str, shaped(r"^[a-z_][a-z0-9_]{0,49}$", "variable_shape")]
VariableValue = Annotated[str, StringConstraints(max_length=2000)] | bool | int | float


class MessageText(Model):
    """The text in one language, in Liquid."""

    title: str = Field(default="", max_length=2000)
    body: str = Field(max_length=20_000, min_length=1)
    call_to_action: str = Field(default="", max_length=500, description="What the button says.")


class MessageTemplate(Sparse):
    """A message variant: what an action says, by language."""

    newer: ClassVar = {"asks": None}

    channel: Channel = "in_app"
    asks: Literal["thumbs", "stars", "score", "reason", "comment"] | None = Field(
        default=None, description="A survey prompt: the kind of feedback that the message asks for."
    )
    texts: dict[LocaleKey, MessageText] = Field(
        json_schema_extra=names_by_pattern,
        min_length=1,
        max_length=50,
        description="By locale, such as en or de-AT; the first is used for all others.",
    )


class VariableSpec(Model):
    """A placeholder that templates may name."""

    name: VariableName
    sample: VariableValue = Field(description="A value for previews and for checking templates.")
    required: bool = Field(
        default=False, description="True: templates need no default; a person without a value does not get the variant."
    )
