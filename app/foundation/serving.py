"""What every route and page shares: the process that serves them, and the mark that opens a route to everybody."""

from typing import Protocol

from flask import current_app
from sqlalchemy import Engine

from app.foundation.settings import Settings

PUBLIC = "public"  # the scope of a route that needs no API key


class Process(Protocol):
    """A serving process, as far as features that do not decide need to know it."""

    @property
    def settings(self) -> Settings: ...

    @property
    def engine(self) -> Engine: ...

    def refresh(self) -> object:
        """Read the newest configuration now, so that a change that was just made applies in this process."""
        ...


def process() -> Process:
    """The process that serves this request."""
    serving: Process = current_app.extensions["loopwise"]
    return serving
