"""Read events of Vowpal Wabbit's decision service format (dsjson), as services that log it write them.

An event is a decision with its label, or several for a multi-slot event (one per slot, like the positions of a list). An
event that is none is left out with a reason, and an event of a kind that has no place here is refused in a sentence.
"""

from collections.abc import Mapping
from typing import Final

from app.files.values import id_of, number_of
from app.foundation.fields import Json, JsonObject

Event = Mapping[str, Json]  # JSON, as the file has it
Record = JsonObject
REWARD_ALONE: Final = "a reward without its decision: it was not joined in time, or its decision is in another file"
NEVER_SHOWN: Final = "a decision that was deferred and never shown"
NO_REWARD: Final = "a decision without a reward (no _label_cost, and no single observation)"
# What dsjson has no place for stands in `_loopwise`, which Vowpal Wabbit ignores.
OWN_FIELDS: Final = ("arm", "arm_probability", "policy_version", "arm_propensity", "arm_distributions", "experiment")


class NotAnEvent(ValueError):
    """An event cannot be read as decisions; the text is the rest of a sentence."""


def reason_to_leave_out(event: Event) -> str | None:
    """Say why an event is no decision with a reward; None if it is one.

    An event that was deferred counts only if an observation says that its action was taken. It never counts as reward 0.

    :raises NotAnEvent: it is of a kind that cannot be converted.
    """
    if "c" not in event and ("RewardValue" in event or "o" in event or "v" in event):
        return REWARD_ALONE
    if event.get("_skipLearn") is True or event.get("skipLearn") is True:
        return NEVER_SHOWN
    if event.get("DeferredAction") is True and event.get("_skipLearn") is None and not _was_shown(event):
        return NEVER_SHOWN
    _refuse_other_kinds(event)
    return None if "_outcomes" in event or _reward(event) is not None else NO_REWARD


def records(event: Event, name: str | None = None) -> list[Record]:
    """Convert an event to records, one per slot. The cost is the negative reward.

    :param name: of the event if it has no ``EventId``, so that its slots stay together.
    :raises NotAnEvent: it cannot be converted; the text says why.
    """
    context, multi = _context(event)
    exact = event.get("_loopwise")
    if isinstance(exact, dict):
        return [_own(event, context, multi, exact)]
    names = _names(multi)
    features = [{"id": name, "features": _visible(action)} for name, action in zip(names, multi, strict=True)]
    base: Record = {
        "decision_id": event.get("EventId"),
        "decided_at": event.get("Timestamp"),
        "context": _visible(context),
        "stands_for": stands_for(event),
    }
    if "_unit" in event:
        base["unit_id"] = event["_unit"]
    if "_outcomes" in event:
        return _slots(event, base, features, id_of(event.get("EventId")) or name)
    return [base | _choice(event, features)]


def stands_for(event: Event) -> float | None:
    """Return how many events this one counts as. One in so many like it was logged, the others were dropped (``pdrop``).

    None: as itself alone.

    :raises NotAnEvent: pdrop is no probability below 1.
    """
    value = event.get("pdrop", 0)
    chance = number_of(value)
    if chance is None or not 0 <= chance < 1:
        raise NotAnEvent(f"pdrop is {value!r}; a log of which everything was dropped says nothing")
    return 1 / (1 - chance) if chance else None


def _refuse_other_kinds(event: Event) -> None:
    if "c" not in event:
        kind = " (it looks like Vowpal Wabbit's plain JSON, which has no decisions)" if "_label" in event else ""
        raise NotAnEvent(f"there is no c with the context and the actions{kind}")
    content = event["c"]
    if "_label_ca" in event or "_label_Continuous" in event:
        raise NotAnEvent("continuous actions (_label_ca) are not supported: actions must be a list")
    if not isinstance(content, dict) or not isinstance(content.get("_multi"), list):
        raise NotAnEvent("c has no _multi, the list of actions; events without it are not supported")
    if any(isinstance(action, dict) and "_slot_id" in action for action in content["_multi"]):
        raise NotAnEvent("slates (_slot_id: one cost for all slots together) are not supported")
    if "_slots" in content and "_outcomes" not in event:
        raise NotAnEvent("a multi-slot event needs _outcomes, one per slot")
    if any("_definitely_bad" in seen for seen in _observations(event)):
        raise NotAnEvent("interaction-grounded learning (_definitely_bad) is not supported: its rewards are unknown")


