"""Composed messages: a choice per slot, and the exact joint distribution over the combinations that may be shown.

The line of a combination joins the lines of its parts, each beginning with `|a`. As a VW line it is an ordinary action,
and its parts can be read back from it, because encoding.py escapes every other `|`. A line with a single part is an
action that says nothing.

The first choice, the slot `SAY`, is whether to say something at all; where saying nothing is not eligible, it has a
single possibility. Then every slot chooses a part. VW answers with a distribution per slot. Loopwise draws from, and
logs,

    P(combination) = P(say something) * product of P(part) over the slots / (that product, summed over all eligible)

which equals VW's own draws, slot by slot, when a forbidden or ineligible combination is drawn again. A slot's
propensity is the marginal of that joint distribution, given that something is said. The conditional probabilities of
the slots, each given the slots above, multiply to the joint probability within float64.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bandits.distribution import DistributionError, FloatArray, mix_floor

SAY: Final = "|a =%"  # the line of "say something": no id is empty, so no other line equals it
# Mixed evenly into the joint distribution: products of the slots' floors become too small to learn from.
JOINT_FLOOR: Final = 1e-5
SUM_TOLERANCE: Final = 1e-6


class Table(NamedTuple):
    """n actions as choices per slot. The first slot says whether to say something."""

    slots: tuple[tuple[str, ...], ...]  # per slot its possibilities, in the order in which they first occur
    choices: NDArray[
        np.int64
    ]  # (n, slots): the possibility in each slot; -1: the action says nothing and has no such slot


class SlotChoice(NamedTuple):
    """The choice of a slot in a decision."""

    chosen: int  # index in the slot's possibilities
    propensity: float  # marginal probability, given that something is said (of the first slot: that it is)
    given_above: float  # given the choices in the slots above; these multiply to the joint probability
    distribution: list[float]  # the marginals of all possibilities


@lru_cache(maxsize=16384)
def parts_of(line: str) -> tuple[str, ...]:
    """The lines of a combination's parts; a single line says nothing."""
    first, *others = line.split(" |")
    return (first, *(f"|{part}" for part in others))


def table_of(actions: Sequence[Sequence[str]]) -> Table:
    """The slots of actions, each given as its parts; an action with a single part says nothing.

    :raises ValueError: actions have different numbers of slots, or two actions are the same.
    """
    sizes = {len(parts) for parts in actions if len(parts) > 1}
    if len(sizes) > 1 or not actions:
        raise ValueError("all combinations must fill the same slots, and there must be one action")
    if len({tuple(parts) for parts in actions}) != len(actions):
        raise ValueError("two actions are the same combination")
    width = 1 + max(sizes, default=0)
    known: list[dict[str, int]] = [{SAY: 0} if sizes else {}, *({} for _ in range(width - 1))]
    choices = np.full((len(actions), width), -1, dtype=np.int64)
    for row, parts in enumerate(actions):
        filled = parts if len(parts) == 1 else (SAY, *parts)
        for slot, part in enumerate(filled):
            choices[row, slot] = known[slot].setdefault(part, len(known[slot]))
    return Table(tuple(tuple(slot_parts) for slot_parts in known), choices)


def joint(table: Table, slot_chances: Sequence[Sequence[float]], floor: float) -> FloatArray:
    """The distribution over the actions, shape (n,), from one distribution per slot, the floor mixed into each slot.

    Sums to 1 within 1e-12; with a floor above 0 no entry is 0. Raises `DistributionError` as `mix_floor`.
    """
    mixed = [mix_floor(chances, floor) for chances in slot_chances]
    if [len(chances) for chances in mixed] != [len(parts) for parts in table.slots]:
        raise DistributionError("needs one distribution per slot, over its possibilities")
    chances = mixed[0][table.choices[:, 0]]
    says = _says(table)
    if says.any():
        product = np.ones(len(chances))
        for slot in range(1, len(mixed)):  # in this order everywhere: floating-point products depend on it
            product[says] *= mixed[slot][table.choices[says, slot]]
        total = math.fsum(product[says].tolist())
        if not total > 0.0:
            raise DistributionError("every eligible combination has probability 0")
        chances = np.where(says, chances * (product / total), chances)
    return mix_floor(chances, JOINT_FLOOR if floor else 0.0)


