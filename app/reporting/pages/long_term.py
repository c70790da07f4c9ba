"""Shows whether units come back and go on earning, and whether the early reward tells it."""

from app.accounts.pages.access import page
from app.design.pages.experiment import experiment_page
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import interval, number, percent, plural, signed
from app.foundation.serving import process
from app.reporting import long_term as service
from app.reporting.documents.long_term import LongTerm, LongTermArm, LongTermStep, SurrogateCheck
from app.reporting.pages.shown import ageing

NAMES = {7 * 86_400.0: "week", 86_400.0: "day", 3_600.0: "hour"}
Z = 1.96


@page("/experiments/<key>/long-term", "viewer")
def long_term(key: str) -> str:
    """Show the newest view of the worker."""
    view = service.stored(process().engine, key)
    return experiment_page(
        "long_term.html",
        key,
        "results",
        view=view,
        figures=[returning(view), earning(view)] if view and view.arms else [],
        told=told(view.surrogate, NAMES[view.step_s]) if view else [],
        ageing=ageing.figures(view, NAMES[view.step_s]) if view else [],
        changes=ageing.told(view, NAMES[view.step_s]) if view else [],
        sessions=ageing.sessions(view) if view else None,
        arms=by_arm(view.surrogate) if view and view.surrogate else None,
    )


def returning(view: LongTerm) -> Figure:
    """Draw the share of units that came back in each step."""
    step = NAMES[view.step_s]
    caption = f"Units seen in each {step} since they were first seen"
    series = [Series(arm.arm, [_share(point) for point in arm.steps if point.step > 0]) for arm in view.arms[:SERIES]]
    chart = charts.lines(
        series, title=caption, unit="share of units", x_unit=f"{step}s", write=percent, edges=(0.0, None)
    )
    rows = [_row(arm, point) for arm in view.arms for point in arm.steps]
    head = ["Arm", step.capitalize(), "Units followed", "Seen", "Share", "95% interval"]
    note = f"Bands: 95% intervals for one look. A unit counts in a {step} that is over for it."
    return Figure("returning", caption, chart, head, rows, note)


def earning(view: LongTerm) -> Figure:
    """Draw what a followed unit earned in each step."""
    step = NAMES[view.step_s]
    caption = f"Reward per unit in each {step} since it was first seen"
    series = [Series(arm.arm, [_earned(point) for point in arm.steps]) for arm in view.arms[:SERIES]]
    chart = charts.lines(series, title=caption, unit="reward per unit", x_unit=f"{step}s")
    rows = [
        [
            arm.arm,
            number(point.step),
            number(point.followed),
            number(point.reward),
            f"± {number(Z * point.reward_error)}",
        ]
        for arm in view.arms
        for point in arm.steps
    ]
    head = ["Arm", step.capitalize(), "Units followed", "Reward per unit", "95%"]
    return Figure("earning", caption, chart, head, rows, "Units that did not come back earned nothing in that time.")


def told(check: SurrogateCheck | None, step: str) -> list[str]:
    """Say whether the early reward tells what comes later."""
    if check is None:
        return [f"Too early: half of the units have to be followed for three {step}s."]
    if check.correlation is None or check.interval.low is None:
        return [f"It cannot be told: {check.interval.reason}."]
    ends = f"correlation {signed(check.correlation, 2)} ({interval(check.interval, 'signed')})"
    words = (
        f"Over {plural(check.units, 'unit')}, the reward in the first {step} and the rewards of the {check.last} {step}s "
        f"after it: {ends}. "
        f"So {percent(check.correlation**2, 0)} of the later differences between units are already visible in the first {step}."
    )
    words += " " + _over_arms(check)
    if check.interval.low <= 0:
        return [words, "A reward that is earned early says little here of what comes later: do not decide by it alone."]
    return [words]


def _over_arms(check: SurrogateCheck) -> str:
    """Whether arms with a higher early value have a higher later one."""
    ends = check.over_arms_interval
    if ends is None or check.over_arms is None:
        return "Over arms it cannot be told" + (f": it {ends.reason}." if ends is not None else ".")
    return f"Over the {len(check.arms)} arms: correlation {signed(check.over_arms, 2)} ({interval(ends, 'signed')})."


def by_arm(check: SurrogateCheck) -> tuple[list[str], list[list[str]]]:
    """The early and the late value of each arm."""
    rows = [[arm.arm, number(arm.units), number(arm.early), number(arm.late)] for arm in check.arms]
    return ["Arm", "Units", "Early: reward per decision", "Later: reward per unit"], rows


def _share(step: LongTermStep) -> Point:
    return Point(step.step, step.share, step.share_interval.low, step.share_interval.high)


def _earned(step: LongTermStep) -> Point:
    half = Z * step.reward_error
    return Point(step.step, step.reward, step.reward - half, step.reward + half)


def _row(arm: LongTermArm, step: LongTermStep) -> list[str]:
    ends = interval(step.share_interval, "percent")
    return [arm.arm, number(step.step), number(step.followed), number(step.seen), percent(step.share), ends]
