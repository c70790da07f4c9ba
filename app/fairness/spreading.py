"""How the exposure of each arm spreads over actions and groups of actions, and whether it runs ahead of their value."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from app.fairness.action_groups import Groups
from app.fairness.documents import ExposureReport, PopularityReport, Share
from app.fairness.store.fairness import BLOCKS, ExposureRow
from app.foundation.formats.intervals import document_of
from bandits.exposure import ACTION
from experiments.fairness.exposure import coverage, popularity, spread

LISTED = 100  # shares of a report

Floats = NDArray[np.float64]


def exposure(
    rows: Sequence[ExposureRow], groupings: dict[str, Groups], catalogue: Sequence[str]
) -> list[ExposureReport]:
    """One report per arm, by action and by each grouping.

    :param catalogue: actions that could be shown, whether they ever were or not.
    """
    actions = list(dict.fromkeys([*catalogue, *(row.action for row in rows)]))
    by_name: dict[str, Groups] = {ACTION: {action: action for action in actions}, **groupings}
    reports = []
    for arm in sorted({row.arm for row in rows}):
        own = [row for row in rows if row.arm == arm]
        reports += [_report(arm, by, groups, own, actions) for by, groups in by_name.items()]
    return reports


def _report(arm: str, by: str, groups: Groups, rows: Sequence[ExposureRow], actions: Sequence[str]) -> ExposureReport:
    exposed = {groups.get(action, ""): 0.0 for action in actions}
    drawn = dict.fromkeys(exposed, 0)
    for row in rows:
        group = groups.get(row.action, "")
        exposed[group] += row.exposed
        drawn[group] += row.drawn
    decisions, total = sum(drawn.values()), sum(exposed.values())
    shares = np.array(list(exposed.values())) / total
    measured = spread(shares)
    lines = [
        Share(name=name, exposed=float(share), drawn=drawn[name] / decisions)
        for name, share in zip(exposed, shares, strict=True)
    ]
    lines.sort(key=lambda line: (-line.exposed, line.name))
    return ExposureReport(
        arm=arm,
        by=by,
        decisions=decisions,
        shares=lines[:LISTED],
        others=max(0, len(lines) - LISTED),
        gini=measured.gini,
        smallest=measured.smallest,
        entropy=measured.entropy,
        coverage=coverage(np.array(list(drawn.values()))),
    )


def popular(rows: Sequence[ExposureRow], units: dict[str, int], arms: Sequence[str]) -> list[PopularityReport]:
    """The popularity slope of each of these arms."""
    reports = []
    for arm in arms:
        own = [row for row in rows if row.arm == arm]
        if not own:
            continue
        index = {action: place for place, action in enumerate(dict.fromkeys(row.action for row in own))}
        exposed, reward, weight = (np.zeros((BLOCKS, len(index))) for _ in range(3))
        for row in own:
            at = row.block, index[row.action]
            exposed[at], reward[at], weight[at] = row.exposed, row.reward, row.weight
        slope = popularity(exposed, reward, weight, units.get(arm, 0))
        reports.append(PopularityReport(arm=arm, slope=slope.value, interval=document_of(slope.interval)))
    return reports
