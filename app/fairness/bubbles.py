"""The filter-bubble curve of each arm: what people are shown from their first decisions to their last."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from app.fairness.action_groups import Groups
from app.fairness.documents import PathArm, PathStage
from app.fairness.store.fairness import PathRow
from app.foundation.formats.intervals import document_of
from bandits.exposure import ACTION
from experiments.fairness.paths import STAGE, Stage, excess_change, stages

MOST_STAGES = 20
LONGEST = STAGE * MOST_STAGES  # decisions of a person that are read
LEAST = 2 * STAGE
DECISIONS = 50_000  # of all people
LEAST_PEOPLE = 10  # of a stage that is shown

Paths = dict[str, list[list[Stage]]]  # by arm, the stages of each person


def curves(rows: Sequence[PathRow], groupings: dict[str, Groups], reference: str, alpha: float) -> list[PathArm]:
    """The curves of all arms by action and by each grouping, uncorrected: ``report`` corrects over all lines."""
    actions = sorted({action for row in rows for action in row.eligible})
    by_name: dict[str, Groups] = {ACTION: {action: action for action in actions}, **groupings}
    found = []
    for by, groups in by_name.items():
        names = sorted({groups.get(action, "") for action in actions})
        if len(names) < 2:
            continue
        index = {name: place for place, name in enumerate(names)}
        codes = {action: index[groups.get(action, "")] for action in actions}
        paths = _paths(rows, codes, len(names))
        found += [_arm(arm, by, paths, reference, alpha) for arm in sorted(paths)]
    return found


def _paths(rows: Sequence[PathRow], codes: dict[str, int], count: int) -> Paths:
    paths: Paths = defaultdict(list)
    for arm, own in _people(rows):
        chances = np.zeros((len(own), count))
        for place, row in enumerate(own):
            np.add.at(chances[place], [codes[action] for action in row.eligible], row.chances)
        drawn = np.array([codes[row.eligible[row.chosen]] for row in own])
        paths[arm].append(stages(chances, drawn))
    return paths


def _people(rows: Sequence[PathRow]) -> Iterator[tuple[str, list[PathRow]]]:
    for _, own in groupby(rows, key=lambda row: row.unit_id):
        path = list(own)
        yield path[0].arm, path


def _changes(people: Sequence[Sequence[Stage]]) -> NDArray[np.float64]:
    return np.array([path[-1].entropy - path[0].entropy for path in people if len(path) > 1])


def _arm(arm: str, by: str, paths: Paths, reference: str, alpha: float) -> PathArm:
    changes = _changes(paths[arm])
    world = _changes(paths.get(reference, []))
    compared = excess_change(changes, world, alpha=alpha) if arm != reference and len(changes) and len(world) else None
    return PathArm(
        arm=arm,
        by=by,
        stages=list(_stages(paths[arm])),
        people=len(changes),
        change=float(changes.mean()) if len(changes) else None,
        excess=compared.excess if compared else None,
        interval=document_of(compared.interval) if compared else None,
        adjusted_p_value=compared.p_value if compared else None,
        narrows=False,
    )


def _stages(people: Sequence[Sequence[Stage]]) -> Iterator[PathStage]:
    for place in range(max(len(path) for path in people)):
        reached = [path[place] for path in people if len(path) > place]
        if place > 1 and len(reached) < LEAST_PEOPLE:
            return
        entropies = np.array([stage.entropy for stage in reached])
        error = float(entropies.std(ddof=1)) / len(reached) ** 0.5 if len(reached) > 1 else 0.0
        repeats = np.array([stage.repeats for stage in reached])
        yield PathStage(
            stage=place + 1,
            people=len(reached),
            entropy=float(entropies.mean()),
            entropy_error=error,
            repeats=float(repeats.mean()),
            variety=float(np.mean([stage.variety for stage in reached])),
        )
