"""The Python client against a real server, once with threads and once with asyncio."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.clients.support import KINDS, Between, Step
from tests.service import Client as Plain
from tests.service import Web

EXPERIMENT = "client"


@pytest.fixture(scope="module", autouse=True)
def experiment(client: Plain) -> str:
    client.make(EXPERIMENT)
    return EXPERIMENT


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest, web: Web, client: Plain) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind, by default for this web server; closes them at the end."""
    made: list[Any] = []

    def new(url: str = f"http://127.0.0.1:{web.port}", key: str = client.key, **options: Any) -> Any:
        made.append(KINDS[request.param](url, key, **{"deadline_s": 10.0, **options}))
        return made[-1]

    yield new
    for opened in made:
        opened.close()


@pytest.fixture
def loopwise(connect: Callable[..., Any]) -> Any:
    """A client of either kind."""
    return connect()


@pytest.fixture
def between(web: Web) -> Iterator[Callable[..., Between]]:
    """Makes proxies in front of the web server that follow a script."""
    made: list[Between] = []

    def new(*script: Step, steps: Iterable[Step] = ()) -> Between:
        made.append(Between(web.port, [*script] or steps).__enter__())
        return made[-1]

    yield new
    for server in made:
        server.__exit__()