def _context(event: Event) -> tuple[JsonObject, list[JsonObject]]:
    content = event["c"]
    multi = content["_multi"]
    if not multi or not all(isinstance(action, dict) for action in multi):
        raise NotAnEvent("_multi must be a list of objects, one per action")
    return {name: value for name, value in content.items() if name not in ("_multi", "_slots")}, multi


def _names(multi: list[JsonObject]) -> list[str]:
    """Name every action by its tag, its id, or its position. Two actions of one name are two actions: the second is `x #2`."""
    names: list[str] = []
    for index, action in enumerate(multi):
        inner = action.get("i")
        given = [action.get("_tag"), action.get("id"), inner.get("id") if isinstance(inner, dict) else None]
        first = next((text for text in map(id_of, given) if text), str(index + 1))
        name, number = first, 1
        while name in names:
            number += 1
            name = f"{first} #{number}"
        names.append(name)
    return names


def _visible(features: Json) -> Json:
    """Return features without what Vowpal Wabbit ignores: names that begin with an underscore."""
    if isinstance(features, dict):
        return {name: _visible(value) for name, value in features.items() if not name.startswith("_")}
    return [_visible(item) for item in features] if isinstance(features, list) else features


def _choice(event: Event, actions: list[Record]) -> Record:
    chosen = _chosen(event, len(actions))
    distribution = _distribution(event.get("a"), event.get("p"), len(actions))
    propensity = event.get("_label_probability")
    if propensity is None and distribution is not None:
        propensity = distribution[chosen]
    return {
        "actions": actions,
        "distribution": distribution,
        "action": actions[chosen]["id"],
        "propensity": propensity,
        "reward": _reward(event),
    }


def _chosen(event: Event, count: int) -> int:
    """Return the index of the chosen action, which up to three fields name."""
    order = event.get("a")
    found = {}
    if "_labelIndex" in event:
        found["_labelIndex"] = _index(event["_labelIndex"], "_labelIndex")
    if "_label_Action" in event:
        found["_label_Action"] = _index(event["_label_Action"], "_label_Action") - 1
    if not found and isinstance(order, list) and order:
        found["a"] = _index(order[0], "a") - (0 if 0 in order else 1)
    if not found:
        raise NotAnEvent("neither _labelIndex nor _label_Action nor a says which action was chosen")
    if len(set(found.values())) > 1:
        raise NotAnEvent("_labelIndex (from 0) and _label_Action (from 1) name different actions")
    (chosen,) = set(found.values())
    if not 0 <= chosen < count:
        raise NotAnEvent(f"{next(iter(found))} names an action that _multi does not have")
    return chosen


