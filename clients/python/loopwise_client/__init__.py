"""Decide and reward with Loopwise: typed, sync and async, with retries that count once."""

from loopwise_client.client import AsyncClient, Client
from loopwise_client.errors import (
    BadRequest,
    Conflict,
    FieldError,
    Forbidden,
    LoopwiseError,
    LoopwiseUnavailable,
    NotFound,
    Refused,
    TooLarge,
    Unauthorized,
    Unprocessable,
)
from loopwise_client.model import Action, Decision, Ineligible, Question, Ranked, Receipt, Reward, new_id

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AsyncClient",
    "BadRequest",
    "Client",
    "Conflict",
    "Decision",
    "FieldError",
    "Forbidden",
    "Ineligible",
    "LoopwiseError",
    "LoopwiseUnavailable",
    "NotFound",
    "Question",
    "Ranked",
    "Receipt",
    "Refused",
    "Reward",
    "TooLarge",
    "Unauthorized",
    "Unprocessable",
    "new_id",
]
