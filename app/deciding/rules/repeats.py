"""Find the actions that a unit has seen too often: bounds on repetition, kept before the draw.

The counts are those of the unit's own decisions, read under its lock and kept up to date within a commit, so that
simultaneous calls see each other. The reason that is logged has the count that the decision saw.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from app.content.reasons import Reason
from app.deciding.snapshot import Candidates
from app.deciding.store.units import Past
from app.design.people_config import GroupCap, RepeatsSpec
from bandits.exposure import ACTION, value_of

Group = Callable[[str], str | None]  # of an action; null: not known


def reasons(spec: RepeatsSpec, candidates: Candidates, past: Sequence[Past], now: float) -> dict[str, Reason]:
    """Return the reason against each action that would repeat too much. If that is every action, none is excluded.

    :param past: the unit's earlier decisions in the experiment, newest first.
    """
    found: dict[str, Reason] = {}
    for cap in spec.caps:
        found |= _capped(cap, _groups(candidates, cap.by), candidates.ids, past, now)
    if spec.in_a_row is not None and len(past) >= spec.in_a_row:
        group = _groups(candidates, spec.by)
        newest = {group(row.action) for row in past[: spec.in_a_row]}
        if len(newest) == 1 and None not in newest:
            (name,) = newest
            reason = Reason("in_a_row", {"limit": spec.in_a_row, "by": spec.by, "group": name})
            found |= {action: reason for action in candidates.ids if group(action) == name}
    return found if len(found) < len(candidates.ids) else {}


def _capped(cap: GroupCap, group: Group, ids: Sequence[str], past: Sequence[Past], now: float) -> dict[str, Reason]:
    since = now - cap.window_s
    counts = Counter[str | None]()
    for action, times in Counter([row.action for row in past if row.at > since]).items():
        counts[group(action)] += times
    found = {}
    for action in ids:
        name = group(action)
        seen = counts[name]
        if name is not None and seen >= cap.limit:
            params: dict[str, JsonValue] = {
                "limit": cap.limit,
                "window_s": cap.window_s,
                "by": cap.by,
                "group": name,
                "seen": seen,
            }
            found[action] = Reason("group_cap", params)
    return found


def _groups(candidates: Candidates, by: str) -> Group:
    """The group of an action; of actions that are not offered any more, only their own id is known."""
    if by == ACTION:
        return lambda action: action
    known = {action: value_of(line, by) for action, line in zip(candidates.ids, candidates.lines, strict=True)}
    return lambda action: known.get(action) or None
