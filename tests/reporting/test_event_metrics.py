"""Metrics of events: what units did after their first decision, compared with a count in Python over the same rows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from app.design.definition_rules import checked
from app.messaging.events import recording
from app.messaging.events.request import EventRequest
from tests.lab import AB, Lab, arm
from tests.page_client import Browser
from tests.service import definition, query

DAY = 86_400.0
BOUGHT: dict[str, Any] = {"type": "event", "event": "purchase"}
METRICS: list[dict[str, Any]] = [
    {"key": "bought", "role": "primary", "source": BOUGHT, "window_s": 2 * DAY},
    {"key": "purchases", "source": BOUGHT | {"value": "count"}, "window_s": 2 * DAY},
    {"key": "revenue", "source": BOUGHT | {"value": "sum", "field": "cart.total"}, "window_s": 2 * DAY},
]


def happen(lab: Lab, events: list[dict[str, Any]]) -> None:
    """Report events through the service; ``received_at`` of each is set afterwards."""
    for start in range(0, len(events), 1000):
        part = events[start : start + 1000]
        requests = [
            EventRequest.model_validate({name: value for name, value in event.items() if name != "received_at"})
            for event in part
        ]
        recording.take(lab.runtime, lab.caller, requests)
    for event in events:
        query(
            lab.database_url,
            "UPDATE events SET received_at = %s WHERE event_id = %s",
            event["received_at"],
            event["event_id"],
        )


def purchase(
    unit: str, number: int, at: datetime, received_at: datetime | None = None, total: Any = 1.0
) -> dict[str, Any]:
    return {
        "event_id": f"{unit}-{number}",
        "unit_id": unit,
        "name": "purchase",
        "properties": {"cart": {"total": total}},
        "occurred_at": at.isoformat(),
        "received_at": received_at or at,
    }


def first_seen(lab: Lab, key: str) -> dict[str, tuple[str, datetime]]:
    rows = lab.outcomes(key).sort_values(["decided_at", "decision_id"]).drop_duplicates("unit_id")
    return {row.unit_id: (row.arm, row.decided_at.to_pydatetime()) for row in rows.itertuples()}


def metric_of(report: dict[str, Any], key: str) -> dict[str, Any]:
    (metric,) = (each for each in report["metrics"] if each["metric"] == key)
    return dict(metric)


@pytest.fixture(scope="module")
def shop(lab: Lab) -> dict[str, Any]:
    """400 units, half of them first seen five days ago and half two hours ago; purchases before, in, after, late, twice."""
    random = np.random.default_rng(4)
    lab.make("shop", arms=AB, control_arm="control", metrics=METRICS)
    lab.play("shop", [{"unit_id": f"shop-{n}"} for n in range(200)] * 2)
    lab.age("shop", 5.0 - 2 / 24)
    lab.play("shop", [{"unit_id": f"shop-{n}"} for n in range(200, 400)])
    lab.play("shop", [{"unit_id": "shop-0"}])  # it returns: its window began long ago
    lab.age("shop", 2 / 24)
    units, events = first_seen(lab, "shop"), []
    for unit, (_, first) in units.items():
        for number in range(int(random.integers(0, 4))):
            at = first + timedelta(days=float(random.uniform(-1, 4)))
            received = at + timedelta(hours=float(random.choice([0.0, 0.5, 30.0])))
            total = [1.5, float(random.gamma(2.0, 10.0)), "ten", True, 1e300][int(random.integers(0, 5))]
            events.append(purchase(unit, number, min(at, datetime.now(UTC)), received, total))
    happen(lab, events)
    happen(lab, events[:50])  # reported twice
    return {"units": units, "events": events, "report": lab.results("shop")}


def by_hand(shop: dict[str, Any], key: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {"control": [], "treated": []}
    now = datetime.now(UTC)
    for unit, (name, first) in shop["units"].items():
        closes = first + timedelta(days=2)
        if closes + timedelta(hours=1) > now:
            continue
        amounts = []
        for event in (event for event in shop["events"] if event["unit_id"] == unit):
            at = min(datetime.fromisoformat(event["occurred_at"]), event["received_at"])
            if first <= at < closes and event["received_at"] <= closes + timedelta(hours=1):
                total = event["properties"]["cart"]["total"]
                amounts.append(total if isinstance(total, float) and total < 1e12 else 0.0)
        values[name].append({"bought": float(bool(amounts)), "purchases": len(amounts), "revenue": sum(amounts)}[key])
    return values


@pytest.mark.parametrize("key", ["bought", "purchases", "revenue"])
def test_a_purchase_alone_gives_the_figures_that_the_rows_give(shop: dict[str, Any], key: str) -> None:
    metric, expected = metric_of(shop["report"], key), by_hand(shop, key)
    for row in metric["arms"]:
        values = expected[row["arm"]]
        assert row["units"] == len(values) and 60 < len(values) < 140, "the units of two hours ago wait"
        assert row["value"] == pytest.approx(np.mean(values))
        assert row["std_error"] == pytest.approx(np.std(values, ddof=1) / len(values) ** 0.5)
    assert metric["open_units"] == 200 and metric["late_events"] > 0
    assert (metric["unreadable_events"] > 0) == (key == "revenue")


def test_the_page_says_who_counts(shop: dict[str, Any], viewer: Browser) -> None:
    text = viewer.get("/admin/experiments/shop/results").text
    assert "A unit counts by its purchase events within 2 days of its first exposure" in text
    assert "200 units are still being followed" in text and "reported after their unit was counted" in text
    assert "have no number in cart.total" in text
    assert "purchase: for the same unit, with POST /v1/events" in viewer.get("/admin/experiments/shop/integration").text


def test_a_difference_of_purchases_gives_a_verdict_and_equal_arms_do_not(lab: Lab) -> None:
    random = np.random.default_rng(8)
    for key, lift in (("seller", 0.25), ("equal", 0.0)):
        lab.make(key, arms=AB, control_arm="control", metrics=METRICS[:1])
        lab.play(key, [{"unit_id": f"{key}-{n}"} for n in range(700)])
        lab.age(key, 3.0)
        happen(
            lab,
            [
                purchase(unit, 0, first + timedelta(hours=5))
                for unit, (name, first) in first_seen(lab, key).items()
                if random.random() < 0.2 + lift * (name == "treated")
            ],
        )
    decision = lab.results("seller")["decision"]
    assert (decision["verdict"], decision["arm"]) == ("ship", "treated")
    assert lab.results("equal")["decision"]["verdict"] == "keep_running"


def test_units_are_followed_only_as_long_as_their_comparison_lasts(lab: Lab) -> None:
    """Treated loses its share after a day: units first seen less than a window before are in no comparison."""
    arms = [arm("control", 0.5, "a"), arm("treated", 0.5, "a")]
    lab.make("ended", arms=arms, control_arm="control", metrics=METRICS[:1])
    lab.play("ended", [{"unit_id": f"early-{n}"} for n in range(200)])
    lab.age("ended", 3.0)
    lab.play("ended", [{"unit_id": f"late-{n}"} for n in range(200)])
    lab.age("ended", 1.0)
    lab.change("ended", arms=[arm("control", 1.0, "a"), arm("treated", 0.0, "a")])
    lab.play("ended", [{"unit_id": f"after-{n}"} for n in range(50)])
    lab.age("ended", 5.0)
    units = first_seen(lab, "ended")
    happen(lab, [purchase(unit, 0, first + timedelta(hours=1)) for unit, (_, first) in units.items()])
    (line,) = metric_of(lab.results("ended"), "bought")["comparisons"]
    assert sum(line["units"].values()) == 200 == sum(unit.startswith("early") for unit in units)


def test_a_unit_that_a_ramp_moves_counts_in_no_arm(lab: Lab) -> None:
    lab.make(
        "moving", arms=[arm("control", 0.9, "a"), arm("treated", 0.1, "a")], control_arm="control", metrics=METRICS[:1]
    )
    bodies = [{"unit_id": f"moving-{n}"} for n in range(400)]
    lab.play("moving", bodies)
    lab.age("moving", 1.0)
    lab.change("moving", arms=[arm("control", 0.5, "a"), arm("treated", 0.5, "a")])
    lab.play("moving", bodies)
    lab.age("moving", 4.0)
    happen(
        lab, [purchase(unit, 0, first + timedelta(hours=1)) for unit, (_, first) in first_seen(lab, "moving").items()]
    )
    report = lab.results("moving")
    outcomes = lab.outcomes("moving")
    stay = outcomes.groupby("unit_id").arm.nunique().eq(1).sum()
    (line,) = metric_of(report, "bought")["comparisons"]
    assert report["moved_units"]["moved"] > 0 and sum(line["units"].values()) == stay


def test_values_so_far_are_shown_and_not_compared(lab: Lab) -> None:
    lab.make("young", arms=AB, control_arm="control", metrics=METRICS[:1])
    lab.play("young", [{"unit_id": f"young-{n}"} for n in range(40)])
    lab.age("young", 0.1)
    happen(lab, [purchase("young-1", 0, datetime.now(UTC) - timedelta(hours=1))])
    metric = metric_of(lab.results("young"), "bought")
    assert metric["preliminary"] and metric["open_units"] == 40
    assert sum(row["value"] * row["units"] for row in metric["arms"]) == pytest.approx(1.0)
    assert "no unit's window" in metric["comparisons"][0]["interval"]["reason"]


def test_a_definition_without_a_window_or_with_a_needless_field_says_what_to_change() -> None:
    metrics = [
        {"key": "a", "role": "primary", "source": BOUGHT},
        {"key": "b", "source": BOUGHT | {"value": "sum"}, "window_s": 60.0},
        {"key": "c", "source": BOUGHT | {"field": "total"}, "window_s": 60.0},
        {"key": "d", "source": BOUGHT | {"value": "sum", "field": "total"}, "window_s": 60.0},
    ]
    _, problems = checked(definition("x", metrics=metrics))
    assert [(problem.path, problem.code) for problem in problems] == [
        ("/metrics/0/window_s", "event_without_window"),
        ("/metrics/1/source/field", "event_sum_field"),
        ("/metrics/2/source/field", "event_sum_field"),
    ]
