"""The errors that callers of Loopwise can meet, as one tree; each becomes one RFC 9457 problem document.

    LoopwiseError
    +-- BadRequest            400  malformed JSON, duplicate keys, wrong shape of the whole body
    +-- Unauthorized          401  no key, or one that is not known
    +-- Forbidden             403  the key lacks the scope, or is bound to another experiment
    +-- NotFound              404  unknown experiment, decision, version
    +-- Conflict              409  same id with another body, paused experiment, a forbidden change
    +-- TooLarge              413  body over the limit
    +-- Unprocessable         422  well-formed, but a value is not possible; ``fields`` says which
    +-- TooManyRequests       429  more is waiting than the process takes
    +-- Unavailable           503  the database did not answer in time; safe to retry with the same id

A message says what is wrong and what to change. It never carries a secret, a stack or SQL. ``code`` is stable and
documented in ``docs/errors.md``; a test holds the two together.
"""

from typing import ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One wrong value in a request."""

    path: str  # where, as a JSON pointer ("/actions/3/id"); "" is the whole body
    message: str  # what is wrong and what to give instead


class LoopwiseError(Exception):
    """Base of every error that a caller may see."""

    status: ClassVar[int] = 500
    title: ClassVar[str] = "Loopwise failed"

    def __init__(self, code: str, detail: str, fields: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.code = code  # stable, snake_case
        self.detail = detail  # a sentence or two
        self.fields = fields


class BadRequest(LoopwiseError):
    status = 400
    title = "The request cannot be read"


class Unauthorized(LoopwiseError):
    status = 401
    title = "A valid API key is needed"


class Forbidden(LoopwiseError):
    status = 403
    title = "This API key may not do that"


class NotFound(LoopwiseError):
    status = 404
    title = "There is no such thing"


class Conflict(LoopwiseError):
    status = 409
    title = "The request contradicts what is stored"


class TooLarge(LoopwiseError):
    status = 413
    title = "The request is too large"


class Unprocessable(LoopwiseError):
    status = 422
    title = "A value in the request is not possible"


class TooManyRequests(LoopwiseError):
    status = 429
    title = "Too much is waiting"


class Unavailable(LoopwiseError):
    status = 503
    title = "The log cannot be written or read now"
