"""The errors of this package, as one tree.

    LoopwiseError
    +-- LoopwiseUnavailable   no usable answer within the deadline; the same ids may be sent again
    +-- Refused               the server read the request and refuses it (4xx); sending it again changes nothing
        +-- BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, Conflict 409, TooLarge 413, Unprocessable 422

No message holds an API key.
"""

from __future__ import annotations

from typing import NamedTuple


class FieldError(NamedTuple):
    """One wrong value in a request."""

    path: str  # where, as a JSON pointer ("/actions/3/id"); "" is the whole body
    message: str  # what is wrong and what to give instead


class LoopwiseError(Exception):
    """Base of every error of this package."""


class LoopwiseUnavailable(LoopwiseError):
    """There was no usable answer in time. The request may have been stored; sending it again with the same ids is safe."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason  # the error of the last attempt
        self.retry_after_s = retry_after_s  # seconds after which the server asks to try again; 0: it did not say


class Refused(LoopwiseError):
    """The server refuses the request; a default action does not hide that."""

    def __init__(self, status: int, code: str, detail: str, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(status, code, detail, errors)
        self.status = status  # of HTTP
        self.code = code  # stable, such as "unknown_experiment"; the server's page /docs/errors explains each
        self.detail = detail  # a sentence or two
        self.errors = errors

    def __str__(self) -> str:
        wrong = "".join(f"\n  {error.path}: {error.message}" for error in self.errors)
        return f"{self.status} {self.code}: {self.detail}{wrong}"


class BadRequest(Refused):
    """400: the request cannot be read."""


class Unauthorized(Refused):
    """401: no valid API key."""


class Forbidden(Refused):
    """403: the API key lacks a scope, or is bound to another experiment."""


class NotFound(Refused):
    """404: an unknown experiment or decision."""


class Conflict(Refused):
    """409: the experiment is not running, or an id was used with another body."""


class TooLarge(Refused):
    """413: the body is over the server's limit."""


class Unprocessable(Refused):
    """422: a value is not possible; ``errors`` names each."""


REFUSALS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: Unprocessable,
}
