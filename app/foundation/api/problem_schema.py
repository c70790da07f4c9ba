"""The shape of an error, for the OpenAPI document; each feature's ``api/answers.py`` has the shapes of its answers."""

from typing import Any

from pydantic import BaseModel, Field, JsonValue


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


PROBLEM_STATUSES = ("400", "401", "403", "404", "409", "413", "422", "429", "503")
PROBLEMS: dict[Any, Any] = dict.fromkeys(PROBLEM_STATUSES, Problem)  # flask-openapi gives the app's own to no blueprint
