"""The wizard's step of actions where a message is composed of parts: its form, and its combinations as people get them."""

from typing import Any, NamedTuple

from flask import flash, redirect, request, url_for
from pydantic import TypeAdapter, ValidationError

from app.accounts.pages.access import user
from app.content import composition, composition_rules
from app.content.composition_config import MAX_COMBINATIONS, CompositionSpec, TooMany
from app.content.message_config import VariableSpec
from app.design import drafts
from app.foundation.errors import Conflict, LoopwiseError
from app.foundation.pages.format import number, plural
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.foundation.words import page_sentence
from app.wizard import composition as wizard_composition
from app.wizard import form as wizard_form
from app.wizard import message as wizard_message
from app.wizard.composition import PLACES
from app.wizard.document import document_of
from app.wizard.form import Typed
from app.wizard.frame import Clash, Opened, clash_of, led_to, open_draft, opened_of, render
from app.wizard.message import Preview

STAY = {"preview": "combinations", "variable": "variables", "drop": "variables"}
MANY_PARTS = 12  # beyond so many, slots begin closed
_VARIABLES = TypeAdapter(list[VariableSpec])


class Seen(NamedTuple):
    """One combination as the sample user gets it."""

    title: str  # what is shown
    id: str
    previews: list[Preview]  # by language; none: these parts never stand in one message


def spec_of(document: dict[str, Any]) -> CompositionSpec | None:
    """A draft's composition; null where it has none that can be read."""
    try:
        return CompositionSpec.model_validate(document.get("composition"))
    except ValidationError:  # said beside the fields
        return None


def action_ids(document: dict[str, Any]) -> list[str]:
    """What is chosen among, as far as it can be read."""
    spec = spec_of(document)
    try:
        return spec.action_ids() if spec else []
    except TooMany:  # said beside the slots
        return []


def show(
    opened: Opened, *, typed: Typed | None = None, problem: str = "", clash: Clash | None = None, fresh: str = ""
) -> str:
    """The page.

    :param typed: what was typed; else what is kept.
    :param fresh: begins the names of fields that nobody could fill yet, and that are not blamed for it.
    """
    typed = typed or wizard_form.of_step(opened.draft.typed, "actions")
    kept = typed["composition"]
    found = {
        name: words for name, words in opened.checked.of("actions").items() if not (fresh and name.startswith(fresh))
    }
    slots, spec = kept["slots"], spec_of(opened.checked.document)
    picked = request.args.get("pick", "").split(" ")
    parts = [(slot, part) for slot in slots for part in slot["parts"]]
    return render(
        "wizard_composed.html",
        opened,
        "actions",
        typed=typed,
        kept=kept,
        errors={"draft": problem} if problem else found,
        clash=clash,
        places=PLACES,
        channels=wizard_message.CHANNELS,
        part_names={part["row"]: f"{_shown(slot['name'])}: {_shown(part['id'])}" for slot, part in parts},
        part_choices=[
            (_shown(slot["name"]), [(part["row"], _shown(part["id"])) for part in slot["parts"]]) for slot in slots
        ],
        open_slots=_open_slots(slots, {**found, fresh: ""}, len(parts)),
        count=_count(kept, spec),
        picked=picked,
        seen=_seen(kept, spec, opened.checked.document.get("variables", []), picked),
    )


def _shown(name: str) -> str:
    """A name in a list, also where it is far too long to be one."""
    return f"{name[:60]}…" if len(name) > 60 else name or "no name"


def _open_slots(slots: list[Typed], names: dict[str, str], parts: int) -> set[int]:
    """The slots that are shown open: all of a short form, of a long one those in which there is something to do."""
    wanted = {int(name.split("-")[1]) for name in names if name.startswith("slots-")}
    return set(range(len(slots))) if parts <= MANY_PARTS else wanted


def _count(kept: Typed, spec: CompositionSpec | None) -> str:
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


