"""Charts and tables of an experiment's overview, from its ``app.reporting.documents.activity``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from app.design.experiment_config import ExperimentConfig
from app.design.feedback_config import answers_worth
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import NO_VALUE, duration, interval, local, number, percent, plural
from app.reporting.activity import MOST_OPEN
from app.reporting.documents.activity import Activity, ArmActivity, ArmChoices, Rate
from app.reporting.pages.sentences import moment_of

MOST_ACTIONS = 12


def rates(activity: Activity, config: ExperimentConfig) -> Figure:
    """Draw the reward per settled decision by arm, along the number of settled decisions."""
    shown, left_out = _shown(activity)
    caption = "Reward per decision by arm over time"
    low, high = _axis(shown, config)
    chart = charts.lines(
        [Series(arm.arm, [_rate_point(p) for p in arm.rates]) for arm in shown],
        title=caption,
        unit="reward per decision",
        x_unit="settled decisions so far, all arms",
        edges=(low, high),
    )
    note = "Bands: 95% intervals for one look, clustered by unit. Each point holds equally many decisions; the table has times."
    rows = [
        [arm.arm, moment_of(p.start), moment_of(p.end), number(p.settled), number(p.rate), interval(p)]
        for arm in activity.arms
        for p in arm.rates
    ]
    head = ["Arm", "From", "Until", "Settled decisions", "Reward per decision", "95% interval"]
    return Figure("rates", caption, chart, head, rows, note + left_out)


def cumulative_rates(activity: Activity, config: ExperimentConfig) -> Figure:
    """Draw the reward per settled decision of everything up to each point, by arm."""
    shown, left_out = _shown(activity)
    caption = "Reward per decision by arm, all decisions so far"
    curves = {arm.arm: _so_far(arm.rates) for arm in activity.arms}
    chart = charts.lines(
        [Series(arm.arm, curves[arm.arm]) for arm in shown],
        title=caption,
        unit="reward per decision",
        x_unit="settled decisions so far, all arms",
        edges=_axis(shown, config),
    )
    rows = [[arm, point.label, number(point.y), point.size] for arm, points in curves.items() for point in points]
    head = ["Arm", "Until", "Reward per decision so far", "Settled decisions so far"]
    return Figure("rates-so-far", caption, chart, head, rows, left_out.strip())


def _so_far(rates: Sequence[Rate]) -> list[Point]:
    total, settled, points = 0.0, 0, []
    for rate in rates:
        total += (rate.rate or 0.0) * rate.settled
        settled += rate.settled if rate.rate is not None else 0
        if settled:
            until = local(datetime.fromtimestamp(rate.end, UTC))
            points.append(Point(rate.so_far, total / settled, size=plural(settled, "decision"), label=until))
    return points


def _rate_point(rate: Rate) -> Point:
    until = local(datetime.fromtimestamp(rate.end, UTC))
    return Point(rate.so_far, rate.rate, rate.low, rate.high, plural(rate.settled, "decision"), f"until {until}")


def _axis(arms: list[ArmActivity], config: ExperimentConfig) -> tuple[float | None, float | None]:
    """The reward's bounds as edges of the axis, when all rates lie within them and an interval does not."""
    points = [p for arm in arms for p in arm.rates if p.rate is not None]
    low, high = config.reward.min, config.reward.max
    if not all(p.rate is not None and low <= p.rate <= high for p in points):
        return None, None
    return (
        low if any(p.low is not None and p.low < low for p in points) else None,
        high if any(p.high is not None and p.high > high for p in points) else None,
    )


def decisions(activity: Activity) -> Figure:
    """Draw decisions over time, by arm."""
    shown, left_out = _shown(activity)
    caption = f"Decisions by arm in each stretch of {duration(max(1.0, round(activity.stretch_s)))}"
    series = [_counts(arm, activity.stretch_s) for arm in shown]
    chart = charts.lines(series, title=caption, unit="decisions", edges=(0.0, None))
    rows = [
        [arm.arm, moment_of(p.start), number(p.decisions), number(p.settled)]
        for arm in activity.arms
        for p in arm.points
    ]
    head = ["Arm", "Stretch from", "Decisions", "Of them settled"]
    return Figure("decisions", caption, chart, head, rows, left_out.strip())


