"""Charts and tables of an experiment's overview, from what ``app.reporting.activity`` found."""

from typing import Any

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import duration, interval, number, percent, plural
from app.reporting.pages.sentences import moment_of

MOST_ACTIONS = 12


def rates(activity: dict[str, Any], config: ExperimentConfig) -> Figure:
    """Reward per settled decision as decisions came, by arm."""
    shown, left_out = _shown(activity)
    points = [p for arm in shown for p in arm["rates"] if p["rate"] is not None]
    bounds = config.reward
    inside = all(bounds.min <= p["rate"] <= bounds.max for p in points)
    caption = "Reward per decision by arm over time"
    chart = charts.lines(
        [
            Series(arm["arm"], [Point(p["so_far"], p["rate"], p["low"], p["high"]) for p in arm["rates"]])
            for arm in shown
        ],
        title=caption,
        unit="reward per decision",
        times=False,
        x_unit="settled decisions so far, all arms",
        low=bounds.min if inside and any(p["low"] < bounds.min for p in points) else None,
        high=bounds.max if inside and any(p["high"] > bounds.max for p in points) else None,
    )
    note = "Bands: 95% intervals for one look, clustered by unit. Each point holds equally many decisions; the table has times."
    rows = [
        [
            arm["arm"],
            moment_of(p["start"]),
            moment_of(p["end"]),
            number(p["settled"]),
            number(p["rate"]),
            interval(p) if p["rate"] is not None else "too few units",
        ]
        for arm in activity["arms"]
        for p in arm["rates"]
    ]
    head = ["Arm", "From", "Until", "Settled decisions", "Reward per decision", "95% interval"]
    return Figure("rates", caption, chart, head, rows, note + left_out)


def decisions(activity: dict[str, Any]) -> Figure:
    """Decisions over time, by arm."""
    shown, left_out = _shown(activity)
    caption = f"Decisions by arm in each stretch of {_stretch(activity)}"
    chart = charts.lines(
        [_counts(arm, activity["stretch_s"]) for arm in shown],
        title=caption,
        unit="decisions",
        low=0.0,
    )
    rows = [
        [arm["arm"], moment_of(p["start"]), number(p["decisions"]), number(p["settled"])]
        for arm in activity["arms"]
        for p in arm["points"]
    ]
    return Figure(
        "decisions", caption, chart, ["Arm", "Stretch from", "Decisions", "Of them settled"], rows, left_out.strip()
    )


def choices(found: dict[str, Any], place: int) -> Figure:
    """What a learning arm chooses now against what it chose at first."""
    now, before = found["now"], found["before"]
    count = now["decisions"]
    shares = {name: chosen / count for name, chosen in now["chosen"].items()} if count else {}
    first = {n: c / before["decisions"] for n, c in before["chosen"].items()} if before else {}
    names = sorted({*shares, *first}, key=lambda name: (-shares.get(name, 0.0), name))
    bars: list[Row] = []
    for name in names[:MOST_ACTIONS]:
        bars.append(Row(f"{name}, now", shares.get(name, 0.0), strong=True))
        if before:
            bars.append(Row(f"{name}, at first", first.get(name, 0.0)))
    caption = f"What {found['arm']} chooses"
    chart = charts.bars(bars, title=caption, unit="share of its decisions", write=percent, high=1.0)
    note = f"Now: its newest {plural(count, 'decision')}."
    note += (
        f" At first: its first {number(before['decisions'])}."
        if before
        else (" What it chose at first is shown beside it when there are twice as many.")
    )
    if len(names) > MOST_ACTIONS:
        note += f" The chart has the {MOST_ACTIONS} most frequent actions, the table all {len(names)}."
    head = ["Action", "Share now"] + (["Share at first"] if before else [])
    rows = [
        [name, percent(shares.get(name, 0.0))] + ([percent(first.get(name, 0.0))] if before else []) for name in names
    ]
    return Figure(f"choices-{place}", caption, chart, head, rows, note)


def _counts(arm: dict[str, Any], stretch_s: float) -> Series:
    """An arm's decisions over time; none in the stretches that are left out."""
    found: list[Point] = []
    end = None
    for one in arm["points"]:
        if end is not None and one["start"] - end > stretch_s / 2:
            found += [Point(end + stretch_s / 2, 0.0), Point(one["start"] - stretch_s / 2, 0.0)]
        found.append(Point((one["start"] + one["end"]) / 2, one["decisions"]))
        end = one["end"]
    return Series(arm["arm"], found)


def _stretch(activity: dict[str, Any]) -> str:
    return duration(max(1.0, round(activity["stretch_s"])))


def _shown(activity: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """As many arms as a chart can tell apart, those with the most decisions; and what is left out in words."""
    arms = [arm for arm in activity["arms"] if arm["points"]]
    largest = sorted(arms, key=lambda arm: -arm["decisions"])[:SERIES]
    shown = [arm for arm in arms if arm in largest]
    gone = len(arms) - len(shown)
    return shown, f" The chart has the {len(shown)} largest arms, the table all {len(arms)}." if gone else ""
