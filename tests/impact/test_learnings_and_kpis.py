"""What was decided is found by its words and exported; figures of all experiments equal those of the rows."""

import csv
import io

import pytest

from app.design import history
from app.impact import kpis, learnings
from app.promotion import shipping
from app.reporting import results
from tests.lab import AB, Lab
from tests.page_client import Browser
from tests.reporting.test_event_metrics import first_seen, happen, purchase
from tests.service import Client


@pytest.fixture(scope="module", autouse=True)
def decided(lab: Lab) -> None:
    for key, reason in (("green", "it sells more tea"), ("blue", "=cmd() wins")):
        lab.make(key, arms=AB, control_arm="control", hypothesis=f"{key} buttons are pressed more")
        lab.play(key, [{"unit_id": f"u{n}"} for n in range(120)], lambda _, row: float(row["arm"] == "treated"))
        results.compute(lab.runtime.engine, key)
        shipping.ship(lab.runtime.engine, key, shipping.ShipRequest(arm="treated", reason=reason), "ann")
    history.add_note(lab.runtime.engine, "green", "ask the tea people again", "bob")


def test_learnings_are_found_by_their_words_with_who_and_why(lab: Lab) -> None:
    engine = lab.runtime.engine
    (shipped,) = learnings.find(engine, "TEA ann").learnings
    assert (shipped.experiment, shipped.kind, shipped.arm, shipped.actor) == ("green", "shipped", "treated", "ann")
    assert shipped.hypothesis.startswith("green") and shipped.metric is not None
    assert [row.kind for row in learnings.find(engine, experiment="green").learnings] == ["note", "shipped"]
    assert learnings.find(engine, "no such words").learnings == []


def test_the_page_the_file_and_the_route_say_the_same(client: Client, viewer: Browser) -> None:
    page = viewer.get("/admin/learnings?search=tea")
    assert "it sells more tea" in page.text and "2 of 2" in page.text
    assert "What was decided about this experiment" in viewer.get("/admin/experiments/green/results").text
    rows = list(csv.DictReader(io.StringIO(viewer.get("/admin/learnings.csv?experiment=blue").raw.decode())))
    assert rows[0]["reason"].lstrip("'") == "=cmd() wins" and not rows[0]["reason"].startswith("=")
    body = client.get("/v1/learnings?experiment=blue").body
    assert [row["actor"] for row in body["learnings"]] == ["ann"]


def test_kpis_equal_the_rows_by_day_week_and_cohort(lab: Lab, client: Client, viewer: Browser) -> None:
    assert "once the worker has computed" in viewer.get("/admin/impact").text
    for days in (3, 9):
        for key in ("green", "blue"):
            lab.age(key, float(days))
        lab.play("green", [{"unit_id": f"u{n}"} for n in range(30)], lambda *_: 1.0)
    happen(lab, [purchase(unit, 0, first) for unit, (_, first) in list(first_seen(lab, "green").items())[:7]])
    kpis.compute(lab.runtime.engine)
    figures = client.get("/v1/kpis").body
    assert (
        sum(day["decisions"] for day in figures["days"]) == 300 == sum(week["decisions"] for week in figures["weeks"])
    )
    assert [day["units"] for day in figures["days"]] == [120, 30, 30]
    assert [day["new_units"] for day in figures["days"]] == [120, 0, 0]
    assert sum(day["events"].get("purchase", 0) for day in figures["days"]) == 7
    (cohort,) = figures["cohorts"]
    assert cohort["units"][0] == 120 and max(cohort["units"][1:]) == 30
    assert "First seen in the week from" in viewer.get("/admin/impact").text
    assert not kpis.compute_due(lab.runtime.engine)
