"""Shows effects as they get old: by step since the first exposure, by cohort, over windows; and what that is called."""

from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Series
from app.foundation.pages.charts.parts import SERIES, Point
from app.foundation.pages.format import duration, interval, number, signed
from app.reporting.documents.long_term import AgeChange, AgeCurve, AgeLine, LongTerm

CAPTIONS = {
    "reward": "Effect on the reward per unit in each {step} since it was first seen",
    "seen": "Effect on the share of units seen in each {step} since they were first seen",
    "cohorts": "Effect in the first {step}, by the {step} in which units came",
    "window": "Effect on {name} within so much time of the first exposure",
}
HEAD = ["Arm", "{at}", "Units", "Control", "Arm's value", "Difference", "At every look", "One look"]


def figures(view: LongTerm, step: str) -> list[Figure]:
    """A chart of each curve that has several points."""
    return [
        _figure(curve, step, index)
        for index, curve in enumerate(view.curves)
        if curve.kind in CAPTIONS and len({line.at for line in curve.lines}) > 1
    ]


def sessions(view: LongTerm) -> tuple[list[str], list[list[str]]] | None:
    """A table of the sessions from events; null without any."""
    rows = [
        [
            line.arm,
            "Sessions per unit" if curve.kind == "sessions" else "Length of a session",
            number(line.units),
            _value(curve, line.control_value),
            _value(curve, line.arm_value),
            signed(line.difference),
            interval(line.interval, "signed"),
        ]
        for curve in view.curves
        if curve.kind in ("sessions", "session_length")
        for line in curve.lines
    ]
    if not any(curve.kind == "session_length" for curve in view.curves):
        return None
    return ["Arm", "What", "Units", "Control", "Arm's value", "Difference", "Interval at every look"], rows


def told(view: LongTerm, step: str) -> list[str]:
    """What becomes of each arm's effect, in sentences."""
    return [_sentence(change, step) for change in view.changes]


def _sentence(change: AgeChange, step: str) -> str:
    start = "" if change.first_effect is None else f" Its effect in the first {step} is {signed(change.first_effect)}"
    moved = f"changes by {interval(change.first, 'signed')} from the first {step} to the {step}s after it"
    words = {
        "novelty": f"a novelty effect.{start}; for the same users it {moved}, and then stays.",
        "wear_out": f"an effect that wears out.{start}; it goes on changing later, by {interval(change.further, 'signed')}.",
        "growth": f"an effect that grows.{start}; for the same users it {moved}.",
        "cohorts": f"no novelty: later users respond otherwise, by {interval(change.cohorts, 'signed')}.",
        "calendar": f"not told apart. The effect {moved}, and later users differ alike: the calendar may be the reason.",
        "steady": f"no change is shown.{start}; it {moved}.",
        "unknown": f"too early: {change.first.reason}.",
    }
    named = change.verdict in ("novelty", "wear_out", "growth")
    doubt = (
        " A trend of the calendar is not ruled out as the reason." if named and not change.calendar_ruled_out else ""
    )
    return f"{change.arm} against {change.control}: {words[change.verdict]}{doubt}"


def _figure(curve: AgeCurve, step: str, index: int) -> Figure:
    caption = CAPTIONS[curve.kind].format(step=step, name=curve.name)
    of_windows = curve.kind == "window"
    arms = list(dict.fromkeys(line.arm for line in curve.lines))
    series = [
        Series(arm, [_point(line, of_windows) for line in curve.lines if line.arm == arm]) for arm in arms[:SERIES]
    ]
    chart = charts.lines(
        series, title=caption, unit="difference to control", x_unit="days" if of_windows else f"{step}s"
    )
    rows = [
        [
            line.arm,
            duration(line.at) if of_windows else number(line.at),
            number(line.units),
            number(line.control_value),
            number(line.arm_value),
            signed(line.difference),
            interval(line.interval, "signed"),
            interval(line.one_look, "signed"),
        ]
        for line in curve.lines
    ]
    at = "Window" if of_windows else step.capitalize()
    head = [name.format(at=at) for name in HEAD]
    return Figure(f"age-{index}", caption, chart, head, rows, "Bands hold at every look together.")


def _point(line: AgeLine, of_windows: bool) -> Point:
    at = line.at / 86_400.0 if of_windows else line.at
    return Point(at, line.difference, line.interval.low, line.interval.high)


def _value(curve: AgeCurve, value: float | None) -> str:
    return duration(value) if curve.kind == "session_length" and value is not None else number(value)
