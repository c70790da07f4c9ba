"""What follows from a composed message's definition: the rules, the encoded combinations, the texts, the slots of a decision."""

from collections.abc import Sequence
from typing import Any, TypedDict

from pydantic import JsonValue

from app.content.composition_config import (
    SAY,
    Combination,
    CompositionSpec,
    PartSpec,
    parts_of,
)
from app.content.message_config import PARTS
from app.content.message_templates import NotFor, Rendered, checked_length, choose_locale, render_part
from app.foundation.fields import JsonObject
from bandits import slates
from bandits.encoding import encode_action

JOINTS = {"title": " ", "body": "\n", "call_to_action": " "}  # between two parts of one place


def line_of(spec: CompositionSpec, combination: Combination) -> str:
    """A combination's line: its parts' lines one after the other, which ``bandits.slates`` takes apart again."""
    return " ".join(part_line(slot.name, part) for slot, part in zip(spec.slots, combination.parts, strict=True))


def part_line(slot: str, part: PartSpec) -> str:
    """One part's line. Features carry the slot's name, so that those of two slots stay apart.

    :raises FeatureError: features that cannot be encoded.
    """
    return encode_action(f"{slot}={part.id}", {slot: part.features} if part.features else None)


def features_of(spec: CompositionSpec, combination: Combination) -> JsonObject:
    """A combination's features as people see them: per slot the part's id and its own features."""
    named = zip(spec.slots, combination.parts, strict=True)
    return {slot.name: [{"part": part.id}, *_listed(part.features)] for slot, part in named}


class Composer:
    """Renders combinations for one person; each part is rendered once, however many combinations hold it."""

    def __init__(self, spec: CompositionSpec, locale: str, given: JsonObject) -> None:
        """:param given: values of variables; null and empty ones count as missing."""
        self._spec = spec
        self._locale = locale
        self._values = {name: value for name, value in given.items() if value is not None and value != ""}
        self._known: dict[tuple[int, str, str], str | dict[str, JsonValue]] = {}

    def render(self, action_id: str) -> Rendered:
        """The message of a combination.

        :raises NotFor: a placeholder of a part has no value, or the message is too long or empty; in words.
        """
        combination = self._spec.by_id[action_id]
        locale = choose_locale(combination.locales, self._locale)
        places: dict[str, list[str]] = {place: [] for place in PARTS}
        for number, (slot, part) in enumerate(zip(self._spec.slots, combination.parts, strict=True)):
            places[slot.place].append(self._part(number, part, locale))
        channel = self._spec.channel
        texts = {place: checked_length(channel, place, _joined(place, found)) for place, found in places.items()}
        if not texts["body"]:
            raise NotFor("empty_body")
        return Rendered(locale, channel, **texts)

    def _part(self, number: int, part: PartSpec, locale: str) -> str:
        name = (number, part.id, locale)
        if name not in self._known:
            try:
                self._known[name] = render_part(
                    locale, self._spec.slots[number].place, part.texts[locale], self._values
                )
            except NotFor as error:
                slot, reason = self._spec.slots[number].name, error.reason
                self._known[name] = {"slot": slot, "part": part.id, "code": reason.code, **reason.params}
        text = self._known[name]
        if isinstance(text, dict):
            raise NotFor("of_part", **text)
        return text


class PartShare(TypedDict):
    """One part of a slot, and how likely it was."""

    part: str
    probability: float


class SlotAnswer(TypedDict):
    """What one slot of a composed message did in a decision."""

    slot: str
    part: str
    propensity: float
    given_above: float
    distribution: list[PartShare]  # from likely to unlikely


def slots_of(eligible: Sequence[str], distribution: Sequence[float], chosen: int) -> list[SlotAnswer]:
    """What each slot did in a decision, from its joint distribution: exact, also after forbidden pairs were left out.

    ``propensity`` and ``distribution`` are marginal, given that something is said; ``given_above`` is the probability given
    the slots above, and these multiply to the decision's propensity. Where nothing may be said, the slot "say" comes first.
    """
    table = slates.table_of([parts_of(name) for name in eligible])
    answers: list[SlotAnswer] = []
    for number, one in enumerate(slates.choices_of(table, distribution, chosen)):
        possible = table.slots[number]
        if number == 0 and len(possible) == 1 and possible[0] == slates.SAY:
            continue
        slot = possible[0].partition("=")[0] if number else SAY
        names = [name.partition("=")[2] if number else _said(name) for name in possible]
        shares: list[PartShare] = [
            {"part": name, "probability": p} for name, p in zip(names, one.distribution, strict=True)
        ]
        answers.append(
            {
                "slot": slot,
                "part": names[one.chosen],
                "propensity": one.propensity,
                "given_above": one.given_above,
                "distribution": sorted(shares, key=lambda share: -share["probability"]),
            }
        )
    return answers


def _said(name: str) -> str:
    return "something" if name == slates.SAY else name


def _joined(place: str, texts: list[str]) -> str:
    return JOINTS[place].join(text for text in texts if text)


def _listed(features: Any) -> list[Any]:
    return features if isinstance(features, list) else [features] if features else []
