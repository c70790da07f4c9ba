"""The pages of people: for administrators only; counts, one unit's ledger and file, erasures after a typed confirmation."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from app.people import consent_counts, erasure
from tests.page_client import Browser, Page
from tests.people.test_consent_counts import say
from tests.service import Loop, bandit, query, runtime_of

HOSTILE = "<script>alert(1)</script>\u202eevil\"'"


@pytest.fixture(scope="module")
def loop(database_url: str) -> Iterator[Loop]:
    with runtime_of(database_url, LOOPWISE_DECIDE_DEADLINE_S="10", LOOPWISE_STATEMENT_TIMEOUT_S="20") as runtime:
        yield Loop(runtime, database_url)


@pytest.fixture(scope="module", autouse=True)
def empty(admin: Browser) -> Page:
    """The page before anybody said anything."""
    return admin.get("/admin/people")


def test_an_empty_page_says_where_consent_comes_from(empty: Page, admin: Browser, loop: Loop) -> None:
    assert empty.status == 200 and "has not been counted yet" in empty.text and "No erasures yet" in empty.text
    consent_counts.compute(loop.runtime.engine)
    assert "Nobody has answered yet" in admin.get("/admin/people").text


def test_people_are_an_administrators_business(viewer: Browser, editor: Browser, database_url: str) -> None:
    for person in (viewer, editor):
        for address in ("people", "people/unit?id=u", "people/unit/file?id=u", "people/erasures/x"):
            assert person.get(f"/admin/{address}").status == 403
        assert person.post("/admin/people/erasures", {"id": "u", "confirm": "u"}).status == 403
        assert "People</a>" not in person.get("/admin/").html
    assert query(database_url, "SELECT 1 FROM erasures") == []


def test_counts_by_purpose_and_status_with_a_chart(admin: Browser, loop: Loop) -> None:
    for n in range(4):
        say(loop, f"counted-{n}", learn="granted" if n else "denied", message="revoked")
    consent_counts.compute(loop.runtime.engine)
    page = admin.get("/admin/people")
    assert "learn: models may learn from them 3 1 0 75.0%" in page.text
    assert "messages 0 0 4 0.0%" in page.text and "reports may count them 0 0 0 —" in page.text
    assert page.html.count("chart fluid") == 1


def test_one_unit_is_looked_up_and_its_file_downloaded(admin: Browser, loop: Loop) -> None:
    loop.make("known")
    loop.decide("known", [{"unit_id": HOSTILE, "context": {"plan": HOSTILE}}])
    say(loop, HOSTILE, personalise="granted", message="denied")
    page = admin.get(f"/admin/people/unit?id={quote(HOSTILE)}")
    assert page.status == 200 and HOSTILE in page.text and "<script>alert" not in page.html
    assert "message denied they may be sent messages" in page.text and "learn no answer" in page.text
    file = admin.get(f"/admin/people/unit/file?id={quote(HOSTILE)}")
    assert file.headers["Content-Type"] == "application/json" and "attachment" in file.headers["Content-Disposition"]
    stored = json.loads(file.raw)
    assert [decision["context"] for decision in stored["decisions"]] == [{"plan": HOSTILE}] and len(
        stored["ledger"]
    ) == 2
    assert "No entries" in admin.get("/admin/people/unit?id=nobody").text
    for odd in ("", "x" * 2000, "\u00e4" * 600):
        page = admin.get(f"/admin/people/unit?id={quote(odd)}")
        assert page.status == 422 and "1 to 500 characters" in page.text


def test_an_erasure_needs_the_id_typed_and_shows_its_receipt(admin: Browser, loop: Loop, database_url: str) -> None:
    made = loop.make("forgets", arms=bandit())
    decided = loop.decide("forgets", [{"unit_id": "leaver" if n % 4 == 0 else f"u{n}"} for n in range(40)])
    loop.reward([{"decision_id": decision["decision_id"], "value": 1.0} for decision in decided])
    loop.close_windows(made)
    loop.train(made)
    refused = admin.post("/admin/people/erasures", {"id": "leaver", "confirm": "Leaver"})
    assert refused.status == 422 and "This is not the same id" in refused.text and 'value="Leaver"' in refused.html
    assert query(database_url, "SELECT 1 FROM erasures") == []
    page = admin.post("/admin/people/erasures", {"id": "leaver", "confirm": "leaver"})
    assert "The erasure is waiting." in page.text
    assert "waiting leaver" in admin.get("/admin/people").text
    assert query(database_url, "SELECT actor LIKE 'admin-%%' FROM erasures") == [(True,)]
    erasure.run_waiting(loop.runtime.engine, loop.settings)
    done = admin.get(page.address)
    assert "Done." in done.text and "forgets, learned version 1" in done.text
    assert "version 2, which learned 30 decisions" in done.text and "decisions 10" in done.text
    assert "leaver" not in done.text + admin.get("/admin/people").text
    assert admin.get("/admin/people/erasures/unknown").status == 404


def test_odd_ids_are_refused_in_words(admin: Browser, database_url: str) -> None:
    before = query(database_url, "SELECT count(*) FROM erasures")
    for odd in ("", "\0", "a\0b", "x" * 3000):
        assert admin.post("/admin/people/erasures", {"id": odd, "confirm": odd}).status == 422
    assert query(database_url, "SELECT count(*) FROM erasures") == before
