"""What the front uses of RSGI, granian's interface between its server and an event loop; granian's classes have no types."""

from collections.abc import AsyncIterator, Awaitable
from typing import Protocol

Pairs = list[tuple[str, str]]


class Headers(Protocol):
    """The headers of a request, by their names in small letters."""

    def __contains__(self, name: str) -> bool: ...
    def get(self, name: str, default: str | None = None) -> str | None: ...
    def items(self) -> Pairs: ...


class Scope(Protocol):
    """A request without its body."""

    http_version: str
    server: str  # "address:port", as client
    client: str
    scheme: str
    method: str
    path: str  # decoded
    query_string: str

    @property
    def headers(self) -> Headers: ...


class Transport(Protocol):
    """A stream to the caller."""

    def send_bytes(self, data: bytes) -> Awaitable[None]: ...


class Proto(Protocol):
    """The rest of a request, and the way to answer it."""

    def __call__(self) -> Awaitable[bytes]: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def client_disconnect(self) -> Awaitable[None]: ...
    def response_empty(self, status: int, headers: Pairs) -> None: ...
    def response_bytes(self, status: int, headers: Pairs, body: bytes) -> None: ...
    def response_stream(self, status: int, headers: Pairs) -> Transport: ...
