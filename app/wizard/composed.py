"""The wizard's step of actions where a message is composed of parts: its form, and its combinations as people get them."""

from flask import request

from app.content.composition_config import MAX_COMBINATIONS, CompositionSpec, TooMany
from app.content.previews import Seen, composed_previews
from app.design.pages.drawing import draw_message
from app.foundation.fields import Readable
from app.foundation.pages.fields.kinds import Typed
from app.foundation.pages.format import clipped, number, plural
from app.foundation.words import page_sentence
from app.wizard.document import Document
from app.wizard.frame import Clash, Opened, render

MANY_PARTS = 12  # with more parts than this, slots begin closed


SPEC: Readable[CompositionSpec] = Readable(CompositionSpec)  # of a draft; null: none can be read


def action_ids(document: Document) -> list[str]:
    """The ids that can be chosen; empty while the composition cannot be read."""
    spec = SPEC.of(document["composition"])
    try:
        return spec.action_ids() if spec else []
    except TooMany:  # shown beside the slots
        return []


def show(opened: Opened, tree: Typed, errors: dict[str, str], clash: Clash | None) -> str:
    """The page."""
    slots, spec = tree["composition"]["slots"], SPEC.of(opened.checked.document["composition"])
    variables, picked = opened.checked.document["variables"], request.args.get("pick", "").split(" ")
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
        seen=_seen(slots, spec, variables, picked),
        drawn=draw_message(spec, variables, request.args["draw"]) if "draw" in request.args else None,
    )


def _shown(name: str) -> str:
    """A name for a list, cut if it is far too long."""
    return clipped(name, 60) or "no name"


def _open_slots(slots: int, pointers: list[str], parts: int) -> set[int]:
    """The slots that are shown open: all in a short form; in a long form those with errors or new rows."""
    indexes = [pointer.split("/")[3] for pointer in pointers if pointer.startswith("/composition/slots/")]
    return set(range(slots)) if parts <= MANY_PARTS else {int(index) for index in indexes if index.isdecimal()}


def _count(spec: CompositionSpec | None) -> str:
    """How many combinations there are, in a sentence."""
    if spec is None:
        return "How many combinations are allowed is said here once every slot has a name and its parts have ids and texts."
    total = spec.all_combinations()
    try:
        allowed = len(spec.combinations)
    except TooMany as error:
        return page_sentence(error.code, {"count": error.count, "limit": MAX_COMBINATIONS})
    sentence = plural(allowed, "combination is", "combinations are") + " allowed"
    sentence += f" of {number(total)}" if allowed < total else ""
    nothing = ", and saying nothing is one more choice" if spec.allow_nothing else ""
    return f"{sentence}{nothing}. At most {MAX_COMBINATIONS:,} can be decided among."


def _seen(slots: list[Typed], spec: CompositionSpec | None, variables: object, picked: list[str]) -> list[Seen]:
    """The first combination and the picked one; empty while the composition has errors."""
    if spec is None:
        return []
    rows = [{part[":row"]: part["id"].strip() for part in slot["parts"]} for slot in slots]
    wanted_ids = []
    if len(picked) == len(rows) and all(row in parts for row, parts in zip(picked, rows, strict=True)):
        chosen = zip(spec.slots, picked, rows, strict=True)
        wanted_ids = ["|".join(f"{slot.name}={parts[row]}" for slot, row, parts in chosen)]
    return composed_previews(spec, variables, wanted_ids)
