"""Shows *Fairness and diversity*: exposure, gaps between groups of people, and the filter-bubble curve."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.fairness import report as service
from app.fairness.documents import ExposureReport, GroupGap, PathArm, StoredFairness
from app.fairness.pages.frontier import BOUNDS, frontier
from app.fairness.pages.reached import reached
from app.fairness.words import by_name, group_name
from app.foundation.errors import LoopwiseError
from app.foundation.fields import JsonObject, read
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import interval, number, p_value, percent, signed
from app.foundation.serving import process
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from bandits.exposure import ACTION

MOST_ROWS = 20  # lines of a chart; the table has all
Z = 1.96


@page("/experiments/<key>/fairness", "viewer")
def fairness(key: str) -> str:
    """Show the newest report of the worker, and the newest answer to what a bound would cost."""
    return _page(key, {}, {})


@page("/experiments/<key>/fairness/price", "analyst", ("POST",))
def ask_price(key: str) -> ResponseReturnValue:
    """Ask what bounds on exposure would cost; the worker computes it."""
    typed = {name: request.form.get(name, "").strip() for name in ("arm", "by", "bound", "window")}
    try:
        price: JsonObject = {name: value for name, value in typed.items() if value or name != "window"}
        if typed["window"].isdecimal():
            price |= {"window": int(typed["window"])}
        question = read(EvaluationRequest, {"candidates": [], "price": price})
        evaluations.ask(process().engine, key, question, user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        errors = {field.path.removeprefix("/price/"): field.on_page() for field in error.fields}
        return _page(key, typed, errors), error.status
    flash("The worker computes what bounds would cost.")
    return redirect(url_for("admin.fairness", key=key, _anchor="price"))


def _page(key: str, typed: dict[str, str], errors: dict[str, str]) -> str:
    report = service.stored(process().engine, key)
    priced = evaluations.newest_price(process().engine, key)
    found = priced.result.price if priced is not None and priced.result is not None else None
    return experiment_page(
        "fairness.html",
        key,
        "fairness",
        report=report,
        shown=drawn(report),
        reached=reached(report.targets),
        priced=priced,
        price=None if found is None else frontier(found),
        choices=service.choices(process().engine, key),
        bounds=BOUNDS,
        typed=typed,
        errors=errors,
    )


def drawn(report: StoredFairness) -> dict[str, object]:
    """The figures and tables of a report."""
    kinds = list(dict.fromkeys(line.by for line in report.exposure))
    bubbles = list(dict.fromkeys(curve.by for curve in report.paths))
    return {
        "gaps": _gaps(report) if report.gaps else None,
        "curves": [_curve(report, by) for by in bubbles],
        "exposure": [_exposure(report, by) for by in kinds],
        "spread": _spread(report.exposure),
        "popularity": [[line.arm, number(line.slope), interval(line.interval)] for line in report.popularity],
        "calibration": [
            [
                group_name(line.field, line.group),
                number(line.decisions),
                number(line.predicted),
                number(line.realised),
                interval(line.interval, "signed"),
            ]
            for line in report.calibration
        ],
    }


def _gaps(report: StoredFairness) -> Figure:
    """Draw what each group earns more or less in an arm than the reference's gap explains."""
    caption = f"Gaps between groups of users beyond those of arm {report.reference}"
    several = len({gap.arm for gap in report.gaps}) > 1
    rows = [
        Row(_group(gap, several), gap.excess, gap.interval.low, gap.interval.high, strong=gap.differs)
        for gap in report.gaps[:MOST_ROWS]
    ]
    chart = charts.forest(rows, title=caption, unit="reward per decision", line_at=0.0)
    head = [
        "Group",
        "Users",
        "Reward per decision",
        "Gap to everybody else",
        f"Gap in {report.reference}",
        "Excess",
        "Interval at every look",
        "p, corrected",
    ]
    table = [
        [
            _group(gap, True),
            number(gap.units),
            number(gap.reward),
            signed(gap.gap),
            signed(gap.reference_gap),
            signed(gap.excess),
            interval(gap.interval, "signed"),
            f"{p_value(gap.adjusted_p_value)}: differs" if gap.differs else p_value(gap.adjusted_p_value),
        ]
        for gap in report.gaps
    ]
    note = "Left of 0: the group does worse than the reference's gap explains. Peek-safe intervals; bold: after correction."
    return Figure("gaps", caption, chart, head, table, note)


