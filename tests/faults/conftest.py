"""A durable cluster for each module."""

from collections.abc import Iterator

import pytest

from tests.faults.cluster import Cluster
from tests.service import Client, Web, make_key, running_web


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def durable_url(cluster: Cluster) -> str:
    return cluster.server.url()


@pytest.fixture(scope="module")
def web(durable_url: str) -> Iterator[Web]:
    with running_web(durable_url) as server:
        yield server


@pytest.fixture(scope="module")
def client(web: Web, durable_url: str) -> Client:
    made = web.client(make_key(durable_url))
    made.make("fault", reward={"window_s": 1.0})
    return made
