"""The findings of the report in sentences, for the page and for callers of the API."""

from collections.abc import Iterator

from app.fairness.documents import GroupGap, PathArm, StoredFairness
from bandits.exposure import ACTION

NOTHING = (
    "As far as the data can tell, no group of users does better or worse in an arm than in the reference arm, and no arm "
    "narrows what users see."
)


def findings(report: StoredFairness) -> list[str]:
    """One sentence per finding that holds at every look after correction; a sentence of its own when there is none."""
    return [*_gaps(report), *_narrowing(report)] or [NOTHING]


def group_name(field: str, group: str) -> str:
    """A group of people in words."""
    return f"{field} = {group or '(none)'}"


def by_name(by: str) -> str:
    """What exposure is counted by, in words."""
    return "actions" if by == ACTION else f"{by} of the actions"


def _gaps(report: StoredFairness) -> Iterator[str]:
    for gap in report.gaps:
        if gap.differs:
            yield _gap(gap, report.reference)


def _gap(gap: GroupGap, reference: str) -> str:
    word = "less" if gap.excess < 0 else "more"
    return (
        f"In arm {gap.arm}, users with {group_name(gap.field, gap.group)} earn {abs(gap.excess):.3g} {word} per decision than "
        f"the gap in arm {reference} explains: they differ from everybody else by {gap.gap:+.3g} there, and by "
        f"{gap.reference_gap:+.3g} in arm {reference}."
    )


def _narrowing(report: StoredFairness) -> Iterator[str]:
    for curve in report.paths:
        if curve.narrows:
            yield _narrows(curve, report.reference)


def _narrows(curve: PathArm, reference: str) -> str:
    return (
        f"Arm {curve.arm} narrows what users see: from their first to their last {by_name(curve.by)} the entropy changes by "
        f"{curve.change or 0:+.2f}, {abs(curve.excess or 0):.2f} more than in arm {reference}."
    )
