"""Slots that exclude different actions: no slot stays empty that could be filled, and nothing is held back without need."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from bandits.filling import fillable, kept_for_later

NAMES = "abcde"
exclusions = st.lists(st.frozensets(st.sampled_from(NAMES)), min_size=1, max_size=4)


def _ways(actions: str, slots: list[frozenset[str]]) -> list[tuple[str, ...]]:
    """Every way to fill all slots, by trying all."""
    return [
        way
        for way in permutations(actions, len(slots))
        if all(action not in excluded for action, excluded in zip(way, slots, strict=True))
    ]


@given(st.integers(0, 5), exclusions)
def test_slots_are_fillable_exactly_when_some_way_fills_them(count: int, slots: list[frozenset[str]]) -> None:
    actions = NAMES[:count]
    assert fillable(actions, slots) == bool(_ways(actions, slots))


@given(exclusions)
def test_an_action_is_kept_for_later_exactly_when_taking_it_would_leave_a_slot_empty(
    slots: list[frozenset[str]],
) -> None:
    ways = _ways(NAMES, slots)
    if not ways:
        return
    own, *later = slots
    kept = kept_for_later(NAMES, own, later)
    assert {action for action in NAMES if action not in own} - kept.keys() == {way[0] for way in ways}
    for action, slot in kept.items():
        assert action not in later[slot]


def test_where_not_all_slots_can_be_filled_the_first_one_is() -> None:
    assert kept_for_later("a", frozenset(), [frozenset()]) == {}


def test_the_work_is_bounded_for_many_slots_and_actions() -> None:
    actions = [str(number) for number in range(1000)]
    tight = [frozenset(actions) - {str(number), str(number + 1)} for number in range(50)]
    assert fillable(actions, tight)
    for index in range(50):
        kept_for_later(actions[index:], tight[index], tight[index + 1 :])
