"""Charts of an evaluation beside its table: values over time, calibration of the reward model, values of actions."""

from datetime import datetime
from typing import NamedTuple

from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Point, Row, Series
from app.foundation.pages.format import interval, number, percent, plural, zone
from app.off_policy.documents import ArmActions, CalibrationBin, EvaluationResult, PolicyLine

MOST_COURSES = 6  # lines that a chart can tell apart
NOT_CANDIDATES = ("running", "control", "uniform", "best_fixed")
PER = {False: "mean reward per decision", True: "mean reward per list"}


class Actions(NamedTuple):
    """The values of one learning arm's actions."""

    arm: str
    reason: str  # why there are none
    figure: Figure | None


def unit_of(result: EvaluationResult) -> str:
    """What a value is per."""
    return PER[result.window.lists is not None]


def course(result: EvaluationResult, alpha: float) -> Figure:
    """Draw the headline over time, for what ran and for the candidates."""
    lines = _drawn(result.policies)
    series = [
        Series(line.policy, [Point(_seconds(at.at), at.value, at.interval.low, at.interval.high) for at in line.course])
        for line in lines
    ]
    chart = charts.lines(series, title="Values over time with their intervals", unit=unit_of(result))
    rows = [
        [line.policy, _minute(at.at), number(at.decisions), number(at.value), interval(at.interval)]
        for line in lines
        for at in line.course
    ]
    head = ["Policy", "Until", "Decisions scored", "Value", "Interval at every look"]
    note = (
        f"Band: {percent(1 - alpha, 0)} interval at every look; all points of all times hold together. Each policy is "
        "scored on decisions that it had not learned from, so lines may begin at different times."
    )
    left_out = sum(bool(line.course) for line in result.policies if _leads(line)) - len(lines)
    if left_out:
        note += f" {plural(left_out, 'candidate')} more: see the table of policies."
    return Figure("course", "Values over time", chart, head, rows, note)


def calibration(result: EvaluationResult) -> Figure | None:
    """Compare predicted with realised rewards; null: documents from before it was computed have none."""
    bins = result.calibration
    if not bins:
        return None
    drawn = [Row(f"predicted {number(part.predicted)}", part.realised, *_ends(part)) for part in bins]
    chart = charts.forest(drawn, title="Realised reward by predicted reward", unit="mean reward per decision")
    rows = [
        [number(part.predicted), number(part.realised), interval(part.interval), number(part.decisions)]
        for part in bins
    ]
    head = ["Mean prediction", "Really earned", "Interval", "Decisions"]
    return Figure("calibration", "Does the reward model predict well?", chart, head, rows, calibration_sentence(bins))


def calibration_sentence(bins: list[CalibrationBin]) -> str:
    """Say in how many bins the interval leaves the prediction out."""
    wrong = sum(
        part.interval.low is not None
        and part.interval.high is not None
        and not part.interval.low <= part.predicted <= part.interval.high
        for part in bins
    )
    said = "in every group the interval holds the prediction"
    if wrong:
        said = f"in {wrong} of {len(bins)} groups the interval leaves the prediction out"
    return (
        f"Logged choices in groups of equal size by prediction: {said}. Each decision is predicted by a model of earlier "
        "decisions only. A doubly robust value stays right when the model is wrong; its interval gets wider."
    )


def actions(result: EvaluationResult, alpha: float) -> list[Actions]:
    """Draw what each action of each learning arm is worth."""
    return [_actions(arm, index, alpha) for index, arm in enumerate(result.actions, 1)]


def detectable(result: EvaluationResult, alpha: float) -> str:
    """Say which difference this evaluation could have shown; empty without a comparison."""
    sizes = [line.detectable for line in result.search.candidates if line.detectable is not None]
    if not sizes:
        return ""
    smallest, largest = number(min(sizes)), number(max(sizes))
    span = smallest if smallest == largest else f"{smallest} (to {largest}, by candidate)"
    return (
        f"The smallest difference to what runs that this evaluation could have found is {span}: 80% of such logs would show "
        f"it, at {percent(1 - alpha, 0)}, corrected for {plural(len(result.search.candidates), 'candidate')}. What is smaller "
        "may be there all the same."
    )


def _drawn(policies: list[PolicyLine]) -> list[PolicyLine]:
    return [line for line in policies if line.course and _leads(line)][:MOST_COURSES]


def _leads(line: PolicyLine) -> bool:
    return line.policy.startswith("running") or line.policy not in NOT_CANDIDATES


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _ends(part: CalibrationBin) -> tuple[float | None, float | None]:
    return part.interval.low, part.interval.high


def _actions(arm: ArmActions, index: int, alpha: float) -> Actions:
    if arm.reason or not arm.actions:
        return Actions(arm.arm, arm.reason, None)
    drawn = [Row(line.action, line.value, line.interval.low, line.interval.high) for line in arm.actions]
    chart = charts.forest(drawn, title=f"Value of each action of {arm.arm}", unit="mean reward per decision")
    rows = [[line.action, number(line.value), interval(line.interval), line.interval.note] for line in arm.actions]
    head = ["Action", "Value", f"{percent(1 - alpha, 0)} interval, one look", "Note"]
    note = (
        f"From {plural(arm.decisions, 'decision')} of the arm: the mean reward, had the action always been chosen where it "
        "was eligible. Plain means would mislead, because the arm chose when to take which; these are weighted doubly "
        "robust scores (AIPW)."
    )
    return Actions(
        arm.arm, "", Figure(f"actions-{index}", f"What each action of {arm.arm} is worth", chart, head, rows, note)
    )


def _minute(at: str) -> str:
    return datetime.fromisoformat(at).astimezone(zone()).strftime("%Y-%m-%d %H:%M")