def _group(gap: GroupGap, with_arm: bool) -> str:
    text = group_name(gap.field, gap.group)
    return f"{text}, arm {gap.arm}" if with_arm else text


def _curve(report: StoredFairness, by: str) -> Figure:
    """Draw what users were shown, stage by stage of their own decisions."""
    arms = [curve for curve in report.paths if curve.by == by]
    caption = f"The filter-bubble curve: range of {by_name(by)}"
    series = [
        Series(curve.arm, [_point(curve, index) for index in range(len(curve.stages))]) for curve in arms[:SERIES]
    ]
    chart = charts.lines(
        series,
        title=caption,
        unit="entropy",
        x_unit=f"stages of {report.stage} decisions of a user",
        edges=(0.0, 1.0),
    )
    head = ["Arm", "Stage", "Users", "Entropy", "95%", "Repeats", "Variety"]
    rows = [
        [
            curve.arm,
            number(stage.stage),
            number(stage.people),
            number(stage.entropy),
            f"± {number(Z * stage.entropy_error)}",
            percent(stage.repeats),
            percent(stage.variety),
        ]
        for curve in arms
        for stage in curve.stages
    ]
    rows += [_change(curve, report.reference) for curve in arms if curve.interval is not None]
    note = (
        "1: everything was equally likely; 0: one was certain. Bands: 95% for one look. Repeats: the same as the decision "
        "before. Variety: different ones that were drawn, of the most possible."
    )
    return Figure(f"bubble-{report.paths.index(arms[0])}", caption, chart, head, rows, note)


def _point(curve: PathArm, index: int) -> Point:
    stage = curve.stages[index]
    half = Z * stage.entropy_error
    return Point(stage.stage, stage.entropy, max(0.0, stage.entropy - half), min(1.0, stage.entropy + half))


def _change(curve: PathArm, reference: str) -> list[str]:
    assert curve.interval is not None
    ends = interval(curve.interval, "signed")
    mark = ": narrows" if curve.narrows else ""
    words = f"{curve.arm}: change beyond {reference}'s"
    return [
        words,
        "",
        number(curve.people),
        signed(curve.excess),
        ends,
        f"p {p_value(curve.adjusted_p_value)}{mark}",
        "",
    ]


def _exposure(report: StoredFairness, by: str) -> Figure:
    """Draw the exposure of actions, or of groups of them, in every arm."""
    lines = [line for line in report.exposure if line.by == by]
    caption = "Exposure of actions" if by == ACTION else f"Exposure by {by} of the actions"
    rows = [
        Row(f"{line.arm}: {share.name or '(none)'}", share.exposed)
        for line in lines
        for share in line.shares[: max(3, MOST_ROWS // len(lines))]
    ]
    chart = charts.bars(rows[:MOST_ROWS], title=caption, unit="share of the arm's decisions", write=percent, high=1.0)
    table = [
        [f"{line.arm}: {share.name or '(none)'}", percent(share.exposed), percent(share.drawn)]
        for line in lines
        for share in line.shares
    ]
    left_out = sum(line.others for line in lines)
    more = f" {left_out} smaller ones are not listed." if left_out else ""
    note = f"The mean of the logged probabilities; drawn is what chance made of them.{more}"
    return Figure(
        f"exposure-{report.exposure.index(lines[0])}", caption, chart, ["Of", "Exposure", "Drawn"], table, note
    )


def _spread(lines: list[ExposureReport]) -> list[list[str]]:
    return [
        [
            f"{line.arm}: {by_name(line.by)}",
            number(line.decisions),
            number(line.gini),
            percent(line.smallest),
            number(line.entropy),
            percent(line.coverage),
        ]
        for line in lines
    ]
