"""The wizard's step of actions: a list of up to a thousand, and a form for one of them at a time.

The one action's fields are called ``/actions/-/...``: ``:row`` is its row in the list; empty: it is new. For a message composed
of parts, ``composed`` has the form.
"""

from copy import deepcopy

from flask import render_template, request

from app.content.previews import previews
from app.design.pages.drawing import draw_lists, new_draw
from app.foundation.pages.fields.kinds import Findings, Typed, clean
from app.wizard.buttons import new_row, pressed
from app.wizard.document import document_of, says_something
from app.wizard.form import ACTION, COMPOSITION, FORMS, LISTS
from app.wizard.frame import Clash, Look, Opened, render
from app.wizard.naming import fill_ids

SHOWN = 50  # actions on a page
KINDS = (
    "list",
    "ranked",
    "composed",
)  # what the app gets: one of a list of actions, several in order, a message of parts
ONE = "/actions/-"
PASTED = "/actions:pasted"
_FIRST = "/actions/0"  # the address of the form's action while a button changes it


def posted(opened: Opened, do: str) -> tuple[Typed, Look]:
    """The fields of the step after its form was posted, and the view to show next."""
    stored, among = opened.tree("actions"), request.form.get("/actions:among", "list")
    tree: Typed = {"variables": _posted_variables()}
    if among == "ranked":
        tree["lists"] = LISTS.of_form(request.form, "/lists")
    if among == "composed":
        tree["composition"] = COMPOSITION.of_form(request.form, "/composition")
    else:
        tree["actions"] = [ACTION.of_form(request.form, ONE)]
    look = pressed(tree, do.replace(ONE, _FIRST))
    if do == "paste":
        stored["actions"] = stored["actions"] + _pasted(request.form.get(PASTED, ""))
    _fill_ids(tree, stored["actions"])
    verb, _, wanted = do.partition(" ")
    kind = wanted if verb == "among" and wanted in KINDS else among
    begins = kind == "composed" and "composition" not in opened.document and "composition" not in tree
    if begins:
        tree["composition"] = COMPOSITION.tree()
        pressed(tree, "")
    more: Look = {}
    if look:
        made = verb in ("add", "copy") and among == "composed"
        more = {"_anchor": look.replace(_FIRST, ONE), "new": look if made else None}
    if among != "composed":
        rows, seen = _with(stored["actions"], tree["actions"][0], verb, wanted)
        tree["actions"] = rows
        more |= {"draw": new_draw(), "_anchor": "drawn"} if verb == "draw" else _look(verb, wanted, seen, bool(look))
    elif verb == "draw":
        more = {"draw": new_draw(), "_anchor": "combinations"}
    elif verb == "preview":
        slots = range(len(tree["composition"]["slots"]))
        more = {
            "_anchor": "combinations",
            "pick": " ".join(clean(request.form.get(f"pick-{slot}", "")) for slot in slots),
        }
    if begins:
        more = {"new": "/composition/slots"}
    return stored | tree | {"actions:among": kind}, more


def _fill_ids(tree: Typed, stored: list[Typed]) -> None:
    """Give new actions, and parts, the ids that nobody typed; those of the stored actions are taken."""
    posted = tree.get("actions", [])
    others = [row for row in stored if row[":row"] not in {action[":row"] for action in posted}]
    fill_ids({"actions": others + posted})
    fill_ids({name: part for name, part in tree.items() if name != "actions"})


def _posted_variables() -> list[Typed]:
    rows: list[Typed] = (
        FORMS["actions"].fields["variables"].posted(request.form, "/variables", "variables")["variables"]
    )
    return rows


def _pasted(lines: str) -> list[Typed]:
    """An action for each line: its text, or its id and its text with a tab between, as a spreadsheet copies them."""
    rows: list[Typed] = []
    for line in clean(lines).split("\n"):
        first, tab, second = line.strip().partition("\t")
        if first or second:
            typed = {":row": new_row(), "id": first.strip() if tab else "", "payload:text": second.strip() or first}
            rows.append(ACTION.tree() | typed)
    return rows


def _with(rows: list[Typed], action: Typed, verb: str, wanted: str) -> tuple[list[Typed], str]:
    """The list after the form of one action was posted, and the row to show next.

    Adds or replaces the posted action, and carries out ``duplicate ROW``, ``drop ROW`` or ``edit ROW``.
    """
    rows, seen = [*rows], ""
    if not _is_empty(action):
        seen = action[":row"] = action[":row"] or new_row()
        row_names = [row[":row"] for row in rows]
        index = row_names.index(seen) if seen in row_names else len(rows)
        rows[index : index + 1] = [action]
    indexes = {row[":row"]: index for index, row in enumerate(rows)}
    if wanted not in indexes or verb not in ("drop", "duplicate", "edit"):
        return rows, seen
    index = indexes[wanted]
    if verb == "edit":
        return rows, wanted
    if verb == "drop":
        del rows[index]
        return rows, ""
    copy = deepcopy(rows[index]) | {":row": new_row(), "id": f"{rows[index]['id']}-2"}
    rows.insert(index + 1, copy)
    return rows, copy[":row"]


