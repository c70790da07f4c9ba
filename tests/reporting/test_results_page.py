"""The results page: every arm against control on every metric, segments, checks, the rule; computed by the worker only."""

import re
from typing import Any
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest

from app.foundation.formats.intervals import IntervalDocument
from app.reporting import health_checks, results
from app.reporting.pages.sentences import tone
from tests.lab import AB, Lab, arm
from tests.page_client import Browser
from tests.service import query

HOSTILE = "<b>bold</b>\u202e"
METRICS = [
    {"key": "reward", "name": "Clicks", "role": "primary", "source": {"type": "reward"}},
    {
        "key": "latency",
        "name": "Latency",
        "role": "guardrail",
        "source": {"type": "value", "metric": "latency"},
        "direction": "decrease",
        "min_effect": 0.1,
    },
    {"key": "spent", "name": HOSTILE, "source": {"type": "value", "metric": "spent", "per": "unit"}, "winsorize": 0.99},
]
CHANCE = {"control": 0.3, "treated": 0.5}
REPORTS = "FROM reports r JOIN experiments e ON e.id = r.experiment_id WHERE"
RULE = {"min_units": 200, "min_days": 0.0, "max_days": 30.0}


@pytest.fixture(scope="module")
def shop(lab: Lab) -> str:
    """Three metrics, two looks, one segment."""
    lab.make(
        "shop",
        arms=AB,
        control_arm="control",
        metrics=METRICS,
        segments=["country"],
        decision_rule=RULE,
        hypothesis="More",
    )
    random = np.random.default_rng(1)
    for look in range(2):
        bodies = [{"unit_id": f"{look}-{n}", "context": {"country": ("at", "de", None)[n % 3]}} for n in range(600)]
        answers = lab.play("shop", bodies, lambda _, one: float(random.random() < CHANCE[one["arm"]]), settled=False)
        lab.report([event for one in answers for event in events(one["decision_id"], random)])
        lab.settle("shop")
        for segment in (None, "country"):
            results.compute(lab.runtime.engine, "shop", segment)
    query(lab.database_url, "UPDATE latest SET computed_at = clock_timestamp() - interval '1 hour'")
    health_checks.compute_due(lab.runtime.engine, 0.0)
    return "shop"


def events(decision_id: str, random: Any) -> list[dict[str, Any]]:
    values = {"latency": random.normal(100, 20), "spent": random.lognormal()}
    return [{"decision_id": decision_id, "metric": name, "value": float(value)} for name, value in values.items()]


def cells(html: str, row: str) -> list[str]:
    """The texts of the first table row with that header."""
    found = re.search(rf'<th scope="row">{re.escape(row)}</th>(.*?)</tr>', html, re.DOTALL)
    assert found, row
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1], re.DOTALL)


def test_the_table_holds_every_figure_of_the_report(shop: str, lab: Lab, viewer: Browser) -> None:
    line = lab.results("shop", fresh=False)["metrics"][0]["comparisons"][0]
    page = viewer.get("/admin/experiments/shop/results")
    row = cells(page.html[page.html.index("metric-0-figures") :], "treated")
    assert row[2] == f"+{line['difference']:.3f}\n{line['relative_lift']:+.1%}"
    for place, given in ((3, line["always_valid"]), (4, line)):
        absolute = " to ".join(f"{given['interval'][end]:+.3f}" for end in ("low", "high"))
        relative = " to ".join(f"{given['relative_interval'][end]:+.1%}" for end in ("low", "high"))
        assert row[place] == f"{absolute}\n{relative}"
    assert row[5:8] == ["&lt;0.0001", "&lt;0.0001", "over 99.9%"]
    assert cells(page.html, "control (control)")[1].startswith("0.")


def test_each_arm_has_its_interval_in_its_row_with_a_sign_for_better_or_worse(
    shop: str, lab: Lab, viewer: Browser
) -> None:
    clicks = lab.results("shop", fresh=False)["metrics"][0]["comparisons"][0]
    row = cells(viewer.get("/admin/experiments/shop/results").html, "treated")
    assert "\N{BLACK UP-POINTING TRIANGLE}" in row[2] and ">better<" in row[2]
    drawn = fromstring(re.sub(r"^.*?(<svg.*</svg>).*$", r"\1", row[3], flags=re.DOTALL))
    lines = [element for element in drawn.iter() if element.get("class") == "whisker better"]
    ends = sorted(float((line.get("x1") or "").rstrip("%")) for line in lines[1:])
    (point,) = [element for element in drawn.iter() if "dot better" in (element.get("class") or "")]
    assert len(lines) == 3 and ends[0] < ends[1] and point.tag.endswith("polygon")
    reference = next(element for element in drawn.iter() if element.get("class") == "reference")
    assert float((reference.get("x1") or "").rstrip("%")) < ends[0]  # the interval lies right of 0
    assert row[4].startswith(f"{clicks['difference']:+.3f}\n")


def test_a_metric_that_should_fall_is_better_where_its_interval_is_below_zero() -> None:
    below, above = (IntervalDocument(low=low, high=low + 1, reason="") for low in (-2.0, 1.0))
    across = IntervalDocument(low=-1.0, high=1.0, reason="")
    assert [tone(given, "decrease") for given in (below, above, across)] == ["better", "worse", "open"]
    assert [tone(given, "increase") for given in (below, above, across)] == ["worse", "better", "open"]


