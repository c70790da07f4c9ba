"""The report of an app about a person's consent."""

from typing import Literal

from pydantic import Field

from app.design.people_config import Purpose
from app.foundation.fields import Id, Model, Time


class ConsentRequest(Model):
    """Report what a person agreed to, or did not agree to."""

    unit_id: Id
    purposes: dict[Purpose, Literal["granted", "denied", "revoked"]] = Field(min_length=1)
    text_version: str = Field(min_length=1, max_length=200, description="Of the text that the person read.")
    source: str = Field(min_length=1, max_length=200, description="Where it was given, such as settings page.")
    occurred_at: Time | None = Field(
        default=None,
        description="When the person said it. A yes needs it: otherwise a retry could undo a later revocation.",
    )
