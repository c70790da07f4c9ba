"""Groups of actions: each action is its own, or the values of a text feature, such as a supplier or a topic."""

from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.fairness.store import fairness as store
from bandits.exposure import ACTION

MOST_FEATURES = 4  # of actions that are reported
Groups = dict[str, str]  # by action, its group


def groupings(connection: Connection, experiment_id: int, config: ExperimentConfig) -> dict[str, Groups]:
    """By name of a text feature, the group of each known action; the features that the arms' bounds name come first.

    Features come from the newest configuration and, where calls bring their own actions, from the newest calls.
    """
    features: dict[str, JsonValue] = store.features(connection, experiment_id)
    for action in config.all_actions():
        features[action.id] = action.model_dump(mode="json")["features"]
    texts = {action: _texts(value) for action, value in features.items()}
    counts = Counter(name for values in texts.values() for name in values)
    bounded = bounded_features(config)
    names = [
        name for name in counts if name in bounded or _divides([values.get(name, "") for values in texts.values()])
    ]
    names.sort(key=lambda name: (name not in bounded, -counts[name], name))
    return {name: {action: values.get(name, "") for action, values in texts.items()} for name in names[:MOST_FEATURES]}


def bounded_features(config: ExperimentConfig) -> list[str]:
    """The features by which some arm bounds its exposure."""
    found = []
    for arm in config.arms:
        exposure = arm.policy.get("exposure")
        by = exposure.get("by") if isinstance(exposure, Mapping) else None
        if isinstance(by, str) and by != ACTION:
            found.append(by)
    return found


def _texts(features: JsonValue) -> dict[str, str]:
    parts: Sequence[JsonValue] = features if isinstance(features, list) else [features]
    objects = [part for part in parts if isinstance(part, Mapping)]
    return {name: value for part in objects for name, value in part.items() if isinstance(value, str)}


def _divides(values: Sequence[str]) -> bool:
    """Whether a feature makes several groups, of which one at least has several actions."""
    return 1 < len(set(values)) < len(values)
