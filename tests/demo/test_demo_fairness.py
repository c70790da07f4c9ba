"""The demo of fairness against a real web server and worker, shorter: the bubble is seen, and the bound cures it at its price."""

import io

import pytest

from app.demo import fairness
from app.demo.fairness import LEAST, Size
from tests.service import Web, make_key, running_worker

SHORT = Size(people=390, visits=15, rate=120.0)


@pytest.mark.slow
def test_the_demo_shows_the_bubble_the_cure_and_the_price(web: Web, database_url: str, redis_url: str) -> None:
    out = io.StringIO()
    with running_worker(database_url, redis_url):
        course = fairness.run(f"http://127.0.0.1:{web.port}", make_key(database_url), out, size=SHORT)
    learned, bounded = course.path("learned"), course.path("bounded")
    assert learned["narrows"] and not bounded["narrows"]
    assert learned["stages"][-1]["entropy"] < 0.9 < bounded["stages"][-1]["entropy"]
    assert learned["change"] < 5 * bounded["change"] <= 0  # what the bound leaves of the narrowing
    smallest = {part["arm"]: part["smallest"] for part in course.report["exposure"] if part["by"] == "topic"}
    assert smallest["bounded"] >= LEAST - 1e-6
    price = course.price
    assert (
        price["cost"] is not None and price["cost_interval"]["low"] <= price["cost"] <= price["cost_interval"]["high"]
    )
    assert 0.0 < price["cost"] < 0.25
    text = out.getvalue()
    for words in ("The filter-bubble curve", "variety at first", "The price of 30%", "the log of the arm that learned"):
        assert words in text, words
