"""Composed messages: the encoding of combinations, their rendered texts, and the slots of a decision."""

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

JOINTS = {"title": " ", "body": "\n", "call_to_action": " "}  # between two parts in the same field of the message


def line_of(spec: CompositionSpec, combination: Combination) -> str:
    """Return the line of a combination: the lines of its parts in order. ``bandits.slates`` splits it again."""
    return " ".join(part_line(slot.name, part) for slot, part in zip(spec.slots, combination.parts, strict=True))


def part_line(slot: str, part: PartSpec) -> str:
    """Return the line of a part. Its features carry the slot's name, so that features of two slots never mix.

    :raises FeatureError: features that cannot be encoded.
    """
    return encode_action(f"{slot}={part.id}", {slot: part.features} if part.features else None)


def features_of(spec: CompositionSpec, combination: Combination) -> JsonObject:
    """Return a combination's features as people see them: per slot the part's id and its own features."""
    named = zip(spec.slots, combination.parts, strict=True)
    return {slot.name: [{"part": part.id}, *_listed(part.features)] for slot, part in named}


class Composer:
    """Renders combinations for a person. Each part is rendered once, however many combinations contain it."""

    def __init__(self, spec: CompositionSpec, locale: str, values: JsonObject) -> None:
        """:param values: of the variables; null and empty values count as missing."""
        self._spec = spec
        self._locale = locale
        self._values = {name: value for name, value in values.items() if value is not None and value != ""}
        self._rendered: dict[tuple[int, str, str], str | dict[str, JsonValue]] = {}

    def render(self, action_id: str) -> Rendered:
        """Render the message of a combination.

        :raises NotFor: a placeholder of a part has no value, or the message is too long or empty.
        """
        combination = self._spec.by_id[action_id]
        locale = choose_locale(combination.locales, self._locale)
        texts_by_field: dict[str, list[str]] = {field: [] for field in PARTS}
        for number, (slot, part) in enumerate(zip(self._spec.slots, combination.parts, strict=True)):
            texts_by_field[slot.place].append(self._part(number, part, locale))
        channel = self._spec.channel
        texts = {
            field: checked_length(channel, field, _joined(field, parts)) for field, parts in texts_by_field.items()
        }
        if not texts["body"]:
            raise NotFor("empty_body")
        return Rendered(locale, channel, **texts)

    def _part(self, number: int, part: PartSpec, locale: str) -> str:
        name = (number, part.id, locale)
        if name not in self._rendered:
            try:
                self._rendered[name] = render_part(
                    locale, self._spec.slots[number].place, part.texts[locale], self._values
                )
            except NotFor as error:
                slot, reason = self._spec.slots[number].name, error.reason
                self._rendered[name] = {"slot": slot, "part": part.id, "code": reason.code, **reason.params}
        text = self._rendered[name]
        if isinstance(text, dict):
            raise NotFor("of_part", **text)
        return text


class PartShare(TypedDict):
    """A part of a slot, with its probability."""

    part: str
    probability: float


class SlotAnswer(TypedDict):
    """The choice of a slot of a composed message in a decision."""

    slot: str
    part: str
    propensity: float
    given_above: float
    distribution: list[PartShare]  # most likely first


def slots_of(eligible: Sequence[str], distribution: Sequence[float], chosen: int) -> list[SlotAnswer]:
    """Return the choice of each slot in a decision, exactly, from the joint distribution over the allowed combinations.

    ``propensity`` and ``distribution`` are marginal, given that something is said; ``given_above`` is the probability given
    the slots above, and these multiply to the decision's propensity. Where nothing may be said, the slot "say" comes first.
    """
    table = slates.table_of([parts_of(name) for name in eligible])
    answers: list[SlotAnswer] = []
    for number, choice in enumerate(slates.choices_of(table, distribution, chosen)):
        possible = table.slots[number]
        if number == 0 and len(possible) == 1 and possible[0] == slates.SAY:
            continue
        slot = possible[0].partition("=")[0] if number else SAY
        names = [name.partition("=")[2] if number else _answer_of(name) for name in possible]
        shares: list[PartShare] = [
            {"part": name, "probability": p} for name, p in zip(names, choice.distribution, strict=True)
        ]
        answers.append(
            {
                "slot": slot,
                "part": names[choice.chosen],
                "propensity": choice.propensity,
                "given_above": choice.given_above,
                "distribution": sorted(shares, key=lambda share: -share["probability"]),
            }
        )
    return answers


def _answer_of(name: str) -> str:
    return "something" if name == slates.SAY else name


def _joined(field: str, texts: list[str]) -> str:
    return JOINTS[field].join(text for text in texts if text)


def _listed(features: Any) -> list[Any]:
    return features if isinstance(features, list) else [features] if features else []
