"""Actions from CSV into a draft: paste or upload, look, then take."""

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design import drafts
from app.design.experiment_config import MAX_ACTIONS
from app.design.pages import action_csv
from app.design.pages.action_csv import Imported
from app.foundation.errors import Conflict
from app.foundation.pages.fields.kinds import Typed
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.wizard.buttons import new_row
from app.wizard.form import ACTION
from app.wizard.frame import DRAFT, Opened, open_draft, render
from app.wizard.typed import typed_action

PREVIEWED = 10
NOT_UTF8 = "This file is not UTF-8 text. Save it as CSV UTF-8 (Excel: “CSV UTF-8”), and choose it again."


@page(f"{DRAFT}/actions/import", "editor", ("GET", "POST"))
def import_actions(draft_id: int) -> ResponseReturnValue:
    """The form; then the content of the table, with every error by its line; then the import."""
    opened = open_draft(draft_id)
    if request.method == "GET":
        return _page(opened, "", "add", None)
    text, problem = _posted_text()
    how = "replace" if request.form.get("how") == "replace" else "add"
    if problem or not text.strip():
        return _page(opened, text, how, None, problem or "Paste a table, or choose a file."), 422
    table = action_csv.read(text)
    if table.mistakes:
        return _page(opened, text, how, table), 422
    if request.form.get("do") != "take":
        return _page(opened, text, how, table)
    tree = opened.tree("actions")
    rows = _merged(tree["actions"], table, keep=how == "add")
    if len(rows) > MAX_ACTIONS:
        problem = f"That would be {len(rows):,} actions; an experiment has at most {MAX_ACTIONS:,}."
        return _page(opened, text, how, table, problem), 422
    try:
        taken = tree | {"actions": rows} | ({"actions:among": "list"} if tree["actions:among"] == "composed" else {})
        drafts.save(process().engine, draft_id, posted_version(), ["actions"], taken, user().name)
    except Conflict as error:
        message = f"{error.detail} Look at the actions as they are now, and take the table again if it still fits."
        return _page(open_draft(draft_id), text, how, table, message), 409
    flash(f"{len(table.actions):,} actions are taken from the table.")
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="actions"))


def _posted_text() -> tuple[str, str]:
    """The table's text, and the error of its file."""
    file = request.files.get("file")
    if file is not None and file.filename:
        text = action_csv.decode(file.read())
        return ("", NOT_UTF8) if text is None else (text.replace("\0", ""), "")
    return request.form.get("text", "").replace("\0", ""), ""


def _merged(before: list[Typed], table: Imported, *, keep: bool) -> list[Typed]:
    """The list after the import: an action with a known id is replaced at its position, and keeps its message.

    :param keep: keep actions that are not in the table.
    """
    by_id = {row["id"].strip(): row for row in before}
    rows = list(before) if keep else []
    indexes = {row["id"].strip(): index for index, row in enumerate(rows)}
    for action in table.actions:
        old = by_id.get(action["id"]) or ACTION.tree() | {":row": new_row()}
        row = typed_action(action, old[":row"]) | {"template": old["template"]}
        index = indexes.get(action["id"])
        if index is None:
            rows.append(row)
        else:
            rows[index] = row
    return rows


def _page(opened: Opened, text: str, how: str, table: Imported | None, problem: str = "") -> str:
    return render(
        "wizard_import.html",
        opened,
        "actions",
        {},
        text=text,
        how=how,
        table=table,
        previewed=PREVIEWED,
        text_errors={"text": problem} if problem else {},
        clash=None,
    )
