"""An app that answers after a second, so that a test can stop the server in between."""

import asyncio
from typing import Any


class _Slow:
    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """The front of the product starts its parts here."""

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """And ends them here."""

    async def __rsgi__(self, _scope: Any, proto: Any) -> None:
        await asyncio.sleep(1)
        proto.response_bytes(200, [], b"done")


def create_app() -> _Slow:
    """Build the app, in place of app.web.front.create.create_front."""
    return _Slow()
