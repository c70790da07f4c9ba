"""The rules between the parts of a composed message. Each checks whatever is readable, so that no error hides another."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.content.composition import Composer, part_line
from app.content.composition_config import MAX_COMBINATIONS, SAY, CompositionSpec, PartSpec, SlotName, TooMany
from app.content.message_config import PARTS, Channel, VariableSpec
from app.content.message_templates import NotFor, text_problem
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, Readable, repeated
from bandits.encoding import FeatureError

_PART: Readable[PartSpec] = Readable(PartSpec)
_SLOT_NAME: Readable[str] = Readable(SlotName)
_CHANNEL: Readable[str] = Readable(Channel)


class Slot(NamedTuple):
    """A slot with whatever is readable; null: unreadable."""

    name: str | None
    place: str
    parts: list[PartSpec | None]


def readable_slots(document: JsonObject) -> list[Slot]:
    """Return the slots of a composition's document, whatever else is wrong with it."""
    rows = document.get("slots")
    rows = [row if isinstance(row, dict) else {} for row in (rows if isinstance(rows, list) else [])]
    return [
        Slot(
            _SLOT_NAME.of(row.get("name")),
            str(row.get("place")),
            [_PART.of(part) for part in (row["parts"] if isinstance(row.get("parts"), list) else [])],
        )
        for row in rows
    ]


def problems(
    document: object, spec: CompositionSpec | None, variables: Sequence[VariableSpec] | None
) -> list[FieldError]:
    """Return the errors of a composition that concern more than the form of single values.

    :param spec: null when part of the composition is unreadable.
    :param variables: null when they are unreadable; then no text is checked.
    """
    readable = document if isinstance(document, dict) else {}
    slots = [Slot(slot.name, slot.place, [*slot.parts]) for slot in spec.slots] if spec else readable_slots(readable)
    channel = spec.channel if spec else _CHANNEL.of(readable.get("channel", "in_app"))
    result = [*_names(slots)]
    if channel is not None and variables is not None:
        result += _texts(slots, channel, variables)
    if slots and not any(slot.place == "body" for slot in slots):
        result.append(FieldError("/composition/slots", "no_body_slot"))
    if spec is not None:
        result += _pairs(spec)
        if not result and variables is not None:
            result += _choices(spec, variables)
    return result


def _names(slots: list[Slot]) -> Iterator[FieldError]:
    for index, _ in repeated(slot.name for slot in slots):
        yield FieldError(f"/composition/slots/{index}/name", "name_taken", {"what": "slot"})
    for index, slot in enumerate(slots):
        here = f"/composition/slots/{index}"
        if slot.name == SAY:
            yield FieldError(f"{here}/name", "slot_reserved", {"name": SAY})
        for number, _ in repeated(None if part is None else part.id for part in slot.parts):
            yield FieldError(f"{here}/parts/{number}/id", "part_id_repeated")
        for number, part in enumerate(slot.parts):
            if part is None:
                continue
            try:
                part_line(slot.name or "slot", part)
            except FeatureError as error:
                yield FieldError(f"{here}/parts/{number}/features{error.path}", error.code, error.params)


def _pairs(spec: CompositionSpec) -> Iterator[FieldError]:
    part_ids = {slot.name: {part.id for part in slot.parts} for slot in spec.slots}
    for index, pair in enumerate(spec.forbidden):
        for side, part in enumerate(pair):
            here = f"/composition/forbidden/{index}/{side}"
            if part.slot not in part_ids:
                yield FieldError(f"{here}/slot", "unknown_slot", {"known": [*part_ids]})
            elif part.part not in part_ids[part.slot]:
                yield FieldError(f"{here}/part", "unknown_part", {"slot": part.slot})
        if pair[0].slot == pair[1].slot:
            yield FieldError(f"/composition/forbidden/{index}", "pair_in_one_slot")


def _texts(slots: list[Slot], channel: str, variables: Sequence[VariableSpec]) -> Iterator[FieldError]:
    for index, slot in enumerate(slots):
        for number, part in enumerate(slot.parts):
            for locale, source in part.texts.items() if part and slot.place in PARTS else ():
                problem = text_problem(channel, locale, slot.place, source, variables)
                if problem is not None:
                    yield FieldError(f"/composition/slots/{index}/parts/{number}/texts/{locale}", *problem)


def _choices(spec: CompositionSpec, variables: Sequence[VariableSpec]) -> Iterator[FieldError]:
    """Yield the errors of whole combinations: too many, an unused part, no common locale, too long a text."""
    try:
        combinations = spec.combinations
    except TooMany as error:
        yield FieldError("/composition/slots", error.code, {"count": error.count, "limit": MAX_COMBINATIONS})
        return
    used = {(index, part.id) for combination in combinations for index, part in enumerate(combination.parts)}
    for index, slot in enumerate(spec.slots):
        for number, part in enumerate(slot.parts):
            if (index, part.id) not in used:
                yield FieldError(f"/composition/slots/{index}/parts/{number}", "part_in_no_combination")
    mute = next((combination.id for combination in combinations if not combination.locales), None)
    if mute is not None:
        yield FieldError("/composition/slots", "no_common_locale", {"combination": mute})
        return
    composers: dict[str, Composer] = {}
    samples = {variable.name: variable.sample for variable in variables}
    for combination in combinations:
        for locale in combination.locales:
            try:
                composers.setdefault(locale, Composer(spec, locale, samples)).render(combination.id)
            except NotFor as reason:
                params = {"combination": combination.id, "locale": locale, "reason": str(reason)}
                yield FieldError("/composition/slots", "combination_unsayable", params)
                return
