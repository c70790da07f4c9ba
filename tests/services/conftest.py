"""Services in this process, on a database of the module's own: no web server needed."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.services.runtime import Runtime
from tests.service import Loop, runtime_of


@pytest.fixture(scope="module")
def runtime(database_url: str) -> Iterator[Runtime]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as started:
        yield started


@pytest.fixture(scope="module")
def loop(runtime: Any, database_url: str) -> Loop:
    return Loop(runtime, database_url)