def _seen(kept: Typed, spec: CompositionSpec | None, variables: Any, picked: list[str]) -> list[Seen]:
    """The first combination and the picked one; none while something has to be mended."""
    try:
        known = _VARIABLES.validate_python(variables)
    except ValidationError:  # said beside the fields
        return []
    if spec is None or composition_rules.problems(None, spec, known):
        return []
    rows = [{part["row"]: part["id"].strip() for part in slot["parts"]} for slot in kept["slots"]]
    found = [_as_seen("The first combination", spec, spec.combinations[0].id, known)]
    if len(picked) == len(rows) and all(row in parts for row, parts in zip(picked, rows, strict=True)):
        chosen = zip(spec.slots, picked, rows, strict=True)
        name = "|".join(f"{slot.name}={parts[row]}" for slot, row, parts in chosen)
        found.append(_as_seen("The combination that you picked", spec, name, known))
    return found


def _as_seen(title: str, spec: CompositionSpec, name: str, variables: list[VariableSpec]) -> Seen:
    if name not in spec.by_id:
        return Seen(title, name, [])
    samples = {one.name: one.sample for one in variables}
    locales = spec.by_id[name].locales
    said = [composition.Composer(spec, locale, samples).render(name) for locale in locales]
    return Seen(title, name, [Preview(one.locale, one.title, one.body, one.call_to_action) for one in said])


def save(opened: Opened) -> Any:
    """Keep the whole form, after what its button asks for."""
    do = request.form.get("do", "save")
    kept = wizard_composition.posted(request.form)
    look = wizard_composition.done(kept, do)
    typed = wizard_form.of_step(opened.draft.typed, "actions") | {
        "among": "list" if do == "among-list" else "composed",
        "composition": kept,
        "variables": wizard_form.posted_variables(request.form, do),
    }
    try:
        saved = drafts.save(process().engine, opened.draft.id, posted_version(), "actions", typed, user().name)
    except Conflict:
        newest = open_draft(opened.draft.id)
        mine = newest.draft.typed.get("actions", {}) | {name: typed[name] for name in ("composition", "variables")}
        theirs = wizard_form.of_step(newest.draft.typed, "actions")
        clash = clash_of(newest, _readable(theirs), _readable(mine | {"among": "composed"}))
        return show(newest, typed=typed, clash=clash), 409
    except LoopwiseError as error:
        return show(opened, typed=typed, problem=error.detail), error.status
    return _led_to(opened_of(saved), do, look)


def _readable(typed: Typed) -> dict[str, Any]:
    """What the step makes, for telling two people's versions apart."""
    document, _ = document_of({"actions": typed})
    return {name: document.get(name) for name in ("actions", "composition", "variables")}


def _led_to(saved: Opened, do: str, look: str) -> Any:
    """Where a saved form leads."""
    if do in ("save", "next") and saved.checked.of("actions"):
        return show(saved), 422
    more: dict[str, Any] = {}
    verb = do.partition("-")[0]
    if look:
        more = {"_anchor": look, "fresh": look} if verb in ("slot", "part", "copy") else {"_anchor": look}
    elif verb in STAY:
        more = {"_anchor": STAY[verb]}
    elif do == "save":
        flash("Saved.")
    elif not do.startswith("among-"):
        return led_to(saved, "actions", do)
    if verb == "preview":
        more["pick"] = " ".join(_picked(saved.draft.typed["actions"]["composition"]["slots"]))
    return redirect(url_for("admin.draft_step", draft_id=saved.draft.id, step="actions", **more))


def _picked(slots: list[Typed]) -> list[str]:
    """The rows of the parts that were picked to be seen."""
    wanted = [request.form.get(f"pick-{place}", "") for place in range(len(slots))]
    known = [{part["row"] for part in slot["parts"]} for slot in slots]
    return [row for row, rows in zip(wanted, known, strict=True) if row in rows]
