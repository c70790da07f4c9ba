"""A small twin of `python -m tests.hostile`: nothing that a client sends is answered with a 5xx, or late."""

import pytest

from tests.hostile.attack import attack, told
from tests.page_client import signed_in
from tests.service import BOTH_FRONTS, make_key, running_web

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("front", BOTH_FRONTS)
def test_hostile_requests_get_an_answer_and_no_server_error(database_url: str, front: str) -> None:
    with running_web(database_url, front=front) as web:
        browser = signed_in(web, database_url, "admin", f"attacker.{front}")
        found = attack(web.client(make_key(database_url)), browser, 800, seed=7)
    assert sum(found.statuses.values()) == 800 and {200, 404, 409, 422} <= set(found.statuses)
    assert found.wrong == [], told(found)