def marginals(table: Table, chances: Sequence[float] | FloatArray) -> list[list[float]]:
    """The probabilities of each slot's possibilities; from the second slot on, given that something is said."""
    p = np.asarray(chances, dtype=np.float64)
    says = _says(table)
    said = math.fsum(p[says].tolist())
    shares = [_sums(table.choices[:, 0], p, len(table.slots[0]), math.fsum(p.tolist()))]
    shares += [
        _sums(table.choices[says, slot], p[says], len(table.slots[slot]), said) for slot in range(1, len(table.slots))
    ]
    return shares


def choices_of(table: Table, chances: Sequence[float] | FloatArray, chosen: int) -> list[SlotChoice]:
    """The choice of each slot; a single entry when nothing was said."""
    p = np.asarray(chances, dtype=np.float64)
    picked = [int(choice) for choice in table.choices[chosen] if choice >= 0]
    same_above, slot_choices = np.ones(len(p), dtype=bool), []
    above = math.fsum(p.tolist())
    for slot, (index, distribution) in enumerate(zip(picked, marginals(table, p), strict=False)):
        same_above = same_above & (table.choices[:, slot] == index)
        here = math.fsum(p[same_above].tolist())
        slot_choices.append(SlotChoice(index, distribution[index], here / above if above else 0.0, distribution))
        above = here
    return slot_choices


def question_text(table: Table, shared_line: str) -> str:
    """The slots in VW's slates format, without labels, for a prediction. Raises `ValueError` on lines of another form."""
    lines = [f"slates {shared_line}", *_action_lines(table.slots), *["slates slot |"] * len(table.slots)]
    return _joined(lines, shared_line)


def example_text(
    table: Table, shared_line: str, chances: Sequence[float] | FloatArray, chosen: int, cost: float
) -> str:
    """An example in VW's slates format: the shared cost, each slot's choice and its propensity; ends with an empty line.

    An action that says nothing teaches only the first slot. Raises `ValueError` on lines of another form, and when the
    distribution does not sum to 1, as in an imported log that holds only the chosen action's probability.
    """
    p = np.asarray(chances, dtype=np.float64)
    whole = len(p) == len(table.choices) and abs(math.fsum(p.tolist()) - 1.0) <= SUM_TOLERANCE
    if not whole or not p[chosen] > 0.0:
        raise ValueError("its logged distribution does not sum to 1, or gives the chosen action probability 0")
    slot_choices = choices_of(table, p, chosen)
    shared = f"slates shared {float(cost)!r} {shared_line.removeprefix('shared ')}"
    slots = [f"slates slot {choice.chosen}:{choice.propensity!r} |" for choice in slot_choices]
    return _joined([shared, *_action_lines(table.slots[: len(slot_choices)]), *slots], shared_line) + "\n\n"


def _joined(lines: list[str], shared_line: str) -> str:
    text = "\n".join(lines)
    if text.count("\n") != len(lines) - 1 or "\r" in text or not shared_line.startswith("shared |"):
        raise ValueError("its lines differ from what encode_context and encode_action write")
    return text


def _action_lines(slots: Sequence[Sequence[str]]) -> list[str]:
    return [f"slates action {slot} {part}" for slot, parts in enumerate(slots) for part in parts]


def _says(table: Table) -> NDArray[np.bool_]:
    """Which actions say something."""
    if table.choices.shape[1] == 1:
        return np.zeros(len(table.choices), dtype=bool)
    says: NDArray[np.bool_] = table.choices[:, 1] >= 0
    return says


def _sums(choices: NDArray[np.int64], p: FloatArray, size: int, total: float) -> list[float]:
    """Correctly rounded sums of probabilities by choice, as shares of the total."""
    if not total > 0.0:
        return [0.0] * size
    return [min(math.fsum(p[choices == possibility].tolist()) / total, 1.0) for possibility in range(size)]
