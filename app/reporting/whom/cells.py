"""What is chosen and what it earns by the values of context fields, against what the control does there."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.foundation.formats.intervals import document_of
from app.off_policy.log_table import LogTable
from app.reporting.documents.whom import ActionInValue, ArmInValue, ChosenShare, FieldReport, FieldValue
from experiments.logs.cuts import Cut
from experiments.multiplicity import adjust
from experiments.off_policy import adaptive, by_value, unit_sums
from experiments.off_policy.by_value import MIN_UNITS, Estimate, Log, Scores
from experiments.results import missing

MOST_ACTIONS = 6
ALPHA = 0.05
FloatArray = NDArray[np.float64]
Rows = NDArray[np.bool_]


class _Way(NamedTuple):
    """A way to choose: an action, or an arm."""

    scores: Scores
    could: Rows  # the rows where it could choose


class _Action(NamedTuple):
    """An action, and the same minus the control's way of choosing."""

    name: str
    way: _Way
    gap: _Way
    chosen: Rows


class Cells:
    """The rows of a log with the scores of the listed actions and of the arms."""

    def __init__(self, late: LogTable, predictions: FloatArray, bounds: tuple[float, float]) -> None:
        part = adaptive.parts(len(late))
        self.log = by_value.checked(Log(late.logged, predictions, late.chosen, late.reward, late.unit, part, bounds))
        self._late = late
        self._arm = np.array([row.arm for row in late.rows])

    def fields(self, cuts: dict[str, Cut], control: str, learning: Sequence[str]) -> list[FieldReport]:
        """Every value of every field; p-values are adjusted over all of them together."""
        arms = {arm: self._of_arm(arm) for arm in dict.fromkeys([control, *learning]) if arm in self._late.arms}
        actions = [self._of_action(name, arms.get(control), control) for name in self.actions(learning)]
        reports = [
            FieldReport(
                field=field,
                edges=groups.edges,
                values=[
                    self._value(name, groups.codes == code, actions, arms, learning)
                    for code, name in enumerate(groups.names)
                ],
            )
            for field, groups in cuts.items()
        ]
        return _adjusted(reports)

    def actions(self, learning: Sequence[str]) -> list[str]:
        """The actions that the learning arms choose most often, most frequent first."""
        counts = Counter(row.eligible[row.chosen] for row in self._late.rows if row.arm in learning)
        return sorted(counts, key=lambda name: (-counts[name], name))[:MOST_ACTIONS]

    def count_actions(self) -> int:
        """How many actions the log holds."""
        return len({name for row in self._late.rows for name in row.eligible})

    def _of_arm(self, arm: str) -> _Way:
        target = self._late.arms[arm]
        return _Way(by_value.score(self.log, target), np.asarray(target.sum(axis=1) > 0))

    def _of_action(self, name: str, control: _Way | None, control_arm: str) -> _Action:
        target = np.zeros_like(self.log.logged)
        index = np.array([row.eligible.index(name) if name in row.eligible else -1 for row in self._late.rows])
        could = index >= 0
        target[could, index[could]] = 1.0
        way = _Way(by_value.score(self.log, target), could)
        chosen = index == self.log.chosen
        if control is None:
            return _Action(name, way, way._replace(could=np.zeros_like(could)), chosen)
        both = could & control.could
        gap = np.where(both[:, None], target - self._late.arms[control_arm], 0.0)
        return _Action(name, way, _Way(by_value.score(self.log, gap), both), chosen)

    def _value(
        self, name: str, rows: Rows, actions: Sequence[_Action], arms: dict[str, _Way], learning: Sequence[str]
    ) -> FieldValue:
        control = next(iter(arms.values()), None)
        return FieldValue(
            value=name,
            decisions=int(rows.sum()),
            units=len(np.unique(self.log.unit[rows])),
            arms=[_arm(arm, self._estimate(way, rows)) for arm, way in arms.items()],
            actions=[self._action(action, rows, control, learning) for action in actions],
        )

    def _estimate(self, way: _Way, rows: Rows) -> Estimate:
        inside = rows & way.could
        if not inside.any():
            return Estimate(None, missing("it could not be chosen in these decisions"), 0.0)
        return by_value.value(self.log, way.scores, inside, ALPHA)

    def _action(self, action: _Action, rows: Rows, control: _Way | None, learning: Sequence[str]) -> ActionInValue:
        estimate, inside = self._estimate(action.way, rows), rows & action.gap.could
        gap = Estimate(None, missing("the control could not choose in these decisions"), 0.0)
        if control is not None and inside.any():
            sides = action.way.scores, control.scores, action.gap.scores
            gap = by_value.difference(self.log, *sides, inside, ALPHA)
        return ActionInValue(
            action=action.name,
            chosen=[share for arm in learning for share in self._share(action, arm, rows)],
            value=estimate.value,
            interval=document_of(estimate.interval),
            effective_units=estimate.units,
            difference=gap.value,
            difference_interval=document_of(gap.interval),
            p_value=gap.p_value,
            adjusted_p_value=None,
            differs=False,
        )

    def _share(self, action: _Action, arm: str, rows: Rows) -> list[ChosenShare]:
        mine = rows & (self._arm == arm)
        if not mine.any():
            return []
        sums = unit_sums.mean_sums(action.chosen[mine].astype(np.float64), self.log.unit[mine])
        size = unit_sums.kish(sums.weight)
        interval = missing(f"{size:.0f} effective units, {MIN_UNITS:.0f} wanted")
        if size >= MIN_UNITS:
            interval = unit_sums.one_look(sums, (0.0, 1.0), ALPHA)
        share = float(action.chosen[mine].mean())
        return [ChosenShare(arm=arm, share=share, interval=document_of(interval))]


def _arm(arm: str, estimate: Estimate) -> ArmInValue:
    return ArmInValue(arm=arm, value=estimate.value, interval=document_of(estimate.interval))


def _adjusted(reports: list[FieldReport]) -> list[FieldReport]:
    lines = [action for report in reports for value in report.values for action in value.actions]
    adjusted = iter(adjust([line.p_value for line in lines], "fdr_bh"))

    def told(action: ActionInValue) -> ActionInValue:
        p = next(adjusted)
        return action.model_copy(update={"adjusted_p_value": p, "differs": p is not None and p <= ALPHA})

    return [
        report.model_copy(
            update={
                "values": [
                    value.model_copy(update={"actions": [told(action) for action in value.actions]})
                    for value in report.values
                ]
            }
        )
        for report in reports
    ]
