"""Shows what works for whom: by context field what is chosen and what it earns, features, and segments that differ."""

from typing import NamedTuple

from app.accounts.pages.access import page
from app.design.pages.experiment import experiment_page
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import interval, number, p_value, percent, signed
from app.foundation.serving import process
from app.reporting.documents.whom import (
    ActionInValue,
    ArmInValue,
    ChosenShare,
    FieldReport,
    SegmentDifference,
    StoredWhom,
)
from app.reporting.whom import report as service
from app.reporting.whom.words import named

MOST_ROWS = 24  # lines of a chart; the table has all
MARK = "differs"


class Shown(NamedTuple):
    """The report, drawn."""

    fields: list[Figure]
    importance: Figure | None
    segments: Figure | None


@page("/experiments/<key>/what-works-for-whom", "viewer")
def whom(key: str) -> str:
    """Show the newest report of the worker."""
    report = service.stored(process().engine, key)
    return experiment_page("whom.html", key, "whom", report=report, shown=drawn(report))


def drawn(report: StoredWhom) -> Shown:
    """The figures of a report, also for the report to send."""
    return Shown(
        fields=[_field(field, report, index) for index, field in enumerate(report.fields)],
        importance=_importance(report) if report.importance else None,
        segments=_segments(report) if report.segments else None,
    )


def _field(field: FieldReport, report: StoredWhom, index: int) -> Figure:
    """Draw the value of each action and of the control by the values of a field."""
    caption = f"By {field.field}: what each action earns"
    drawn_rows = [
        Row(f"{value.value}: {action.action}{_marked(action)}", action.value, *_ends(action), strong=action.differs)
        for value in field.values
        for action in value.actions
        if action.value is not None
    ]
    chart = charts.forest(drawn_rows[:MOST_ROWS], title=caption, unit="reward per decision")
    rows = []
    for value in field.values:
        size = [number(value.decisions), number(value.units)]
        rows += [[f"{value.value}: arm {arm.arm}", *size, *_arm(arm)] for arm in value.arms]
        rows += [[f"{value.value}: {action.action}", *size, *_action(action)] for action in value.actions]
    head = [
        "Of",
        "Decisions",
        "Units",
        "Chosen",
        "Value",
        "95% interval",
        "Against the control",
        "Interval at every look",
        "p, corrected",
    ]
    bins = "" if not field.edges else f" Numbers are cut at their quartiles: {', '.join(map(number, field.edges))}."
    lines = sum(len(value.actions) for value in field.values)
    drawn_lines = min(len(drawn_rows), MOST_ROWS)
    more = f" The chart has {drawn_lines} of {lines} lines, the table all." if drawn_lines < lines else ""
    note = f"95% intervals for one look, by unit. Bold: differs from {report.control} after correction.{bins}{more}"
    return Figure(f"field-{index}", caption, chart, head, rows, note)


def _ends(action: ActionInValue) -> tuple[float | None, float | None]:
    return action.interval.low, action.interval.high


def _marked(action: ActionInValue) -> str:
    if not action.differs or action.difference is None:
        return ""
    return " (earns more)" if action.difference > 0 else " (earns less)"


def _arm(arm: ArmInValue) -> list[str]:
    return ["", number(arm.value), interval(arm.interval), "", "", ""]


def _action(action: ActionInValue) -> list[str]:
    p = p_value(action.adjusted_p_value)
    gap = action.difference_interval
    known = gap.low is not None or gap.reason != action.interval.reason  # the same reason is said once
    return [
        ", ".join(_share(share) for share in action.chosen),
        number(action.value),
        interval(action.interval),
        signed(action.difference),
        interval(gap if known else None, "signed"),
        f"{p}: {MARK}" if action.differs else p,
    ]


def _share(share: ChosenShare) -> str:
    ends = "" if share.interval.low is None else f" ({interval(share.interval, 'percent')})"
    return f"{share.arm} {percent(share.share, 0)}{ends}"


def _importance(report: StoredWhom) -> Figure:
    """Draw how much worse predictions get without each feature."""
    caption = "Which features the predictions use"
    drawn_rows = [
        Row(named(line), line.increase, line.interval.low, line.interval.high, strong=line.matters)
        for line in report.importance[:MOST_ROWS]
    ]
    chart = charts.forest(drawn_rows, title=caption, unit="rise of the squared error when it is permuted", line_at=0.0)
    rows = [
        [
            named(line),
            line.side,
            signed(line.increase),
            interval(line.interval, "signed"),
            p_value(line.adjusted_p_value),
        ]
        for line in report.importance
    ]
    head = ["Feature", "Of", "Rise of the squared error", "Interval at every look", "p, corrected"]
    note = "Peek-safe 95% intervals, by unit. Predictions are of decisions that their model had not learned."
    return Figure("importance", caption, chart, head, rows, note)


def _segments(report: StoredWhom) -> Figure:
    """Draw each segment's difference between a learning arm and the control."""
    caption = f"{report.metric_name}: where the learning arm differs from {report.control}"
    several = len({line.arm for line in report.segments}) > 1
    drawn_rows = [
        Row(_segment(line, several), line.difference, line.interval.low, line.interval.high, strong=line.differs)
        for line in report.segments[:MOST_ROWS]
    ]
    chart = charts.forest(drawn_rows, title=caption, unit=f"difference to {report.control}", line_at=0.0)
    rows = [
        [
            _segment(line, True),
            number(line.units),
            signed(line.difference),
            interval(line.interval, "signed"),
            signed(line.shrunk),
            interval(line.shrunk_interval, "signed"),
            f"{p_value(line.adjusted_p_value)}: {MARK}" if line.differs else p_value(line.adjusted_p_value),
        ]
        for line in report.segments
    ]
    head = ["Segment", "Units", "Difference", "Interval at every look", "Shrunk", "For one look", "p, corrected"]
    note = (
        "Peek-safe intervals, not corrected; p-values are corrected for all segments. Bold: differs after correction."
    )
    return Figure("segments", caption, chart, head, rows, note)


def _segment(line: SegmentDifference, with_arm: bool) -> str:
    text = f"{line.field} = {line.segment or '(none)'}"
    return f"{text}, arm {line.arm}" if with_arm else text
