"""One web server for each module, and a client that may do everything but administrate."""

from collections.abc import Iterator

import pytest

from tests.service import Client, Web, make_key, running_web


@pytest.fixture(scope="module")
def web(database_url: str) -> Iterator[Web]:
    with running_web(database_url) as server:
        yield server


@pytest.fixture(scope="module")
def client(web: Web, database_url: str) -> Client:
    return web.client(make_key(database_url))
