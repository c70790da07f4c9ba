"""Analyses on a database of the module's own, filled through the services: decided, rewarded, settled."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from app.services.runtime import Runtime
from tests.analysis.log import Lab
from tests.service import runtime_of


@pytest.fixture(scope="module")
def runtime(database_url: str) -> Iterator[Runtime]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="30", LOOPWISE_STATEMENT_TIMEOUT_S="60") as started:
        yield started


@pytest.fixture(scope="module")
def lab(runtime: Any, database_url: str) -> Lab:
    return Lab(runtime, database_url)


@pytest.fixture(autouse=True)
def numpy_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield
