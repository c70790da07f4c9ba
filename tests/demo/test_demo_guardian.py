"""The guardian's demo against a real web server and worker, shorter: what goes wrong is noticed, and the table says so."""

import io

import pytest

from app.demo import guardian
from app.demo.guardian import Size
from tests.service import Web, make_key, running_worker

# Long enough for six looks before it goes wrong: a watch first learns what is usual.
SHORT = Size(calm=1800, wrong_s=40.0, bot=400)


@pytest.mark.slow
def test_the_demo_tells_what_was_noticed_and_done(web: Web, database_url: str, redis_url: str) -> None:
    out = io.StringIO()
    with running_worker(database_url, redis_url):
        flip, bot, lost = guardian.run(f"http://127.0.0.1:{web.port}", make_key(database_url), out, size=SHORT)
    assert ("learned", "value_fell") in [(incident["arm"], incident["kind"]) for incident in flip.incidents]
    assert ("learned", "rewards_lost") in [(incident["arm"], incident["kind"]) for incident in lost.incidents]
    for course in (flip, bot, lost):
        assert all(decisions > 0 and at > 0 for at, decisions in course.seen)
        before = course.share(-float("inf"), 0.0, 200)
        assert before is not None and before > 0.5, "it had learned before it went wrong"
    at_first = flip.share(0.0, 5.0)
    assert at_first is not None and at_first < 0.5, "what was right is wrong"
    text = out.getvalue()
    for words in ("the best actions", "a bot decides", "value_fell", "rewards_lost", "right at the end"):
        assert words in text, words
