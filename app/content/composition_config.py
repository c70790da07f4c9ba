"""A composed message: slots, each with parts to choose from, and the pairs of parts that must not meet.

The allowed combinations are the experiment's actions. An id such as ``subject=progress|tone=warm`` can be split again,
because neither a slot's name nor a part's id can contain a separator.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field, StringConstraints

from app.content.message_config import Channel, LocaleKey
from app.foundation.fields import JsonObject, Model, names_by_pattern, shaped

MAX_COMBINATIONS: Final = 1000
MAX_TRIED: Final = 200_000  # partial combinations that are tried before giving up
NOTHING: Final = "nothing"  # the action that says nothing
SAY: Final = "say"  # the slot that chooses whether to say something
SlotName = Annotated[str, shaped(r"^[a-z_][a-z0-9_]{0,29}$", "slot_shape")]
PartId = Annotated[str, shaped(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$", "part_shape")]


class PartSpec(Model):
    """A text that may fill a slot."""

    id: PartId
    features: JsonObject | list[JsonObject] = Field(default_factory=dict)
    texts: dict[LocaleKey, Annotated[str, StringConstraints(max_length=5000)]] = Field(
        json_schema_extra=names_by_pattern,
        min_length=1,
        max_length=50,
        description="By locale, in Liquid. An empty text adds nothing.",
    )


class SlotSpec(Model):
    """A gap in the message that one part fills."""

    name: SlotName
    place: Literal["title", "body", "call_to_action"] = Field(
        description="Where its part stands. Parts of one place follow each other in the order of the slots."
    )
    parts: list[PartSpec] = Field(min_length=1, max_length=20)


class PartRef(Model):
    """A reference to a part of a slot."""

    slot: str = Field(max_length=30)
    part: str = Field(max_length=40)


class Combination(NamedTuple):
    """A message that may be composed."""

    id: str
    parts: tuple[PartSpec, ...]  # a part per slot, in the order of the slots
    locales: list[str]  # the locales that all its parts have, in the order of the first part


class TooMany(Exception):
    """A composition has more combinations than an experiment may have actions."""

    def __init__(self, code: str, count: int) -> None:
        super().__init__(code, count)
        self.code = code  # says which combinations were counted
        self.count = count


class CompositionSpec(Model):
    """A message made of slots, chosen together. The allowed combinations are the experiment's actions."""

    slots: list[SlotSpec] = Field(min_length=2, max_length=6)
    forbidden: list[Annotated[list[PartRef], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list, max_length=1000, description="Pairs of parts that never stand in one message."
    )
    channel: Channel = "in_app"
    allow_nothing: bool = Field(default=False, description='True: "nothing" is an action too, with a value of its own.')

    @cached_property
    def combinations(self) -> list[Combination]:
        """The allowed combinations, in the order of slots and parts.

        :raises TooMany: there are more than 1,000.
        """
        combinations: list[Combination] = []
        for parts in self._allowed():
            if len(combinations) == MAX_COMBINATIONS:
                code = "too_many_not_forbidden" if self.forbidden else "too_many_combinations"
                raise TooMany(code, self.all_combinations())
            named = zip(self.slots, parts, strict=True)
            name = "|".join(f"{slot.name}={part.id}" for slot, part in named)
            shared = [locale for locale in parts[0].texts if all(locale in part.texts for part in parts[1:])]
            combinations.append(Combination(name, parts, shared))
        return combinations

    @cached_property
    def by_id(self) -> dict[str, Combination]:
        """The allowed combinations by id."""
        return {combination.id: combination for combination in self.combinations}

    def action_ids(self) -> list[str]:
        """Return the actions: every allowed combination and, if the composition allows it, saying nothing.

        :raises TooMany: there are more than 1,000 combinations.
        """
        return [combination.id for combination in self.combinations] + ([NOTHING] if self.allow_nothing else [])

    def all_combinations(self) -> int:
        """Count the combinations before forbidden pairs are removed."""
        total = 1
        for slot in self.slots:
            total *= len(slot.parts)
        return total

    def _allowed(self) -> Iterator[tuple[PartSpec, ...]]:
        """Build combinations slot by slot; drop a partial combination as soon as it contains a forbidden pair."""
        pairs = {frozenset((reference.slot, reference.part) for reference in pair) for pair in self.forbidden}
        tried = 0

        def fill(chosen: tuple[PartSpec, ...]) -> Iterator[tuple[PartSpec, ...]]:
            nonlocal tried
            if len(chosen) == len(self.slots):
                yield chosen
                return
            slot = self.slots[len(chosen)]
            for part in slot.parts:
                tried += 1
                if tried > MAX_TRIED:
                    raise TooMany("too_many_to_look_at", self.all_combinations())
                earlier = zip(self.slots, chosen, strict=False)
                if not any(frozenset({(e.name, p.id), (slot.name, part.id)}) in pairs for e, p in earlier):
                    yield from fill((*chosen, part))

        yield from fill(())


def parts_of(action_id: str) -> tuple[str, ...]:
    """Split an action's id into its parts, as ``slot=part``. The action that says nothing has a single name."""
    return tuple(action_id.split("|"))
