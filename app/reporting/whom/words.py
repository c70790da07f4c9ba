"""The findings of the report in sentences, for pages and for callers of the API."""

from collections.abc import Sequence

from app.foundation.formats.intervals import IntervalDocument
from app.reporting.documents.whom import (
    ActionInValue,
    FeatureImportance,
    FieldReport,
    FieldValue,
    SegmentDifference,
    StoredWhom,
)

MOST_VALUES = 6  # sentences for one field
MOST_SEGMENTS = 3
MOST_FEATURES = 3


def findings(report: StoredWhom) -> list[str]:
    """One sentence per finding: the features that matter, what earns more by field, and where the arms differ."""
    sentences = [] if report.reason else [_importance(report.importance, report.explained)]
    for field in report.fields:
        sentences += _field(field, report.control)
    return sentences + _segments(report)


def _importance(lines: Sequence[FeatureImportance], explained: float | None) -> str:
    if not lines:
        return "No model has predicted yet, so that nothing is known about the features."
    share = 100 * max(explained or 0.0, 0.0)
    known = "" if explained is None else f" The predictions explain {share:.1f}% of the variance of the reward."
    names = [named(line) for line in lines if line.matters][:MOST_FEATURES]
    if not names:
        return f"The predictions of the reward were not shown to use any feature.{known}"
    return f"The predictions of the reward use {_listed(names)} most.{known}"


def named(line: FeatureImportance) -> str:
    """A feature in words."""
    if line.feature is None:
        return "the action itself"
    return line.feature if line.side == "context" else f"the action's {line.feature}"


def _field(report: FieldReport, control: str) -> list[str]:
    told = [(value, _clearest(value)) for value in report.values]
    shown = [(value, action) for value, action in told if action is not None]
    if not shown:
        reasons = [action for value in report.values for action in value.actions if action.difference is not None]
        if not reasons:
            return [f"By {report.field}: the log holds too little to compare actions."]
        return [f"By {report.field}: no action was shown to earn more or less than the choice of {control}."]
    if (
        len(shown) == len(report.values)
        and len({(action.action, (action.difference or 0) > 0) for _, action in shown}) == 1
    ):
        return [_everywhere(report.field, [action for _, action in shown], control)]
    return [_value(report.field, value, action, control) for value, action in shown[:MOST_VALUES]]


def _everywhere(field: str, actions: Sequence[ActionInValue], control: str) -> str:
    """The same action at every value of a field."""
    sizes = sorted(abs(action.difference or 0.0) for action in actions)
    more = "more" if (actions[0].difference or 0.0) > 0 else "less"
    return (
        f"Whatever {field} is, {actions[0].action} earns {more} than the choice of {control}: "
        f"{sizes[0]:.3g} to {sizes[-1]:.3g} {more} a decision, from value to value."
    )


def _clearest(value: FieldValue) -> ActionInValue | None:
    """The action that is shown to earn most there; else the one that is shown to earn least."""
    shown = [action for action in value.actions if action.differs and action.difference is not None]
    better = [action for action in shown if (action.difference or 0.0) > 0]
    if better:
        return max(better, key=lambda action: action.difference or 0.0)
    return min(shown, key=lambda action: action.difference or 0.0, default=None)


def _value(field: str, value: FieldValue, action: ActionInValue, control: str) -> str:
    more, ends = _difference(action.difference or 0.0, action.difference_interval)
    earns = "" if action.value is None else f" earns {action.value:.3g} a decision,"
    chosen = "".join(
        f" Arm {share.arm} chooses it in {100 * share.share:.0f}% of its decisions there." for share in action.chosen
    )
    return f"Where {field} is {value.value}, {action.action}{earns} {more} than the choice of {control}{ends}.{chosen}"


def _segments(report: StoredWhom) -> list[str]:
    lines = report.segments
    if report.metric is None:
        return ["No context field is declared under segments, so that arms are not compared by segment."]
    if not any(line.p_value is not None for line in lines):
        return ["No segment has enough units yet to compare an arm with the control."]
    count = len([line for line in lines if line.p_value is not None])
    shown = [line for line in lines if line.differs][:MOST_SEGMENTS]
    if not shown:
        one = "the one segment" if count == 1 else f"none of {count} segments"
        return [f"In {one} was an arm shown to differ from {report.control}, corrected for looking at all of them."]
    return [_segment(line, report, count) for line in shown]


def _segment(line: SegmentDifference, report: StoredWhom, count: int) -> str:
    more, ends = _difference(line.difference or 0.0, line.interval, ("higher", "lower"))
    where = f"Where {line.field} is {line.segment or '(none)'}, {report.metric_name} is {more} in arm {line.arm}"
    looking = "" if count == 1 else f", also after correction for {count} segments"
    return f"{where} than in {report.control}{ends}{looking}."


def _difference(
    difference: float, interval: IntervalDocument, words: tuple[str, str] = ("more", "less")
) -> tuple[str, str]:
    """How much more or less, and its interval on the same side."""
    sign = 1.0 if difference >= 0 else -1.0
    more = f"{abs(difference):.3g} {words[0] if sign > 0 else words[1]}"
    if interval.low is None or interval.high is None:
        return more, ""
    low, high = sorted((sign * interval.low, sign * interval.high))
    return more, f" ({low:.3g} to {high:.3g})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
