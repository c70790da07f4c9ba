"""Write records as events of Vowpal Wabbit's decision service format (dsjson)."""

from app.files.dsjson import OWN_FIELDS, Record, records
from app.foundation.fields import Json


def to_dsjson(record: Record) -> Record:
    """Convert a record to an event.

    Each action has its id as a feature, so that actions without features differ. Values that Vowpal Wabbit cannot read are
    also stored in `_loopwise`.
    """
    actions = record["actions"]
    names = [action["id"] for action in actions]
    chosen = names.index(record["action"])
    id_feature = "id"
    while any(id_feature in part for action in actions for part in _parts(action["features"])):
        id_feature = f"action_{id_feature}"
    multi = [
        {"_tag": name, id_feature: name, **_readable(action["features"])}
        for name, action in zip(names, actions, strict=True)
    ]
    order = [chosen, *(index for index in range(len(names)) if index != chosen)]
    event: Record = {
        "_label_cost": 0.0 - record["reward"],
        "_label_probability": record["propensity"],
        "_label_Action": chosen + 1,
        "_labelIndex": chosen,
        "_unit": record["unit_id"],
        "Timestamp": record["decided_at"],
        "Version": "1",
        "EventId": record["decision_id"],
        "a": [index + 1 for index in order],
        "c": {**_readable(record["context"]), "_multi": multi},
        "_loopwise": {"id_feature": id_feature} | {name: record[name] for name in OWN_FIELDS if name in record},
    }
    if record.get("stands_for") is not None:
        event["pdrop"] = 1 - 1 / record["stands_for"]
    if record["propensity"] is None:
        del event["_label_probability"]
    if record["distribution"] is not None:
        event["p"] = [record["distribution"][index] for index in order]
    (back,) = records(event)
    for name in ("context", "actions"):
        if back[name] != record[name]:
            event["_loopwise"][name] = record[name]
    return event


def _parts(features: Json) -> list[Json]:
    return features if isinstance(features, list) else [features]


def _readable(features: Json) -> Record:
    """Convert features for Vowpal Wabbit's JSON reader, which accepts one object, with lists of numbers only."""
    if isinstance(features, dict):
        return {
            name.lstrip("_") or "-": _readable_value(value) for name, value in features.items() if value is not None
        }
    return {name: value for part in features for name, value in _readable(part).items()}


def _readable_value(value: Json) -> Json:
    if isinstance(value, dict):
        return _readable(value)
    if not isinstance(value, list) or all(type(item) in (int, float) for item in value):
        return value
    named = {item: True for item in value if isinstance(item, str)}
    return named | {str(n): _readable_value(item) for n, item in enumerate(value) if not isinstance(item, str | None)}
