"""The library of metrics: saved once, copied into experiments, never changing what an experiment declared."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from app.design import experiments
from app.design.library import saved_metrics
from app.design.metric_config import MetricSpec
from tests.lab import Lab
from tests.page_client import Browser
from tests.service import Client, query
from tests.wizard.drafting import Draft, complete

REVENUE = {
    "key": "revenue",
    "name": "Revenue <b>",
    "role": "secondary",
    "source": {"type": "value", "metric": "revenue"},
}
ROUTE = "/v1/saved-metrics"


@pytest.fixture(autouse=True)
def empty(database_url: str) -> None:
    query(database_url, "DELETE FROM saved_metrics")


def test_a_metric_is_saved_listed_and_removed(lab: Lab, client: Client) -> None:
    made = client.call("PUT", f"{ROUTE}/revenue", REVENUE)
    assert (made.status, made.body["version"], made.body["experiments"]) == (200, 1, [])
    assert client.call("PUT", f"{ROUTE}/revenue", REVENUE).body["version"] == 1, "nothing changed"
    changed = client.call("PUT", f"{ROUTE}/revenue", REVENUE | {"winsorize": 0.99})
    assert changed.body["version"] == 2 and changed.body["metric"]["winsorize"] == 0.99
    lab.make("has-it", metrics=[REVENUE])
    (listed,) = client.get(ROUTE).body["metrics"]
    assert (listed["experiments"], listed["differing"]) == (["has-it"], ["has-it"])
    assert client.call("DELETE", f"{ROUTE}/revenue").body == {"key": "revenue", "deleted": True}
    assert client.get(ROUTE).body == {"metrics": []}
    assert experiments.get(lab.runtime.engine, "has-it").config["metrics"][0]["key"] == "revenue"
    kinds = "SELECT kind FROM changes WHERE kind LIKE 'metric%%' ORDER BY id"
    assert query(lab.database_url, kinds)[-3:] == [("metric_saved",), ("metric_saved",), ("metric_removed",)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("revenue", {}, 422),
        ("other", REVENUE, 422),
        ("revenue", REVENUE | {"source": {"type": "event", "event": "e", "value": "sum"}}, 422),
        ("no key", REVENUE, 422),
        ("revenue", REVENUE | {"winsorize": 7}, 422),
    ],
)
def test_what_is_no_metric_is_refused(client: Client, path: str, body: dict[str, Any], status: int) -> None:
    answer = client.call("PUT", f"{ROUTE}/{path.replace(' ', '%20')}", body)
    assert answer.status == status and answer.body["errors"], answer.raw
    assert client.call("DELETE", f"{ROUTE}/ghost").status == 404


def test_many_save_at_once(lab: Lab) -> None:
    def save(number: int) -> int:
        metric = MetricSpec.model_validate(REVENUE | {"min_effect": number / 100})
        return saved_metrics.keep(lab.runtime.engine, metric, "ann").version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(save, range(1, 17)))
    (row,) = saved_metrics.listed(lab.runtime.engine)
    assert row.version == max(versions) <= 16


def test_the_wizard_saves_a_metric_and_adds_it_elsewhere(lab: Lab, editor: Browser, viewer: Browser) -> None:
    first = Draft(editor, editor.post("/admin/drafts").address)
    complete(first, "first-user")
    first.save("metrics", do="add /metrics")
    typed = {"/metrics/0/name": "Bought", "/metrics/0/key": "bought", "/metrics/0/source/type": "event"}
    refused = first.save("metrics", typed, do="keep /metrics/0")
    assert "Fix the errors of this metric first" in refused.text
    event = {"/metrics/0/source/event": "purchase", "/metrics/0/window_s": "7", "/metrics/0/window_s:unit": "days"}
    kept = first.save("metrics", typed | event, do="keep /metrics/0")
    assert "Bought is saved. Other experiments can add it" in kept.text
    second = Draft(editor, editor.post("/admin/drafts").address)
    complete(second, "second-user")
    assert "saved metric" in second.show("metrics").text
    added = second.save("metrics", {"saved_metric": "bought"}, do="take")
    assert added.status == 200 and "/metrics/0/source/event" in second.fields("metrics")
    assert "saved metric" not in added.text, "the draft has it"
    again = second.save("metrics", {"saved_metric": "bought"}, do="take")
    assert "does not have yet" in again.text
    page = viewer.get("/admin/saved-metrics")
    assert page.status == 200 and "Bought" in page.text and "what users do later: their events: purchase" in page.text
    assert viewer.post("/admin/saved-metrics/bought/remove").status == 403
    assert "is removed from the library" in editor.post("/admin/saved-metrics/bought/remove").text
    assert editor.post("/admin/saved-metrics/bought/remove").status == 404
