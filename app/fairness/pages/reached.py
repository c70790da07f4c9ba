"""Words and tables of what was reached of targets over a window."""

from typing import NamedTuple

from app.fairness.documents import GroupTarget, TargetReport
from app.fairness.words import by_name
from app.foundation.pages.format import duration, number, percent

MOST_TOLD = 5  # groups of an arm that have a sentence; the table has all


class Reached(NamedTuple):
    """One arm's target, in sentences and as the rows of a table."""

    caption: str
    told: list[str]
    rows: list[list[str]]
    note: str


def reached(reports: list[TargetReport]) -> list[Reached]:
    """Say what each arm reached, the group furthest below its target first."""
    return [
        Reached(
            f"Arm {report.arm}: target for {by_name(report.by)} over {_window(report)}",
            [_told(report, group) for group in report.groups[:MOST_TOLD]],
            [_row(group) for group in report.groups],
            _age(report),
        )
        for report in reports
    ]


def _window(report: TargetReport) -> str:
    if report.window is not None:
        return f"the last {number(report.window)} decisions"
    return f"the last {duration(report.window_s or 0.0)}"


def _told(report: TargetReport, group: GroupTarget) -> str:
    sentence = (
        f"{group.name or '(none)'}: {percent(group.share)} of the last {number(report.decisions)}, {_target(group)}."
    )
    if group.out_of_reach:
        sentence += (
            f" The target is out of reach: the group could be drawn in {percent(group.eligible)} of these decisions, and gets at "
            "most an equal share of each."
        )
    return sentence


def _target(group: GroupTarget) -> str:
    if group.most >= 1.0:
        return f"target {percent(group.least)}"
    if group.least <= 0.0:
        return f"target at most {percent(group.most)}"
    return f"target {percent(group.least)} to {percent(group.most)}"


def _row(group: GroupTarget) -> list[str]:
    shares = (group.share, group.least, group.most, group.eligible)
    return [group.name or "(none)", *(percent(share) for share in shares)]


def _age(report: TargetReport) -> str:
    if report.age_s is None:
        return "Nothing is counted yet. Until then the bounds hold in every decision."
    age = f"Counted {duration(report.age_s)} ago."
    if report.rests:
        age += " The worker is behind, so the target rests: the bounds hold in every decision until there are newer counts."
    left_out = f" {report.others} more groups are not listed." if report.others else ""
    return age + left_out
