"""What each part of a composed message is worth, on adaptive logs.

Estimand: the mean reward per decision, had the slot always had this part, and the other slots what they had together with it.
The target's probability of a combination with the part is the logged one divided by the part's marginal probability, so its
weight is one over that marginal: no assumption about how slots work together is needed. ``experiments.off_policy.by_value``
has the scores and intervals.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.content.composition_config import NOTHING, SAY, parts_of
from app.foundation.formats.intervals import document_of
from app.off_policy.log_table import LogTable
from app.reporting.documents.slots import PartValue, SlotValues
from experiments.multiplicity import adjust
from experiments.off_policy import adaptive, by_value
from experiments.off_policy.by_value import Estimate, Log, Scores
from experiments.results import missing

ALPHA = 0.05
SOMETHING = "something"
FloatArray = NDArray[np.float64]


class _Slot(NamedTuple):
    """A slot of the log's combinations."""

    name: str
    parts: list[str]
    codes: NDArray[np.int64]  # (n, K) the part of each eligible action; -1: it has none


def valued(late: LogTable, predictions: FloatArray, bounds: tuple[float, float]) -> list[SlotValues]:
    """The parts of every slot; p-values are adjusted over all of them together.

    :param predictions: (n, K) of every eligible action, from models that had not learned the row.
    """
    stretches = adaptive.parts(len(late))
    log = Log(late.logged, predictions, late.chosen, late.reward, late.unit, stretches, bounds)
    return of_log(by_value.checked(log), [row.eligible for row in late.rows])


def of_log(log: Log, eligible: Sequence[Sequence[str]]) -> list[SlotValues]:
    """The same of a log whose rows' eligible combinations are given by their ids."""
    slots = _slots(eligible, log.logged.shape[1])
    values = [
        SlotValues(slot=slot.name, parts=[_part(log, slot, code) for code in range(len(slot.parts))]) for slot in slots
    ]
    return _adjusted(values)


def _slots(eligible: Sequence[Sequence[str]], width: int) -> list[_Slot]:
    """The slots and their parts in the order in which they first occur; whether to say something is a slot if both occur."""
    names: dict[str, dict[str, int]] = {}
    codes: dict[str, NDArray[np.int64]] = {}

    def note(slot: str, part: str, row: int, action: int) -> None:
        known = names.setdefault(slot, {})
        own = codes.setdefault(slot, np.full((len(eligible), width), -1, dtype=np.int64))
        own[row, action] = known.setdefault(part, len(known))

    for row, actions in enumerate(eligible):
        for action, name in enumerate(actions):
            note(SAY, NOTHING if name == NOTHING else SOMETHING, row, action)
            for part in parts_of(name) if name != NOTHING else ():
                slot, _, own = part.partition("=")
                note(slot, own, row, action)
    if len(names.get(SAY, {})) < 2:
        names.pop(SAY, None)
    return [_Slot(slot, list(known), codes[slot]) for slot, known in names.items()]


def _part(log: Log, slot: _Slot, code: int) -> PartValue:
    rows = np.arange(len(log.reward))
    target, could = _given(log.logged, slot.codes == code)
    usual, _ = _given(log.logged, slot.codes >= 0)
    had = slot.codes[rows, log.chosen] == code
    value, gap = Estimate(None, missing("it could not be chosen"), 0.0), Estimate(None, missing("no value"), 0.0)
    if could.any():
        apart = np.where(could[:, None], target - usual, 0.0)
        scores, other, between = (_scored(log, chances) for chances in (target, usual, apart))
        value = by_value.value(log, scores, could, ALPHA)
        gap = by_value.difference(log, scores, other, between, could, ALPHA)
    return PartValue(
        part=slot.parts[code],
        shown=int(had.sum()),
        units=len(np.unique(log.unit[had])),
        value=value.value,
        interval=document_of(value.interval),
        effective_units=value.units,
        difference=gap.value,
        difference_interval=document_of(gap.interval),
        p_value=gap.p_value,
        adjusted_p_value=None,
        differs=False,
    )


def _scored(log: Log, target: FloatArray) -> Scores:
    """The scores of a target, each row with the same weight.

    The target follows what the other slots had, which changes while an arm learns. Weights of stretches of time would change
    what is estimated: measured coverage fell to 91%.
    """
    scores = by_value.score(log, target)
    return scores if (scores.noise == 0).all() else scores._replace(noise=np.ones_like(scores.noise))


def _given(logged: FloatArray, mask: NDArray[np.bool_]) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The logged distribution, given that one of the masked actions is chosen, and the rows where one could be."""
    inside = np.where(mask, logged, 0.0)
    total = inside.sum(axis=1)
    could = total > 0
    return np.divide(inside, total[:, None], out=np.zeros_like(inside), where=could[:, None]), could


def _adjusted(slots: list[SlotValues]) -> list[SlotValues]:
    adjusted = iter(adjust([part.p_value for slot in slots for part in slot.parts], "fdr_bh"))
    result = []
    for slot in slots:
        parts = []
        for part in slot.parts:
            p = next(adjusted)
            parts.append(part.model_copy(update={"adjusted_p_value": p, "differs": p is not None and p <= ALPHA}))
        ranked = sorted(parts, key=lambda part: (part.value is None, -(part.value or 0.0)))
        result.append(SlotValues(slot=slot.slot, parts=ranked))
    return result
