"""The wizard's step of actions: a list of up to a thousand, and a form for one of them at a time.

Where a message composed of parts is chosen instead, ``wizard_composed`` has the form.
"""

from typing import Any

from flask import flash, redirect, request, url_for

from app.accounts.pages.access import user
from app.design import drafts
from app.foundation.errors import Conflict, LoopwiseError
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.wizard import composed as wizard_composed
from app.wizard import composition as wizard_composition
from app.wizard import form as wizard_form
from app.wizard import message as wizard_message
from app.wizard.frame import Clash, Opened, clash_of, led_to, open_draft, opened_of, render

SHOWN = 50  # actions on a page
# Buttons that stay with the action in the form, and where they lead.
ANCHORS = {
    "preview": "message",
    "language": "message",
    "forget": "message",
    "variable": "variables",
    "drop": "variables",
}


def show(
    opened: Opened,
    *,
    action: dict[str, str] | None = None,
    variables: list[dict[str, str]] | None = None,
    problem: str = "",
    clash: Clash | None = None,
) -> str:
    """The page.

    :param action: what was typed into the form of one; else the one that the address asks to edit, or an empty one.
    :param variables: what was typed as variables; else the kept ones.
    """
    typed = wizard_form.of_step(opened.draft.typed, "actions")
    if typed["among"] == "composed" and clash is None:
        return wizard_composed.show(opened, fresh=request.args.get("fresh", ""))
    if variables is not None:
        typed["variables"] = variables
    rows, found = typed["rows"], opened.checked.of("actions")
    wanted = request.args.get("from", "")
    start = min(int(wanted), max(0, len(rows) - 1)) // SHOWN * SHOWN if wanted.isdecimal() and len(wanted) < 6 else 0
    edited = request.args.get("edit", "")
    place = next((place for place, row in enumerate(rows) if row["row"] == edited), None)
    empty = dict.fromkeys(wizard_form.ROWS["actions"], "") | {"kind": "text"}
    action = action or (empty if place is None else rows[place])
    on_page = range(start, min(start + SHOWN, len(rows)))
    document = opened.checked.document
    # While two people differ about what is chosen among, the document has none of these actions.
    known = document["actions"][place] if place is not None and document["actions"] else {}
    return render(
        "wizard_actions.html",
        opened,
        "actions",
        typed=typed,
        errors={"draft": problem} if problem else found,
        clash=clash,
        start=start,
        shown=SHOWN,
        action=action,
        message=wizard_message.message_of(action["template"]),
        messages={n: wizard_message.message_of(rows[n]["template"]) for n in on_page},
        channels=wizard_message.CHANNELS,
        asks=wizard_message.ASKS,
        previews=wizard_message.previews(known.get("template"), document.get("variables", [])),
        action_errors=_of_row(found, place),
        row_problems={n: list(_of_row(found, n).values()) for n in on_page},
    )


def _of_row(found: dict[str, str], place: int | None) -> dict[str, str]:
    """The mistakes of one action by field."""
    prefix = f"rows-{place}-"
    return {name.removeprefix(prefix): words for name, words in found.items() if name.startswith(prefix)}


def save(opened: Opened) -> Any:
    """Add, change, duplicate or remove one action, or one of the variables; or let a message be composed instead."""
    if request.form.get("among") == "composed":
        return wizard_composed.save(opened)
    do = request.form.get("do", "save")
    action, variables = wizard_form.posted_action(request.form, do), wizard_form.posted_variables(request.form, do)
    typed = wizard_form.of_step(opened.draft.typed, "actions")
    typed["rows"], seen = wizard_form.with_action_done(typed["rows"], action, do)
    typed["variables"], typed["among"] = variables, "list"
    begins = do == "among-composed" and typed["composition"] is None
    if do == "among-composed":
        typed |= {"among": "composed", "composition": typed["composition"] or wizard_composition.start()}
    try:
        saved = drafts.save(process().engine, opened.draft.id, posted_version(), "actions", typed, user().name)
    except Conflict:
        opened = open_draft(opened.draft.id)
        saved_there = wizard_form.of_step(opened.draft.typed, "actions")
        rows, others = saved_there["rows"], saved_there["variables"]
        nothing = dict.fromkeys(action, "") | {name: action[name] for name in ("row", "kind")}
        theirs = next((row for row in rows if row["row"] == action["row"]), nothing)
        clash = clash_of(opened, theirs | {"variables": others}, action | {"variables": variables})
        return show(opened, action=action, variables=variables, clash=clash), 409
    except LoopwiseError as error:
        return show(opened, action=action, variables=variables, problem=error.detail), error.status
    newest = opened_of(saved)
    if do == "among-composed":
        fresh = "slots" if begins else None
        return redirect(url_for("admin.draft_step", draft_id=saved.id, step="actions", fresh=fresh))
    verb, _, wanted = do.partition("-")
    place = next((place for place, row in enumerate(typed["rows"]) if row["row"] == seen), None)
    wrong = bool(_of_row(newest.checked.of("actions"), place))
    stay = verb in (*ANCHORS, "edit", "duplicate")
    if stay or (wrong and verb in ("save", "next")):
        anchor = ANCHORS.get(verb, "action")
        return redirect(url_for("admin.draft_step", draft_id=saved.id, step="actions", edit=seen, _anchor=anchor))
    if verb in ("save", "remove", "from"):
        flash("Saved.")
        start = wanted if verb == "from" else str((place or 0) // SHOWN * SHOWN)
        where: dict[str, Any] = {"from": start} if start != "0" else {}
        return redirect(url_for("admin.draft_step", draft_id=saved.id, step="actions", **where))
    if verb == "next" and newest.checked.of("actions"):
        return show(newest), 422
    return led_to(newest, "actions", do)
