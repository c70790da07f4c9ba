"""The wizard: a draft of a new experiment, or of a change of one, typed step by step and saved at each."""

from typing import Any
from zoneinfo import available_timezones

from flask import flash, redirect, request, url_for
from pydantic import ValidationError

from app.accounts.pages.access import page, user
from app.design import drafts, experiments
from app.design.experiment_config import RewardSpec
from app.foundation.errors import Conflict, LoopwiseError, NotFound
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.wizard import actions as wizard_actions
from app.wizard import composed as wizard_composed
from app.wizard import form as wizard_form
from app.wizard import plan as wizard_plan
from app.wizard import review as wizard_review
from app.wizard import shares as wizard_shares
from app.wizard import words as wizard_words
from app.wizard.document import typed_of
from app.wizard.form import FORMS, NAMES, Typed
from app.wizard.frame import DRAFT, Clash, Opened, clash_of, led_to, open_draft, opened_of, render
from app.wizard.numbers import Problems, Reader


@page("/drafts", "editor", ("POST",))
def new_draft() -> Any:
    """Begin a new experiment."""
    draft_id = drafts.create(process().engine, {}, user().name)
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page("/experiments/<key>/edit", "editor", ("POST",))
def edit(key: str) -> Any:
    """Begin a change of an experiment."""
    found = experiments.get(process().engine, key)
    typed = typed_of(found.config)
    draft_id = drafts.create_change(process().engine, key, found.config_version, typed, user().name)
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page(DRAFT, "editor")
def draft(draft_id: int) -> Any:
    """Go on where something is missing."""
    opened = open_draft(draft_id)
    missing = [step for step in FORMS[:-1] if step not in opened.draft.typed or opened.checked.of(step)]
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step=missing[0] if missing else "review"))


@page(f"{DRAFT}/discard", "editor", ("POST",))
def discard_draft(draft_id: int) -> Any:
    """Forget it."""
    drafts.discard(process().engine, draft_id, posted_version())
    flash("The draft is discarded.")
    return redirect(url_for("admin.home"))


@page(f"{DRAFT}/<step>", "editor", ("GET", "POST"))
def draft_step(draft_id: int, step: str) -> Any:
    """One step: its form, or what was typed into it."""
    if step not in NAMES:
        raise NotFound("unknown_page", f"The wizard has no step {step!r}.")
    opened = open_draft(draft_id)
    if step == "review":
        return wizard_review.review(opened)
    if step == "actions":
        return wizard_actions.show(opened) if request.method == "GET" else wizard_actions.save(opened)
    return _shown(opened, step) if request.method == "GET" else _save(opened, step)


def _save(opened: Opened, step: str) -> Any:
    do = request.form.get("do", "save")
    posted = wizard_form.posted(step, request.form)
    typed = wizard_form.with_rows_done(step, wizard_shares.handed_on(posted, do) if step == "arms" else posted, do)
    try:
        saved = drafts.save(process().engine, opened.draft.id, posted_version(), step, typed, user().name)
    except Conflict:
        newest = open_draft(opened.draft.id)
        clash = clash_of(newest, wizard_form.of_step(newest.draft.typed, step), typed)
        return _shown(newest, step, typed=typed, clash=clash), 409
    except LoopwiseError as error:
        return _shown(opened, step, typed=typed, errors={"draft": error.detail}), error.status
    newest = opened_of(saved)
    if do in ("save", "next") and newest.checked.of(step):
        return _shown(newest, step), 422
    if do == "save":
        flash("Saved.")
    return led_to(newest, step, do)


def _shown(
    opened: Opened,
    step: str,
    *,
    typed: Typed | None = None,
    errors: dict[str, str] | None = None,
    clash: Clash | None = None,
) -> str:
    """A step's page."""
    if typed is None:
        typed = wizard_form.of_step(opened.draft.typed, step)
    if errors is None:
        errors = opened.checked.of(step) if step in opened.draft.typed or "check" in request.args else {}
    if "new" in request.args and typed.get("rows"):
        fresh = f"rows-{len(typed['rows']) - 1}-"
        errors = {name: words for name, words in errors.items() if not name.startswith(fresh)}
    more: dict[str, Any] = {}
    if step == "reward":
        more["worked"] = _worked(opened.checked.document["reward"], typed["example"])
    if step == "plan":
        answer, wrong = None, dict[str, str]()
        if "answer" in request.args:
            answer, wrong = wizard_plan.answer(process().engine, typed, opened.checked.document)
        more["answer"], errors = answer, {**errors, **wrong}
    if step in ("arms", "people"):
        more["action_ids"] = _action_ids(opened)
        more["zones"] = sorted(available_timezones()) if step == "people" else []
    return render(f"wizard_{step}.html", opened, step, typed=typed, errors=errors, clash=clash, **more)


def _action_ids(opened: Opened) -> list[str]:
    """What can be chosen, as far as it can be read."""
    if opened.checked.config is not None:
        return [action.id for action in opened.checked.config.all_actions()]
    document = opened.checked.document
    return [action["id"] for action in document["actions"] if action["id"]] or wizard_composed.action_ids(document)


def _worked(document: dict[str, Any], example: str) -> list[str]:
    """The worked example of the reward step; nothing while its numbers cannot be read."""
    problems: Problems = {"reward": {}}
    reader = Reader(problems, "reward")
    texts = example.replace(";", " ").replace(",", " ").split()[:20]
    values = [reader.number(text, "example") for text in texts]
    try:
        spec = RewardSpec.model_validate(document)
    except ValidationError:
        return []
    usable = spec.min < spec.max and spec.min <= spec.default <= spec.max
    return wizard_words.worked(spec, [value for value in values if value is not None]) if usable else []