class SoFar(NamedTuple):
    """What open reward windows hold, before anything is tested."""

    open: str  # decisions
    first_closes: str
    last_closes: str
    head: list[str]
    rows: list[list[str]]
    note: str


def so_far(activity: Activity | None, config: ExperimentConfig) -> SoFar | None:
    """Provisional rates by arm; null when no reward window is open."""
    waiting = activity.waiting if activity else None
    if waiting is None or waiting.first_closes is None or waiting.last_closes is None or not waiting.open:
        return None
    rows = [
        [
            arm.arm,
            number(arm.open),
            number(arm.units),
            number(arm.rewarded),
            NO_VALUE if arm.rate is None else f"{arm.rate:.3f}",
        ]
        for arm in waiting.arms
    ]
    head = ["Arm", "Open decisions", "Units", "With a reward so far", "Reward per decision so far"]
    note = (
        "Each rate is what the arm would have earned if every open window closed now: a decision without a reward so far counts "
        f"as {number(config.reward.default)}. Newer decisions have had less time, so do not compare arms by these rates."
    )
    if any(arm.limited for arm in waiting.arms):
        note += f" Of each arm, the {number(MOST_OPEN)} decisions that close first are counted."
    if config.feedback and answers_worth(config.feedback):
        note += " Feedback counts once a window has closed."
    return SoFar(plural(waiting.open, "decision"), waiting.first_closes, waiting.last_closes, head, rows, note)


def choices(arm: ArmChoices, index: int) -> Figure:
    """Compare what a learning arm chooses now with what it chose at first."""
    now, before = arm.now, arm.before
    names = sorted({*now.chosen, *(before.chosen if before else {})}, key=lambda name: (-now.share(name), name))
    bars: list[Row] = []
    for name in names[:MOST_ACTIONS]:
        bars.append(Row(f"{name}, now", now.share(name), strong=True))
        if before:
            bars.append(Row(f"{name}, at first", before.share(name)))
    caption = f"What {arm.arm} chooses"
    chart = charts.bars(bars, title=caption, unit="share of its decisions", write=percent, high=1.0)
    head = ["Action", "Share now"] + (["Share at first"] if before else [])
    rows = [[name, percent(now.share(name))] + ([percent(before.share(name))] if before else []) for name in names]
    return Figure(f"choices-{index}", caption, chart, head, rows, _choices_note(arm, len(names)))


def _choices_note(arm: ArmChoices, actions: int) -> str:
    note = f"Now: its newest {plural(arm.now.decisions, 'decision')}."
    if arm.before:
        note += f" At first: its first {number(arm.before.decisions)}."
    else:
        note += " What it chose at first is shown beside it when there are twice as many."
    if actions > MOST_ACTIONS:
        note += f" The chart has the {MOST_ACTIONS} most frequent actions, the table all {actions}."
    return note


def _counts(arm: ArmActivity, stretch_s: float) -> Series:
    """An arm's decisions over time. Stretches that the activity leaves out had 0 decisions."""
    points: list[Point] = []
    end = None
    for point in arm.points:
        if end is not None and point.start - end > stretch_s / 2:
            points += [Point(end + stretch_s / 2, 0.0), Point(point.start - stretch_s / 2, 0.0)]
        points.append(Point((point.start + point.end) / 2, point.decisions))
        end = point.end
    return Series(arm.arm, points)


def _shown(activity: Activity) -> tuple[list[ArmActivity], str]:
    """The arms with the most decisions, as many as a chart has colours, and a note on the arms that are left out."""
    arms = [arm for arm in activity.arms if arm.points]
    largest = sorted(arms, key=lambda arm: -arm.decisions)[:SERIES]
    shown = [arm for arm in arms if arm in largest]
    gone = len(arms) - len(shown)
    return shown, f" The chart has the {len(shown)} largest arms, the table all {len(arms)}." if gone else ""
