"""Files to take along: exact in Parquet, harmless in CSV, bounded; and the report, which needs nothing but itself."""

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from app.design import experiments
from app.design import history as trail
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from app.reporting import activity, exports, results
from tests.lab import Lab, arm
from tests.page_client import Browser, Page
from tests.service import bandit, query

FORMULA = "=cmd|' /C calc'!A0"
HOSTILE = "<script src=x>\"'&\u202e"
ARMS = [arm("control", 0.5, "a"), bandit()[0] | {"share": 0.5}]


@pytest.fixture(scope="module")
def taken(lab: Lab) -> str:
    """A learning arm, a segment, an evaluation, notes; one unit whose name is a formula."""
    lab.make(
        "taken", arms=ARMS, control_arm="control", segments=["device"], name=HOSTILE, hypothesis=f"It helps {HOSTILE}"
    )
    random = np.random.default_rng(1)
    names = [FORMULA] + [f"u{n}" for n in range(799)]
    bodies = [{"unit_id": name, "context": {"device": ("phone", HOSTILE)[n % 2]}} for n, name in enumerate(names)]
    lab.play("taken", bodies, lambda _, one: float(random.random() < (0.3 if one["arm"] == "control" else 0.6)))
    lab.play("taken", [{"unit_id": "waiting"}], settled=False)
    engine = lab.runtime.engine
    activity.compute(engine, "taken")
    for segment in (None, "device", None):
        results.compute(engine, "taken", segment)
    evaluations.ask(engine, "taken", EvaluationRequest(), "test")
    assert evaluations.run_waiting(engine, lab.settings) == 1
    trail.add_note(engine, "taken", f"Learned that {HOSTILE}", "test")
    return "taken"


def download(browser: Browser, **query_: str) -> Page:
    return browser.get(
        "/admin/experiments/taken/export?" + "&".join(f"{name}={value}" for name, value in query_.items())
    )


def lines(page: Page) -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(page.raw.decode(), newline="")))


