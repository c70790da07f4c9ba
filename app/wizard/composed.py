"""The wizard's step of actions where a message is composed of parts: its form, and its combinations as people get them."""

from typing import NamedTuple

from flask import request
from pydantic import ValidationError

from app.content import composition, composition_rules
from app.content.composition_config import MAX_COMBINATIONS, CompositionSpec, TooMany
from app.content.message_config import VariableSpec
from app.foundation.pages.fields import Typed
from app.foundation.pages.format import number, plural
from app.foundation.words import page_sentence
from app.wizard.actions import VARIABLES, Preview
from app.wizard.document import Document
from app.wizard.frame import Clash, Opened, render

MANY_PARTS = 12  # beyond so many, slots begin closed


class Seen(NamedTuple):
    """One combination as the sample user gets it."""

    title: str  # what is shown
    id: str
    previews: list[Preview]  # by language; none: these parts never stand in one message


def spec_of(document: Document) -> CompositionSpec | None:
    """A draft's composition; null where it has none that can be read."""
    try:
        return CompositionSpec.model_validate(document.get("composition"))
    except ValidationError:  # said beside the fields
        return None


def action_ids(document: Document) -> list[str]:
    """What is chosen among, as far as it can be read."""
    spec = spec_of(document)
    try:
        return spec.action_ids() if spec else []
    except TooMany:  # said beside the slots
        return []


def show(opened: Opened, tree: Typed, errors: dict[str, str], clash: Clash | None) -> str:
    """The page."""
    slots, spec = tree["composition"]["slots"], spec_of(opened.checked.document)
    picked = request.args.get("pick", "").split(" ")
    parts = [(slot, part) for slot in slots for part in slot["parts"]]
    new = request.args.get("new", "")
    return render(
        "wizard_composed.html",
        opened,
        "actions",
        {name: tree[name] for name in ("composition", "variables")},
        errors,
        clash=clash,
        wrong=len(errors),
        slots=slots,
        part_names={part[":row"]: f"{_shown(slot['name'])}: {_shown(part['id'])}" for slot, part in parts},
        part_choices=[
            (_shown(slot["name"]), [(part[":row"], _shown(part["id"])) for part in slot["parts"]]) for slot in slots
        ],
        open_slots=_open_slots(len(slots), [*errors, new], len(parts)),
        count=_count(spec),
        picked=picked,
        seen=_seen(slots, spec, opened.checked.document.get("variables", []), picked),
    )


def _shown(name: str) -> str:
    """A name in a list, also where it is far too long to be one."""
    return f"{name[:60]}…" if len(name) > 60 else name or "no name"


def _open_slots(slots: int, pointers: list[str], parts: int) -> set[int]:
    """The slots that are shown open: all of a short form, of a long one those in which there is something to do."""
    places = [pointer.split("/")[3] for pointer in pointers if pointer.startswith("/composition/slots/")]
    return set(range(slots)) if parts <= MANY_PARTS else {int(place) for place in places if place.isdecimal()}


def _count(spec: CompositionSpec | None) -> str:
    """How many combinations there are, in a sentence."""
    if spec is None:
        return "How many combinations are allowed is said here once every slot has a name and its parts have ids and texts."
    total = spec.all_combinations()
    try:
        allowed = len(spec.combinations)
    except TooMany as error:
        return page_sentence(error.code, {"count": error.count, "limit": MAX_COMBINATIONS})
    told = plural(allowed, "combination is", "combinations are") + " allowed"
    told += f" of {number(total)}" if allowed < total else ""
    nothing = ", and saying nothing is one more choice" if spec.allow_nothing else ""
    return f"{told}{nothing}. At most {MAX_COMBINATIONS:,} can be decided among."


def _seen(slots: list[Typed], spec: CompositionSpec | None, variables: object, picked: list[str]) -> list[Seen]:
    """The first combination and the picked one; none while something has to be corrected."""
    try:
        known = VARIABLES.validate_python(variables)
    except ValidationError:  # said beside the fields
        return []
    if spec is None or composition_rules.problems(None, spec, known):
        return []
    rows = [{part[":row"]: part["id"].strip() for part in slot["parts"]} for slot in slots]
    found = [_as_seen("The first combination", spec, spec.combinations[0].id, known)]
    if len(picked) == len(rows) and all(row in parts for row, parts in zip(picked, rows, strict=True)):
        chosen = zip(spec.slots, picked, rows, strict=True)
        name = "|".join(f"{slot.name}={parts[row]}" for slot, row, parts in chosen)
        found.append(_as_seen("The combination that you picked", spec, name, known))
    return found


def _as_seen(title: str, spec: CompositionSpec, name: str, variables: list[VariableSpec]) -> Seen:
    if name not in spec.by_id:
        return Seen(title, name, [])
    samples = {variable.name: variable.sample for variable in variables}
    locales = spec.by_id[name].locales
    said = [composition.Composer(spec, locale, samples).render(name) for locale in locales]
    return Seen(title, name, [Preview(one.locale, one.title, one.body, one.call_to_action) for one in said])