def test_metrics_stand_by_role_with_what_must_be_known_of_them(shop: str, viewer: Browser) -> None:
    text = viewer.get("/admin/experiments/shop/results").text
    assert text.index("Clicks decides") < text.index("Latency guardrail") < text.index("<b>bold</b>")
    assert "Winsorised: values per unit beyond the 99.0% quantile" in text
    assert "worse than control by at most 10.0%" in text
    assert "adjusted by Holm" in text and "adjusted by Benjamini-Hochberg" in text
    assert re.search(r"(not )?shown to be within the margin( yet)? \(p [<0-9.]", text)


def test_the_rule_is_shown_as_written_and_what_it_says(shop: str, viewer: Browser) -> None:
    text = viewer.get("/admin/experiments/shop/results").text
    assert "before every arm has 200 units" in text and "Stop after 30 days, whatever it shows." in text
    assert "says: ship treated. treated is better than control on Clicks" in text


def test_looks_checks_and_shares_are_there(shop: str, viewer: Browser) -> None:
    text = viewer.get("/admin/experiments/shop/results").text
    assert "the difference to control as it became known" in text
    assert "units match the shares" in text and "Units expected" in text
    assert "all well" in text and "choices match their logged propensities" in text
    assert "Choices match their probabilities" in text


def test_a_split_shows_every_segment_and_warns(shop: str, viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/shop/results?segment=country")
    assert "Many small segments show differences by chance" in page.text
    for name in ("country = at", "country = de", "country = (none)", "all, weighted alike"):
        assert f"treated, {name}" in page.text, name


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("sequential", "peek-safe intervals"),
        ("fixed", "Use it only if you planned"),
        ("bayes", "chance to be the best"),
    ],
)
def test_the_leading_method_can_be_chosen(shop: str, viewer: Browser, method: str, said: str) -> None:
    page = viewer.get(f"/admin/experiments/shop/results?method={method}&segment=country")
    assert page.status == 200 and said in page.text


def test_an_unknown_method_or_segment_is_refused(shop: str, viewer: Browser) -> None:
    for query_ in ("method=magic", "segment=shoe"):
        assert viewer.get(f"/admin/experiments/shop/results?{query_}").status == 422


def test_names_show_as_text(shop: str, viewer: Browser) -> None:
    html = viewer.get("/admin/experiments/shop/results?segment=country").html
    assert "<b>bold" not in html and "&lt;b&gt;bold" in html and "style=" not in html


def test_nothing_is_computed_while_somebody_waits(lab: Lab, viewer: Browser) -> None:
    lab.make("wait", arms=AB, control_arm="control")
    lab.play("wait", [{"unit_id": f"u{n}"} for n in range(20)], lambda *_: 1.0)
    page = viewer.get("/admin/experiments/wait/results")
    assert "No results yet" in page.text and "results appear within a minute" in page.text
    stored = f"SELECT count(*) {REPORTS} e.key = 'wait'"
    assert query(lab.database_url, stored) == [(0,)]


def test_too_few_units_give_reasons_instead_of_numbers(lab: Lab, viewer: Browser) -> None:
    lab.make("thin", arms=AB, control_arm="control")
    lab.play("thin", [{"unit_id": f"u{n}"} for n in range(20)], lambda _, one: float(one["action"]["id"] == "a"))
    results.compute(lab.runtime.engine, "thin")
    text = viewer.get("/admin/experiments/thin/results").text
    assert "needs 100 effective units per arm" in text
    assert "nan" not in text.lower().split()


def test_arms_whose_outcomes_are_still_to_come_are_not_taken_for_one_arm(lab: Lab, viewer: Browser) -> None:
    lab.make("early", arms=AB, control_arm="control")
    lab.play("early", [{"unit_id": f"u{n}"} for n in range(40)], lambda *_: 1.0, settled=False)
    results.compute(lab.runtime.engine, "early")
    text = viewer.get("/admin/experiments/early/results").text
    assert "control and another arm need settled decisions first" in text and "There is one arm" not in text
    assert "not known yet" in text and "as expected" not in text
    lab.make("single", arms=[arm("only", 1.0)])
    lab.play("single", [{"unit_id": f"u{n}"} for n in range(40)], lambda *_: 1.0)
    results.compute(lab.runtime.engine, "single")
    assert "There is one arm, only" in viewer.get("/admin/experiments/single/results").text


def test_many_looks_are_thinned_to_those_that_a_chart_can_show(lab: Lab, viewer: Browser) -> None:
    lab.make("watched", arms=AB, control_arm="control")
    lab.play("watched", [{"unit_id": f"u{n}"} for n in range(300)], lambda _, one: float(one["action"]["id"] == "a"))
    results.compute(lab.runtime.engine, "watched")
    query(
        lab.database_url,
        "INSERT INTO reports (experiment_id, kind, segment, body, seconds, computed_at)"
        " SELECT experiment_id, kind, segment, body, seconds, computed_at + make_interval(secs => n)"
        " FROM reports r JOIN experiments e ON e.id = r.experiment_id, generate_series(1, 1000) n WHERE e.key = 'watched'",
    )
    looks = results.history(lab.runtime.engine, "watched")
    assert 160 <= len(looks) <= 200
    assert looks == sorted(looks, key=lambda look: look.computed_at)
    newest = query(lab.database_url, f"SELECT max(computed_at) {REPORTS} e.key = 'watched'")
    assert looks[-1].computed_at == newest[0][0]
    assert viewer.get("/admin/experiments/watched/results").status == 200