def _index(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise NotAnEvent(f"{name} is {value!r}; it must hold whole numbers")
    return value


def _distribution(order: Json, chances: Json, count: int) -> list[float] | None:
    """Return the probabilities in the order of the actions; None if the event does not hold them all.

    :param order: numbers of the actions in the order of ``chances``, from 1 (or from 0, if they are).
    """
    if order is None or chances is None:
        return None
    if not isinstance(order, list) or not isinstance(chances, list) or len(order) != len(chances):
        raise NotAnEvent("a and p must be lists of the same length")
    numbers = [_index(item, "a") for item in order]
    first = 0 if 0 in numbers else 1
    if sorted(numbers) != list(range(first, count + first)):
        if len(numbers) < count and len(set(numbers)) == len(numbers) and all(0 <= n <= count for n in numbers):
            return None
        raise NotAnEvent("a and p must name every action of _multi once")
    distribution = [0.0] * count
    for number, chance in zip(numbers, chances, strict=True):
        distribution[number - first] = _number(chance, "p")
    return distribution


def _number(value: object, name: str) -> float:
    number = number_of(value)
    if number is None:
        raise NotAnEvent(f"{name} holds {value!r}, which is not a number")
    return number


def _reward(labelled: Event) -> float | None:
    given = {}
    if labelled.get("_label_cost") is not None:
        given["_label_cost"] = 0.0 - _number(labelled["_label_cost"], "_label_cost")
    if labelled.get("_label_reward") is not None:
        given["_label_reward"] = _number(labelled["_label_reward"], "_label_reward")
    if len(set(given.values())) > 1:
        raise NotAnEvent("_label_cost and _label_reward contradict each other")
    if given:
        return next(iter(given.values()))
    seen = [number_of(one["v"]) for one in _observations(labelled) if "v" in one]
    return seen[0] if len(seen) == 1 else None


def _observations(event: Event) -> list[Event]:
    found = event.get("o", event.get("_o"))
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _was_shown(event: Event) -> bool:
    slots = event.get("_outcomes")
    parts = [event, *(slot for slot in slots if isinstance(slot, dict))] if isinstance(slots, list) else [event]
    return any(seen.get("ActionTaken") is True for part in parts for seen in _observations(part))


def _slots(event: Event, base: Record, actions: list[Record], key: str | None) -> list[Record]:
    """Convert a multi-slot event: each slot chooses among the actions that are left, like a position of a list."""
    outcomes, slots = event["_outcomes"], event["c"].get("_slots")
    if not isinstance(outcomes, list) or not isinstance(slots, list) or len(outcomes) != len(slots) or not slots:
        raise NotAnEvent("_outcomes and c._slots must be lists of the same length, one entry per slot")
    found = []
    for number, (outcome, slot) in enumerate(zip(outcomes, slots, strict=True), start=1):
        if not isinstance(outcome, dict) or not isinstance(slot, dict):
            raise NotAnEvent("every entry of _outcomes and _slots must be an object")
        record = base | _slot_choice(outcome, actions)
        if key is not None:
            record["decision_id"] = key if number == 1 else f"{key}#{number}"
            record.setdefault("unit_id", key)  # slots of one event depend on each other
        if record["reward"] is None:
            raise NotAnEvent(f"slot {number} has no _label_cost")
        if isinstance(base["context"], dict):
            record["context"] = base["context"] | ({"slot": _visible(slot)} if _visible(slot) else {})
            record["context"] |= {"position": str(number)} if number > 1 else {}
        found.append(record)
    return found


def _slot_choice(outcome: Event, actions: list[Record]) -> Record:
    order, chances = outcome.get("_a"), outcome.get("_p")
    if not isinstance(order, list) or not isinstance(chances, list) or len(order) != len(chances) or not order:
        raise NotAnEvent("_a and _p of a slot must be lists of the same length")
    indexes = [_index(item, "_a") for item in order]
    if len(set(indexes)) != len(indexes) or not all(0 <= index < len(actions) for index in indexes):
        raise NotAnEvent("_a must name actions of _multi, from 0, each once")
    if len(indexes) == 1 and chances != [1] and len(actions) > 1:
        raise NotAnEvent("_a names only the chosen action; which others were eligible for the slot is not in the event")
    return {
        "actions": [actions[index] for index in indexes],
        "distribution": [_number(chance, "_p") for chance in chances],
        "action": actions[indexes[0]]["id"],
        "propensity": chances[0],
        "reward": _reward(outcome),
    }


def _own(event: Event, context: JsonObject, multi: list[JsonObject], exact: JsonObject) -> Record:
    """Read an event that `loopwise export` wrote. Its ``_loopwise`` holds what the format has no place for."""
    hidden = ("_tag", exact.get("id_feature"))
    names = [id_of(action.get("_tag")) or str(index + 1) for index, action in enumerate(multi)]
    actions = [
        {"id": name, "features": {key: value for key, value in action.items() if key not in hidden}}
        for name, action in zip(names, multi, strict=True)
    ]
    record = {
        "decision_id": event.get("EventId"),
        "decided_at": event.get("Timestamp"),
        "unit_id": event.get("_unit"),
        "context": context,
        "stands_for": stands_for(event),
        **_choice(event, actions),
    }
    return record | {name: exact[name] for name in (*OWN_FIELDS, "context", "actions") if name in exact}