def table(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(io.BytesIO(page.raw)).to_pylist()
    return found


def test_a_viewer_takes_all_decisions_along_newest_first(taken: str, lab: Lab, viewer: Browser) -> None:
    page = download(viewer, kind="decisions", format="csv")
    today = datetime.now(UTC).date()
    assert page.headers["Content-Disposition"] == f"attachment; filename=taken-decisions-{today}.csv"
    assert page.headers["Content-Type"] == "text/csv; charset=utf-8"
    found = lines(page)
    assert len(found) == 801 and list(found[0]) == [column.name for column in exports.DECISIONS]
    assert found[0]["unit_id"] == "waiting" and found[0]["reward"] == ""
    assert [row["decided_at"] for row in found] == sorted((row["decided_at"] for row in found), reverse=True)
    log = {row.decision_id: row for row in lab.outcomes("taken").itertuples()}
    for row in found[1:]:
        mine: Any = log[row["decision_id"]]
        assert (float(row["reward"]), float(row["propensity"])) == (mine.reward, mine.propensity)
        chances = dict(zip(orjson.loads(row["eligible"]), orjson.loads(row["distribution"]), strict=True))
        assert chances[row["action"]] == mine.propensity
        assert orjson.loads(row["context"]) == mine.context


def test_a_decision_has_the_probability_of_its_arm_that_was_in_force(lab: Lab) -> None:
    def shared(first: float) -> list[dict[str, Any]]:
        return [arm("control", first, "a"), arm("other", 1 - first, "b")]

    lab.make("ramped", arms=shared(0.9), control_arm="control")
    lab.play("ramped", [{"unit_id": f"u{n}"} for n in range(30)], settled=False)
    lab.change("ramped", arms=shared(0.5))
    lab.play("ramped", [{"unit_id": f"v{n}"} for n in range(30)], settled=False)
    file = io.BytesIO()
    exports.write(lab.runtime.engine, "ramped", file, kind="decisions", form="parquet")
    found = pq.read_table(file).to_pylist()
    assert len(found) == 60
    for row in found:
        first = 0.9 if row["unit_id"].startswith("u") else 0.5
        assert row["arm_probability"] == pytest.approx(first if row["arm"] == "control" else 1 - first)


def test_a_formula_is_neutralised_in_csv_and_exact_in_parquet(taken: str, viewer: Browser) -> None:
    in_csv = [row["unit_id"] for row in lines(download(viewer, kind="decisions", format="csv"))]
    in_parquet = [row["unit_id"] for row in table(download(viewer, kind="decisions", format="parquet"))]
    assert f"'{FORMULA}" in in_csv and FORMULA not in in_csv
    assert FORMULA in in_parquet and len(in_parquet) == 801


def test_results_have_one_line_for_each_metric_arm_and_segment(taken: str, lab: Lab, viewer: Browser) -> None:
    found = lines(download(viewer, kind="results", format="csv"))
    named = {(row["segment_field"], row["segment"], row["arm"]) for row in found}
    sides = {("", "", name) for name in ("control", "learned")}
    sides |= {("device", value, name) for value in ("phone", HOSTILE) for name in ("control", "learned")}
    assert named == sides | {("device", "", "learned")}  # the segments together
    line = lab.results("taken", fresh=False)["metrics"][0]["comparisons"][0]
    (mine,) = [row for row in found if (row["segment_field"], row["arm"]) == ("", "learned")]
    expected = {
        "difference": line["difference"],
        "peek_safe_low": line["always_valid"]["interval"]["low"],
        "fixed_high": line["interval"]["high"],
        "peek_safe_relative_high": line["always_valid"]["relative_interval"]["high"],
        "p_any_look_adjusted": line["adjusted_running_p"],
        "chance_to_win": line["chance_to_win"]["probability"],
    }
    assert {name: float(mine[name]) for name in expected} == expected
    exact = [row for row in table(download(viewer, kind="results", format="parquet")) if row["segment"] == HOSTILE]
    assert len(exact) == 2 and len(found) == 7


def test_a_stretch_of_time_can_be_taken(taken: str, lab: Lab, viewer: Browser) -> None:
    ((middle,),) = query(lab.database_url, "SELECT max(decided_at) FROM decisions WHERE id LIKE 'taken-%'")
    at = middle.isoformat().replace("+", "%2B")
    later = lines(download(viewer, kind="decisions", format="csv", since=at))
    earlier = lines(download(viewer, kind="decisions", format="csv", until=at))
    assert len(later) + len(earlier) == 801 and later and earlier
    assert min(row["decided_at"] for row in later) >= middle.isoformat() > max(row["decided_at"] for row in earlier)


def test_a_time_that_cannot_be_read_is_a_mistake_beside_its_field(taken: str, viewer: Browser) -> None:
    page = download(viewer, kind="decisions", format="csv", since="yesterday")
    assert page.status == 422 and "Write a time such as 2026-01-31" in page.text and 'value="yesterday"' in page.html


@pytest.mark.parametrize(
    "query_", [{"kind": "secrets", "format": "csv"}, {"kind": "results", "format": "exe"}, {"kind": "results"}]
)
def test_other_kinds_and_formats_are_refused(taken: str, viewer: Browser, query_: dict[str, str]) -> None:
    assert download(viewer, **query_).status == 422


def test_without_a_kind_it_is_a_page_that_says_how_much_a_file_holds(taken: str, viewer: Browser) -> None:
    text = download(viewer).text
    assert "the newest 100,000 decisions" in text and "loopwise export taken" in text


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_ends_at_its_bounds(taken: str, lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 100)
    for name, value, rows in (("MOST_ROWS", 250, 250), ("MOST_BYTES", 1000, 100), ("MOST_ROWS", 801, 801)):
        with monkeypatch.context() as patch:
            patch.setattr(exports, name, value)
            file = io.BytesIO()
            assert exports.write(lab.runtime.engine, "taken", file, kind="decisions", form=kind) == rows


def test_pages_neither_miss_nor_repeat_decisions_of_one_moment(
    taken: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 7)  # batches were decided in one statement: one time for many
    file = io.BytesIO()
    exports.write(lab.runtime.engine, "taken", file, kind="decisions", form="parquet")
    ids = [row["decision_id"] for row in pq.read_table(file).to_pylist()]
    assert len(ids) == len(set(ids)) == 801


def test_the_report_is_one_file_that_needs_nothing_else(taken: str, viewer: Browser) -> None:
    page = viewer.get("/admin/experiments/taken/report")
    assert page.headers["Content-Disposition"].startswith('attachment; filename="taken-report-20')
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    html = page.html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.findall(r"https?://", html)
    assert not re.findall(r"<(?:script|link|img|iframe|a)\b|\b(?:src|href|style)=\"", html)
    assert "Content-Disposition" not in viewer.get("/admin/experiments/taken/report?show=1").headers


def test_the_report_tells_everything_that_was_found(taken: str, lab: Lab, viewer: Browser) -> None:
    text = viewer.get("/admin/experiments/taken/report").text
    for part in (
        f"It helps {HOSTILE}",
        "learned beats",
        "The decision rule says: ship learned.",
        "control (control)",
        "always chooses a",
        "learns (epsilon_greedy), with 5.0% of its choices spread evenly",
        "Each decision's reward is the sum of what is reported within 10 minutes",
        "units match the shares",
        "Is learned learning?",
        "By device",
        "Many small segments show differences by chance",
        "Policies that have not run (off-policy evaluation)",
        "best_fixed",
        f"Learned that {HOSTILE}",
        "Peek-safe interval",
        "Methods and assumptions",
        "Made by Loopwise",
    ):
        assert part in text, part


def test_the_report_shows_texts_as_text(taken: str, viewer: Browser) -> None:
    html = viewer.get("/admin/experiments/taken/report").html
    assert "<script" not in html and "&lt;script src=x&gt;" in html


def test_an_experiment_without_anything_has_a_report_too(lab: Lab, viewer: Browser) -> None:
    lab.make("blank")
    page = viewer.get("/admin/experiments/blank/report")
    assert page.status == 200 and "There are no results yet." in page.text
    experiments.move(lab.runtime.engine, "blank", "conclude", "test", "We never began.")
    assert "We never began." in viewer.get("/admin/experiments/blank/report").text


def test_nobody_takes_files_of_what_does_not_exist(viewer: Browser) -> None:
    for end in ("export?kind=results&format=csv", "export?kind=decisions&format=parquet", "export", "report"):
        assert viewer.get(f"/admin/experiments/nowhere/{end}").status == 404
