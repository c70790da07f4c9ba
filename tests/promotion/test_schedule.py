"""Experiments that start and end by themselves, on the clock of the person who scheduled them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from app.design import experiments
from app.foundation.errors import Conflict, Unprocessable
from app.promotion import schedule, shipping
from app.promotion.schedule import ScheduleRequest
from app.promotion.shipping import ShipRequest
from tests.lab import AB, Lab
from tests.page_client import Browser, signed_in
from tests.service import Client, Web, definition, query

SOON = timedelta(hours=1)


def draft(lab: Lab, key: str) -> str:
    experiments.create(lab.runtime.engine, lab.settings, definition(key, arms=AB, control_arm="control"), "ann")
    return key


def come(lab: Lab, key: str) -> list[str]:
    """Let the scheduled times come, and the worker look twice."""
    query(
        lab.database_url,
        "UPDATE experiments SET starts_at = starts_at - interval '1 day', ends_at = ends_at - interval '1 day' WHERE key = %s",
        key,
    )
    done = schedule.run_due(lab.runtime.engine)
    assert schedule.run_due(lab.runtime.engine) == []
    lab.runtime.snapshots.refresh()
    return done


def plan(lab: Lab, key: str, **times: object) -> None:
    schedule.plan(lab.runtime.engine, key, ScheduleRequest.model_validate(times), "ann")


def test_a_draft_starts_and_then_ends_with_the_control(lab: Lab) -> None:
    key = draft(lab, "both")
    plan(lab, key, starts_at=datetime.now(UTC) + SOON, ends_at=datetime.now(UTC) + 2 * SOON)
    assert schedule.run_due(lab.runtime.engine) == []
    query(lab.database_url, "UPDATE experiments SET starts_at = now() - interval '1 second' WHERE key = %s", key)
    assert schedule.run_due(lab.runtime.engine) == [key]
    lab.runtime.snapshots.refresh()
    assert lab.decide(key, [{"unit_id": "u"}])[0]["arm"] in ("control", "treated")
    assert come(lab, key) == [key]
    after = experiments.get(lab.runtime.engine, key)
    assert (after.status, after.ends_at) == ("running", None)
    assert {answer["arm"] for answer in lab.decide(key, [{"unit_id": f"v{n}"} for n in range(20)])} == {"control"}
    reasons = query(
        lab.database_url,
        "SELECT kind, actor, reason FROM changes WHERE experiment_id = %s"
        " AND kind IN ('experiment_start', 'shipped') ORDER BY id",
        after.id,
    )
    assert reasons == [
        ("experiment_start", "worker", "ann scheduled the start"),
        ("shipped", "worker", "ann scheduled the end"),
    ]


def test_an_end_with_an_error_concludes_even_a_paused_experiment(lab: Lab) -> None:
    key = draft(lab, "refuses")
    plan(lab, key, ends_at=datetime.now(UTC) + SOON, callers="error")
    experiments.move(lab.runtime.engine, key, "start", "ann")
    experiments.move(lab.runtime.engine, key, "pause", "ann")
    assert come(lab, key) == [key]
    after = experiments.get(lab.runtime.engine, key)
    assert (after.status, after.conclusion, after.ends_at) == ("concluded", "ann scheduled the end", None)


def test_an_arm_that_was_shipped_meanwhile_stays(lab: Lab) -> None:
    lab.make("shipped-first", arms=AB, control_arm="control")
    plan(lab, "shipped-first", ends_at=datetime.now(UTC) + SOON)
    shipping.ship(lab.runtime.engine, "shipped-first", ShipRequest(arm="treated", reason="better"), "ann")
    come(lab, "shipped-first")
    after = experiments.get(lab.runtime.engine, "shipped-first")
    shipped = after.config["shipped"]
    assert isinstance(shipped, dict) and shipped["arm"] == "treated" and after.ends_at is None


def test_a_start_that_a_person_made_first_happens_once(lab: Lab) -> None:
    key = draft(lab, "first")
    plan(lab, key, starts_at=datetime.now(UTC) + SOON)
    experiments.move(lab.runtime.engine, key, "start", "ann")
    experiments.move(lab.runtime.engine, key, "pause", "ann")
    assert come(lab, key) == [] and experiments.get(lab.runtime.engine, key).status == "paused"


@pytest.mark.parametrize(
    ("hours", "path"),
    [({"starts_at": -1}, "/starts_at"), ({"ends_at": -1}, "/ends_at"), ({"starts_at": 2, "ends_at": 1}, "/ends_at")],
)
def test_times_that_cannot_be_are_refused(lab: Lab, hours: dict[str, int], path: str) -> None:
    key = f"refused-{path[1:]}-{len(hours)}"
    draft(lab, key)
    with pytest.raises(Unprocessable) as caught:
        plan(lab, key, **{name: datetime.now(UTC) + timedelta(hours=count) for name, count in hours.items()})
    assert [field.path for field in caught.value.fields] == [path]


def test_what_started_is_not_started_again_and_what_ended_does_not_end(lab: Lab) -> None:
    lab.make("on")
    with pytest.raises(Conflict) as started:
        plan(lab, "on", starts_at=datetime.now(UTC) + SOON)
    assert started.value.code == "wrong_status"
    experiments.move(lab.runtime.engine, "on", "conclude", "ann")
    with pytest.raises(Conflict) as over:
        plan(lab, "on", ends_at=datetime.now(UTC) + SOON)
    assert over.value.code == "concluded"


def test_the_page_takes_and_shows_the_persons_clock(lab: Lab, web: Web, client: Client, database_url: str) -> None:
    key = draft(lab, "local")
    browser = signed_in(web, database_url, "editor")
    browser.cookies["loopwise_zone"] = "America/New_York"
    there = (datetime.now(ZoneInfo("America/New_York")) + timedelta(days=3)).replace(
        second=0, microsecond=0, tzinfo=None
    )
    address = f"/admin/experiments/{key}/schedule"
    page = browser.post(
        address, {"starts_at": there.isoformat(timespec="minutes"), "ends_at": "", "ends_with": "error"}
    )
    assert "The schedule is saved." in page.text and f'value="{there.isoformat(timespec="minutes")}"' in page.html
    stored = client.get(f"/v1/experiments/{key}").body
    at = there.replace(tzinfo=ZoneInfo("America/New_York")).astimezone(UTC)
    assert stored["starts_at"] == at.isoformat().replace("+00:00", "Z") and stored["ends_at"] is None
    refused = browser.post(address, {"starts_at": "tomorrow", "ends_at": ""})
    assert refused.status == 422 and "in America/New_York" in refused.text
    past = browser.post(address, {"starts_at": "2020-01-01T00:00", "ends_at": ""})
    assert past.status == 422 and "lies ahead" in past.text
    assert "The schedule is cleared." in browser.post(address, {"starts_at": "", "ends_at": ""}).text


def test_the_api_replaces_the_schedule(lab: Lab, client: Client, viewer: Browser) -> None:
    key = draft(lab, "api-schedule")
    at = (datetime.now(UTC) + SOON).isoformat()
    answer = client.call("PUT", f"/v1/experiments/{key}/schedule", {"ends_at": at, "callers": "error"})
    assert answer.status == 200 and answer.body["ends_at"] is not None
    assert client.call("PUT", f"/v1/experiments/{key}/schedule", {}).body["ends_at"] is None
    for wrong in ({"ends_at": "soon"}, {"ends_at": "2020-01-01T00:00:00Z"}, {"callers": "nobody"}, {"at": at}, []):
        assert client.call("PUT", f"/v1/experiments/{key}/schedule", wrong).status in (400, 422)
    assert viewer.post(f"/admin/experiments/{key}/schedule", {"ends_at": ""}).status == 403
