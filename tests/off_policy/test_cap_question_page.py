"""The question of another cap as a page: from a log that was collected under a looser one; and private reports."""

import re
from collections.abc import Iterator

import pytest

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.format import number, signed
from app.off_policy.pages.cap_question import asked_first
from app.reporting import privacy
from tests.off_policy.test_cap_evaluation import ACTIONS, WEEK_S, collect
from tests.page_client import Browser
from tests.service import Client, definition, query

CAP = {"caps": [{"limit": 3, "window_s": WEEK_S}]}
ONE = "/admin/experiments"


@pytest.fixture(scope="module")
def asked(client: Client, database_url: str) -> str:
    client.make("weekly", actions=ACTIONS, fatigue=CAP)
    collect(client, database_url, "weekly", units=300, days=5, cap=3)
    return f"{ONE}/weekly/off-policy/cap"


def test_the_answer_is_told_with_its_interval_and_assumptions(asked: str, viewer: Browser, client: Client) -> None:
    page = viewer.get(
        f"{asked}?/cap/limit=2&/cap/window_s=7&/cap/window_s:unit=days&/cap/channel=&/cap/across=platform"
    )
    assert page.status == 200 and page.html.count("chart fluid") == 2
    body = {"cap": {"limit": 2, "window_s": WEEK_S}, "max_decisions": 10_000}
    found = client.post("/v1/experiments/weekly/cap-evaluations", body).body
    low, high = found["difference_interval"]  # of this run's draws; the units' arms are by chance
    told = "have earned more" if low > 0 else "have earned less" if high < 0 else "No difference is shown"
    assert (told if found["trusted"] else "Do not rely on this answer") in page.text
    assert f"{number(found['value'])} per unit under the cap" in page.text
    assert f"{signed(found['difference'])} difference to what was {signed(low)} to {signed(high)}" in page.text
    assert (
        "effective units" in page.text
        and "Where the cap is reached" in page.text
        and "of 1,500, of 300 units" in page.text
    )
    same = viewer.get(f"{asked}?/cap/limit=3&/cap/window_s=168&/cap/window_s:unit=hours")
    assert "No difference is shown" in same.text


def test_the_off_policy_tab_asks_it_where_there_are_messages(asked: str, viewer: Browser, client: Client) -> None:
    tab = viewer.get(f"{ONE}/weekly/off-policy")
    assert "What would another cap be worth?" in tab.text and 'name="/cap/limit" type="text" value="2"' in tab.html
    client.make("mute")
    assert "another cap" not in viewer.get(f"{ONE}/mute/off-policy").text
    assert "no action of this experiment has a message" in viewer.get(f"{ONE}/mute/off-policy/cap").text.lower()


def test_mistakes_stand_beside_their_fields(asked: str, viewer: Browser, client: Client) -> None:
    page = viewer.get(f"{asked}?/cap/limit=many&/cap/window_s=-1&/cap/window_s:unit=days")
    assert page.status == 422 and "Write a whole number" in page.text and "Give at least 1 second." in page.text
    assert 'value="many"' in page.html and 'value="-1"' in page.html
    for odd in (
        "/cap/limit=2.5&/cap/window_s=7",
        "/cap/limit=1e300&/cap/window_s=nan",
        "/cap/limit=&/cap/window_s=",
        "/cap/limit=2&/cap/window_s=7&/cap/channel=x&/cap/across=y",
    ):
        assert viewer.get(f"{asked}?{odd}").status == 422, odd
    client.make("unasked", actions=ACTIONS)
    empty = viewer.get(f"{ONE}/unasked/off-policy/cap?/cap/limit=2&/cap/window_s=7&/cap/window_s:unit=days")
    assert empty.status == 422 and "no settled decisions yet" in empty.text
    assert viewer.get(f"{ONE}/ghost/off-policy/cap").status == 404


@pytest.mark.parametrize("window_s", [60.0, 90.0, 3600.0, WEEK_S, 42.0, 1.0])
def test_the_form_begins_with_one_less_than_the_first_cap(window_s: float) -> None:
    fatigue = {"caps": [{"limit": 3, "window_s": window_s}]}
    config = ExperimentConfig.model_validate(definition("k", actions=ACTIONS, fatigue=fatigue))
    given = asked_first(config)
    assert given["limit"] == "2"
    unit = {"minutes": 60, "hours": 3600, "days": 86_400}[given["window_s:unit"]]
    assert float(given["window_s"]) * unit == pytest.approx(window_s, rel=1e-5)


@pytest.fixture(scope="module")
def reports(asked: str) -> Iterator[str]:
    return f"{ONE}/weekly/private-reports"


def test_a_private_report_is_given_by_an_editor_and_spends_the_budget(
    reports: str, viewer: Browser, editor: Browser
) -> None:
    page = viewer.get(reports)
    assert page.status == 200 and "None yet" in page.text and "Give a report" not in page.text
    assert viewer.post(reports, {"epsilon": "1"}).status == 403
    assert "Private reports" in editor.get(f"{ONE}/weekly/results").text
    given = editor.post(reports, {"epsilon": "1"})
    assert given.status == 200 and "epsilon 1" in given.text and "2 epsilon left" in given.text and "± " in given.text
    found = re.search(r"all (\d+) 0\.\d+ ±", given.text)
    assert found and abs(int(found[1]) - 300) < 60  # noise of scale 2: further away once in 10**13 reports
    assert "Asked for by editor-" in viewer.get(reports).text


def test_a_budget_that_is_spent_and_odd_epsilons_are_told_beside_the_field(
    reports: str, editor: Browser, database_url: str
) -> None:
    before = query(database_url, "SELECT count(*) FROM privacy_ledger")
    for odd in ("", "0", "-1", "nan", "inf", "1e9", "much", "\0"):
        page = editor.post(reports, {"epsilon": odd})
        assert page.status == 422 and "Give a number from 0.001 to 100" in page.text, odd
    page = editor.post(reports, {"epsilon": "99"})
    assert page.status == 409 and "this report asks for 99" in page.text and 'value="99"' in page.html
    assert query(database_url, "SELECT count(*) FROM privacy_ledger") == before
    assert editor.get(f"{ONE}/ghost/private-reports").status == 404


def test_whether_the_mechanism_is_there_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert privacy.installed()
    monkeypatch.setattr(privacy.importlib.util, "find_spec", lambda name: None)
    assert not privacy.installed()