def _is_empty(action: Typed) -> bool:
    """True when nothing was typed into the form of an action."""
    names = ("id", "payload:title", "payload:text", "payload", "features")
    if action["payload:rows"] or action["features:rows"]:
        return False
    template = action["template"]
    more = template["channel"] or len(template["texts"]) > 1 or says_something(template)
    return not more and not any(action[name].strip() for name in names)


def _look(verb: str, wanted: str, seen: str, touched: bool) -> Look:
    """The action that the form shows next, and the page of the list."""
    if verb in ("edit", "duplicate", "preview") or touched:
        return {"edit": seen or None, **({} if touched else {"_anchor": "message" if verb == "preview" else "action"})}
    if verb in ("save", "next") and seen:
        return {"unless_right": seen}
    if verb == "from":
        return {"from": wanted}
    return {}


def settled(saved: Opened, more: Look) -> Look:
    """The view after the saved action was checked: the same action if it has errors, or its page of the list."""
    row = more.pop("unless_right", None)
    index = next(
        (index for index, action_row in enumerate(saved.tree("actions")["actions"]) if action_row[":row"] == row), None
    )
    if row is None or index is None:
        return more
    if any(pointer.startswith(f"/actions/{index}/") for pointer in saved.checked.problems):
        return more | {"edit": row, "_anchor": "action"}
    return more | {"from": index // SHOWN * SHOWN or None}


def preview(opened: Opened) -> str:
    """The posted action as the sample user and the app get it; nothing is stored."""
    action = ACTION.of_form(request.form, ONE)
    pressed({"actions": [action]}, "")
    tree = {"variables": _posted_variables(), "actions": [action], "actions:among": "list"}
    document = document_of(opened.tree("actions") | tree, Findings())
    seen = previews(document["actions"][0].get("template"), document["variables"])
    return render_template("wizard_preview.html", action=action, previews=seen)


def show(opened: Opened, tree: Typed, errors: dict[str, str], clash: Clash | None) -> str:
    """The page."""
    rows = opened.tree("actions")["actions"] if clash else tree["actions"]
    typed = None
    if request.method == "POST":  # not stored: the form still holds it
        typed = ACTION.of_form(request.form, ONE)
        pressed({"actions": [typed]}, request.form.get("do", "").replace(ONE, _FIRST))
    wanted = request.args.get("from", "")
    start = min(int(wanted), max(0, len(rows) - 1)) // SHOWN * SHOWN if wanted.isdecimal() and len(wanted) < 6 else 0
    edited = request.args.get("edit", "")
    index = next((index for index, row in enumerate(rows) if edited and row[":row"] == edited), None)
    action = typed or (ACTION.tree() if index is None else rows[index])
    on_page = range(start, min(start + SHOWN, len(rows)))
    document = opened.checked.document
    # If two people chose different kinds of choices, the document has none of these actions.
    action_document = document["actions"][index] if index is not None and document["actions"] else {}
    own_errors = {pointer.replace(f"/actions/{index}/", f"{ONE}/"): words for pointer, words in errors.items()}
    return render(
        "wizard_actions.html",
        opened,
        "actions",
        {"actions": {"-": action}, "variables": tree["variables"], "lists": tree["lists"]},
        {pointer: words for pointer, words in own_errors.items() if not _of_a_row(pointer)},
        clash=clash,
        missing={
            pointer.replace(f"/actions/{index}/", f"{ONE}/"): name for pointer, name in opened.checked.missing.items()
        },
        rows=rows,
        wrong=len(errors),
        start=start,
        shown=SHOWN,
        action=action,
        previews=previews(action_document.get("template"), document.get("variables", [])),
        now=tree["actions:among"],
        drawn=draw_lists(document, request.args.get("draw", "")) if tree["actions:among"] == "ranked" else [],
        row_problems={
            number: [words for pointer, words in errors.items() if pointer.startswith(f"/actions/{number}/")]
            for number in on_page
        },
    )


def _of_a_row(pointer: str) -> bool:
    return pointer.startswith("/actions/") and not pointer.startswith(f"{ONE}/")
