"""Predicts rewards forward in time, and again with one feature permuted: how much do the predictions lean on it?"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from app.foundation.formats.intervals import document_of
from app.learning.examples import Configs
from app.off_policy.log_table import LogTable
from app.off_policy.predictions import Fold, folds, predicted
from app.off_policy.store.evaluations import LoggedRow
from app.reporting.documents.whom import FeatureImportance
from app.reporting.whom.window import MOST_FEATURES, flat, names
from bandits import reward_model
from bandits.encoding import encode_action, encode_context
from experiments.logs.importance import explained, importance, within
from experiments.multiplicity import adjust

FOLDS = 8
SEED = 20_260_101  # of the permutations: the same log gives the same figures
ALPHA = 0.05
SEEN = 1000  # newest rows that name the features of actions
FloatArray = NDArray[np.float64]


class Feature(NamedTuple):
    """What is permuted."""

    side: Literal["context", "action"]
    name: str | None  # null: the whole action


class Predicted(NamedTuple):
    """Predictions of the later rows, none from a model that had learned the row."""

    table: FloatArray  # (n, K) of each eligible action
    modelled: NDArray[np.int64]  # rows that a model predicted; the others have earlier means
    fold: NDArray[np.int64]  # of each modelled row
    plain: FloatArray  # of the modelled rows' logged actions
    permuted: dict[Feature, FloatArray]  # the same with one feature permuted within each fold


def predict(early: LogTable, late: LogTable, bounds: tuple[float, float], configs: Configs) -> Predicted:
    """Predict every eligible action, and the logged ones with each feature permuted."""
    table = np.zeros_like(late.logged)
    own = _Actions(configs)
    features = _features(late, own)
    modelled, number, permuted = [], [], {feature: [np.zeros(0)] for feature in features}
    for index, fold in enumerate(folds(early, late, FOLDS)):
        table[fold.rows] = predicted(fold, bounds)
        if fold.model is None:
            continue
        modelled.append(fold.rows)
        number.append(np.full(len(fold.rows), index))
        for feature in features:
            lines = list(_permuted(fold, feature, own, SEED + index))
            permuted[feature].append(reward_model.predict(fold.model, lines, *bounds))
    rows = np.concatenate([np.zeros(0, dtype=np.int64), *modelled])
    joined = {feature: np.concatenate(parts) for feature, parts in permuted.items()}
    where = np.concatenate([np.zeros(0, dtype=np.int64), *number])
    return Predicted(table, rows, where, table[rows, late.chosen[rows]], joined)


def described(late: LogTable, predicted: Predicted) -> list[FeatureImportance]:
    """The importance of every feature, largest first; nothing while no model has predicted."""
    rows = predicted.modelled
    if not len(rows):
        return []
    unit = np.unique(late.unit[rows], return_inverse=True)[1].astype(np.int64)
    measured = [
        (feature, importance(late.reward[rows], predicted.plain, permuted, unit, ALPHA))
        for feature, permuted in predicted.permuted.items()
    ]
    adjusted = adjust([figures.p_value for _, figures in measured], "fdr_bh")
    lines = [
        FeatureImportance(
            side=feature.side,
            feature=feature.name,
            increase=figures.increase,
            interval=document_of(figures.interval),
            p_value=figures.p_value,
            adjusted_p_value=p,
            matters=p is not None and p <= ALPHA and figures.increase > 0,
        )
        for (feature, figures), p in zip(measured, adjusted, strict=True)
    ]
    return sorted(lines, key=lambda line: -line.increase)


def explained_share(late: LogTable, predicted: Predicted) -> float | None:
    """Share of the rewards' variance that the predictions explain; below 0 where the mean reward predicts better."""
    return explained(late.reward[predicted.modelled], predicted.plain) if len(predicted.modelled) else None


class _Actions:
    """The features of logged actions. A composed message has none: its parts are its id."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs
        self._known: dict[int, dict[str, Mapping[str, JsonValue]]] = {}

    def of(self, row: LoggedRow) -> tuple[str, Mapping[str, JsonValue]]:
        """The id and the features of a row's logged action."""
        name = row.eligible[row.chosen]
        if row.actions is not None:
            return name, next((flat(action.get("features")) for action in row.actions if action["id"] == name), {})
        if row.config_version not in self._known:
            actions = self._configs.get(row.config_version).actions
            self._known[row.config_version] = {action.id: flat(action.features) for action in actions}
        return name, self._known[row.config_version].get(name, {})


def _features(late: LogTable, own: _Actions) -> list[Feature]:
    features = [Feature("context", name) for name in names(late, MOST_FEATURES)]
    if max(len(row.eligible) for row in late.rows) > 1:
        features.append(Feature("action", None))
    named = dict.fromkeys(name for row in late.rows[-SEEN:] for name in own.of(row)[1])
    return features + [Feature("action", name) for name in list(named)[: MOST_FEATURES - 1]]


def _permuted(fold: Fold, feature: Feature, own: _Actions, seed: int) -> Iterator[str]:
    """Reward-model lines of a fold's logged pairs; each has another row's value of the feature."""
    part = fold.part
    taken = within(np.zeros(len(part), dtype=np.int64), seed)
    for index, other in enumerate(taken):
        shared, line = part.shared[index], part.lines[index][part.chosen[index]]
        if feature.side == "context":
            context = _swapped(flat(part.rows[index].context), flat(part.rows[other].context), feature.name)
            shared = encode_context(context)
        elif feature.name is None:
            line = part.lines[other][part.chosen[other]]
        else:
            (name, mine), (_, its) = own.of(part.rows[index]), own.of(part.rows[other])
            line = encode_action(name, _swapped(mine, its, feature.name))
        yield reward_model.row_line(shared, line)


def _swapped(mine: Mapping[str, JsonValue], its: Mapping[str, JsonValue], name: str | None) -> dict[str, JsonValue]:
    """One's own features with the other's value of one of them, in the same order; absent where the other has none."""
    together = {**mine, **{key: value for key, value in its.items() if key == name}}
    return {key: value for key, value in together.items() if key != name or key in its}
