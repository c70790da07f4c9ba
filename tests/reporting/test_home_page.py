"""The home page: what needs somebody, one's own experiments first, totals; and the list for a search."""

import re
from typing import Any

import numpy as np
import pytest

from app.design import experiments
from app.reporting import activity, results
from tests.lab import AB, Lab
from tests.page_client import Browser, signed_in
from tests.service import Client, Web, definition, query


def test_wherever_a_page_of_the_list_begins_it_shows_experiments(viewer: Browser, client: Client) -> None:
    client.make("listed", start=False)
    for start in ("0", "999999", "x", "-1", "9" * 30):
        page = viewer.get(f"/admin/?search=listed&from={start}")
        assert page.status == 200
        assert "listed" in page.html.partition("<tbody>")[2], start


def row_of(html: str, key: str) -> str:
    """An experiment's row as text."""
    rows = [row for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL) if f"<code>{key}</code>" in row]
    assert len(rows) == 1, (key, len(rows))
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", rows[0]))


@pytest.fixture(scope="module")
def better(lab: Lab) -> str:
    rng = np.random.default_rng(1)
    lab.make("better", arms=AB, control_arm="control", decision_rule={"planned_units": 4000})
    rates = {"control": 0.2, "treated": 0.4}
    lab.play(
        "better",
        [{"unit_id": f"u{n}"} for n in range(1500)],
        lambda _, one: float(rng.random() < rates[one["arm"]]),
    )
    activity.compute(lab.runtime.engine, "better")
    results.compute(lab.runtime.engine, "better")
    return "better"


def test_a_verdict_needs_somebody_until_it_is_done(better: str, lab: Lab, editor: Browser) -> None:
    page = editor.get("/admin/")
    needs = page.html.partition('id="needs"')[2].partition("</section>")[0]
    assert "The rule says: ship treated" in needs and "/admin/experiments/better/results" in needs
    experiments.move(lab.runtime.engine, better, "pause", "test")
    assert "The rule says: ship treated" not in editor.get("/admin/").text
    experiments.move(lab.runtime.engine, better, "start", "test")


def test_ones_own_experiments_come_first_with_a_small_line(better: str, lab: Lab, web: Web, database_url: str) -> None:
    browser = signed_in(web, database_url, "editor", "owner-of-one")
    query(database_url, "UPDATE experiments SET owner = 'owner-of-one' WHERE key = %s", better)
    lab.make("not-mine")
    html = browser.get("/admin/").html
    own, _, others = html.partition("All other experiments")
    assert "Your and starred experiments" in own and "<code>better</code>" in own and "<code>not-mine</code>" in others
    assert 'class="chart spark"' in own and 'class="chart spark"' not in others
    assert own.count("<code>better</code>") == 1


def test_a_result_is_shown_only_with_its_interval(better: str, lab: Lab, viewer: Browser) -> None:
    assert re.search(r"\+\d+\.\d% Reward per decision, treated \+", row_of(viewer.get("/admin/").html, better))
    lab.make("few", arms=AB, control_arm="control", decision_rule={"planned_units": 100, "min_days": 7})
    lab.play("few", [{"unit_id": f"u{n}"} for n in range(38)], lambda *_: 1.0)
    results.compute(lab.runtime.engine, "few")
    assert "no result yet, 38% of planned sample" in row_of(viewer.get("/admin/").html, "few")
    assert re.search(r"expected end 20\d\d-\d\d-\d\d", row_of(viewer.get("/admin/").html, "few"))
    assert "38 of 100 users planned (38%) are settled" not in viewer.get("/admin/").text
    activity.compute(lab.runtime.engine, "few")
    assert "38 of 100 users planned (38%) are settled." in viewer.get("/admin/experiments/few/").text


def test_totals_and_drafts(better: str, lab: Lab, editor: Browser, viewer: Browser) -> None:
    page = viewer.get("/admin/")
    running = query(lab.database_url, "SELECT count(*) FROM experiments WHERE status = 'running'")[0][0]
    assert f"{running} experiments running" in page.text
    assert re.search(r"[\d,]+ decisions [\d,]+ today", page.text)
    draft = editor.post("/admin/drafts").address
    values = {"version": editor.version(draft), "/name": "Half done", "do": "save"}
    editor.post(draft, values)
    assert "Draft: Half done" in editor.get("/admin/").text
    assert "Half done" not in viewer.get("/admin/").text


def test_deliveries_that_fail_and_webhooks_that_are_silent_need_somebody(
    client: Client, viewer: Browser, admin: Browser, database_url: str
) -> None:
    assert client.post("/v1/webhooks", {"key": "mute", "url": "https://hook.example.com/"}).status == 201
    query(database_url, "UPDATE webhooks SET silent_since = now() WHERE key = 'mute'")
    insert = (
        "INSERT INTO deliveries (decision_id, experiment_id, unit_id, message, status, finished_at)"
        " SELECT 'd' || n, 1, 'u', '{}', 'failed', now() - make_interval(hours => n * 16) FROM generate_series(1, 3) n"
    )
    query(database_url, insert)
    text = viewer.get("/admin/").text
    assert "1 delivery failed within the last day" in text and "The webhook mute does not answer" in text
    assert 'href="/admin/webhooks/mute"' in admin.get("/admin/").html
    assert 'href="/admin/webhooks/mute"' not in viewer.get("/admin/").html


def test_a_search_shows_the_list_alone(better: str, viewer: Browser) -> None:
    page = viewer.get("/admin/?search=better")
    assert "Needs attention" not in page.text and "experiments running" not in page.text
    assert "better" in page.text


def test_a_list_of_very_different_experiments_is_shown(lab: Lab, viewer: Browser) -> None:
    hostile: dict[str, Any] = {"name": '<script>alert(1)</script>"'}
    experiments.create(lab.runtime.engine, lab.settings, definition("hostile", **hostile), "<i>ann</i>")
    html = viewer.get("/admin/").html
    assert "<script>alert" not in html and "<i>ann" not in html and "not started" in row_of(html, "hostile")


def test_nothing_is_archived_where_no_row_can_be_selected(client: Client, editor: Browser) -> None:
    client.make("runs-on")
    assert "Archive the selected" not in editor.get("/admin/?status=running").text
    client.make("still-a-draft", start=False)
    assert "Archive the selected" in editor.get("/admin/?status=draft").text
