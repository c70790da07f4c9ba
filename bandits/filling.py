"""Slots that differ: which actions a list keeps for a later slot, so that no slot stays empty that could be filled.

The slots of a page may exclude different actions. A list that chooses from the top could use up the only action that a
lower slot takes. So an action is held back where every way to fill the later slots needs it. That is a bipartite matching of
slots and actions, grown along augmenting paths (Kuhn, 1955).
"""

from collections.abc import Collection, Sequence


def kept_for_later(
    actions: Sequence[str], excluded: Collection[str], later: Sequence[Collection[str]]
) -> dict[str, int]:
    """Return the actions that a later slot needs, with the index of that slot in ``later``.

    :param actions: what is left for the present slot and the later ones.
    :param excluded: the actions that the present slot excludes.
    :param later: the actions that each later slot excludes, from the top.
    """
    # A slot that takes more actions than slots are left can be filled last, whatever the others take.
    options = {
        slot: usable
        for slot, its_own in enumerate(later)
        if len(usable := [action for action in actions if action not in its_own]) <= len(later)
    }
    taken: dict[str, int] = {}
    for slot in options:
        _fill(slot, options, taken, set())
    needed = {action: slot for action, slot in taken.items() if not _replaced(action, slot, options, taken)}
    free = [action for action in actions if action not in excluded and action not in needed]
    return needed if free else {}  # one of the slots stays empty: not the one that is seen first


def fillable(actions: Sequence[str], slots: Sequence[Collection[str]]) -> bool:
    """Return True if every slot can have an action of its own.

    :param slots: the actions that each slot excludes.
    """
    if len(slots) > len(actions):
        return False
    options = {
        slot: usable
        for slot, excluded in enumerate(slots)
        if len(usable := [action for action in actions if action not in excluded]) < len(slots)
    }
    taken: dict[str, int] = {}
    return all(_fill(slot, options, taken, set()) for slot in options)


def _replaced(action: str, slot: int, options: dict[int, list[str]], taken: dict[str, int]) -> bool:
    """Return True if the slot can have another action, with the other slots moving to make room."""
    others = {holder: place for holder, place in taken.items() if holder != action}
    return _fill(slot, options, others, {action})


def _fill(slot: int, options: dict[int, list[str]], taken: dict[str, int], tried: set[str]) -> bool:
    """Give the slot an action, moving other slots if that makes room. The depth is bounded by the number of slots."""
    for action in options[slot]:
        if action not in tried:
            tried.add(action)
            if action not in taken or _fill(taken[action], options, taken, tried):
                taken[action] = slot
                return True
    return False
