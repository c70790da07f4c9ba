"""The wizard's pages: a draft of a new experiment, or of a change of one, typed step by step and saved at each.

A save redirects to the next page. Only if somebody else saved in the meantime, and nothing was stored, the answer is the
page with the typed texts.
"""

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.accounts.pages.access import page, user
from app.deciding.arrivals import proposed
from app.design import drafts, experiments
from app.design.experiment_config import RewardSpec
from app.design.pages import definition_words
from app.foundation.errors import Conflict, FieldError, LoopwiseError
from app.foundation.fields import JsonObject, invalid
from app.foundation.pages.fields.kinds import Findings, Number, Typed, listed_names, names_as_text
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.foundation.times import zones
from app.messaging.events.known import known_events
from app.reporting.pages.planning import form as plan_form
from app.simulation.pages import rehearsal_form
from app.wizard import actions as wizard_actions
from app.wizard import composed as wizard_composed
from app.wizard import formula, library
from app.wizard import review as wizard_review
from app.wizard.beginning import cloning, examples
from app.wizard.buttons import pressed
from app.wizard.document import Document, document_of
from app.wizard.form import FORMS, NAMES
from app.wizard.frame import DRAFT, Clash, Look, Opened, clash_of, open_draft, opened_of, render
from app.wizard.naming import fill_ids
from app.wizard.typed import typed_of

STEP = f"{DRAFT}/<any({', '.join(NAMES)}):step>"


@page("/drafts", "editor", ("POST",))
def new_draft() -> ResponseReturnValue:
    """Begin a new experiment."""
    draft_id = drafts.create(process().engine, {}, user().name)
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page(f"{DRAFT}/example", "editor", ("POST",))
def begin_with_example(draft_id: int) -> ResponseReturnValue:
    """Fill a draft of a new experiment with a template; a name and a hypothesis that were typed stay."""
    opened, name = open_draft(draft_id), request.form.get("example", "")
    if name not in examples.EXAMPLES or opened.before is not None:
        raise invalid((FieldError("/example", "not_a_choice", {"expected": [*examples.EXAMPLES]}),))
    typed = {name: request.form.get(f"/{name}", "").strip() for name in ("name", "key", "hypothesis")}
    tree = examples.typed(name) | {name: text for name, text in typed.items() if text}
    drafts.save(process().engine, draft_id, posted_version(), examples.STEPS, tree, user().name)
    flash(f"{examples.EXAMPLES[name].title}: give it a name, then change what differs in your product.")
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page("/experiments/<key>/edit", "editor", ("POST",))
def edit(key: str) -> ResponseReturnValue:
    """Begin a change of an experiment."""
    experiment = experiments.get(process().engine, key)
    typed = {"saved": [step for step in FORMS if step != "plan"], "document": typed_of(experiment.config)}
    draft_id = drafts.create_change(process().engine, key, experiment.config_version, typed, user().name)
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page("/experiments/<key>/clone", "editor", ("POST",))
def clone_experiment(key: str) -> ResponseReturnValue:
    """Begin a new experiment with everything that this one says."""
    draft_id = drafts.create(process().engine, cloning.copy_of(process().engine, key), user().name)
    flash(f"This is a copy of {key}. Nothing is decided before you start it.")
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page("/experiments/<key>/context-schema", "editor", ("POST",))
def confirm_context(key: str) -> ResponseReturnValue:
    """Begin a change that takes the fields which the newest calls carry into the context schema."""
    experiment, engine = experiments.get(process().engine, key), process().engine
    fields = [field.model_dump(mode="json") for field in proposed(engine, key)]
    document = typed_of({**experiment.config, "context_schema": fields or None})
    typed = {"saved": [step for step in FORMS if step != "plan"], "document": document}
    draft_id = drafts.create_change(engine, key, experiment.config_version, typed, user().name)
    flash("These are the fields that your app sends. Correct them, then apply the change in the step Review.")
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="people", _anchor="/context_schema"))


@page(DRAFT, "editor")
def draft(draft_id: int) -> ResponseReturnValue:
    """Open the first step that is not saved or has errors."""
    opened = open_draft(draft_id)
    missing = [step for step in FORMS if step != "plan" and (step not in opened.saved or opened.checked.of(step))]
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step=missing[0] if missing else "review"))


@page(f"{DRAFT}/discard", "editor", ("POST",))
def discard_draft(draft_id: int) -> ResponseReturnValue:
    """Discard the draft."""
    drafts.discard(process().engine, draft_id, posted_version())
    flash("The draft is discarded.")
    return redirect(url_for("admin.home"))


@page(STEP, "editor")
def draft_step(draft_id: int, step: str) -> ResponseReturnValue:
    """One step with its form."""
    opened = open_draft(draft_id)
    return wizard_review.show(opened) if step == "review" else _shown(opened, step)


@page(STEP, "editor", ("POST",))
def save_step(draft_id: int, step: str) -> ResponseReturnValue:
    """Save the typed texts of a step, after its button was applied."""
    opened, do = open_draft(draft_id), request.form.get("do", "save")
    if step == "review":
        return _led_to(opened, step, do, {})
    more: Look = {}
    if step == "actions":
        tree, more = wizard_actions.posted(opened, do)
    else:
        tree = FORMS[step].of_form(request.form, "")
        more = (
            library.take(tree, request.form.get("saved_metric", ""))
            if do == "take"
            else _touched(do, pressed(tree, do))
        )
        fill_ids(tree)
    try:
        saved = drafts.save(process().engine, opened.draft.id, posted_version(), [step], tree, user().name)
    except Conflict:
        newest = open_draft(opened.draft.id)
        clash = clash_of(newest, _made(newest.tree(step), step), _made(FORMS[step].complete(tree), step))
        return _shown(newest, step, FORMS[step].complete(newest.document | tree), clash=clash), 409
    except LoopwiseError as error:
        return _shown(opened, step, FORMS[step].complete(tree), problem=error.detail), error.status
    newest = opened_of(saved)
    if step == "actions":
        more = wizard_actions.settled(newest, more)
    if do.startswith("keep "):
        more = library.keep(newest, do[5:])
    return _led_to(newest, step, do, more)


@page(f"{DRAFT}/actions/preview", "editor", ("POST",))
def preview_action(draft_id: int) -> ResponseReturnValue:
    """The action in the form as people and the app get it, for the script that shows it while somebody types."""
    return wizard_actions.preview(open_draft(draft_id))


@page(f"{DRAFT}/world.json", "editor")
def draft_world(draft_id: int) -> ResponseReturnValue:
    """The world of a rehearsal, to play with ``loopwise simulate``."""
    opened = open_draft(draft_id)
    world = rehearsal_form.world(opened.tree("plan")["plan"], opened.checked.config)
    if world is None:
        return redirect(url_for("admin.draft_step", draft_id=draft_id, step="plan", rehearsal=1, _anchor="answer"))
    response = Response(world.model_dump_json(exclude_defaults=True, indent=1), mimetype="application/json")
    response.headers["Content-Disposition"] = "attachment; filename=world.json"
    return response


def _touched(do: str, rows: str) -> Look:
    """The view after a button: its rows. New rows show no errors yet."""
    made = do.startswith("add ")
    return {"_anchor": rows, "new": rows if made else None} if rows else {}


def _made(tree: Typed, step: str) -> Document:
    """The part of the definition that a step's fields make, to compare two people's versions."""
    if step == "plan":
        return tree
    names = {name.partition(":")[0] for name in tree}
    return {name: value for name, value in document_of(tree, Findings()).items() if name in names}


def _led_to(saved: Opened, step: str, do: str, more: Look) -> ResponseReturnValue:
    """The page after a save: save, next, back, ``to STEP``, or the same page with another view."""
    index, target = NAMES.index(step), step
    wrong = do in ("save", "next") and bool(saved.checked.of(step))
    if do == "next" and not wrong:
        target = NAMES[min(index + 1, len(NAMES) - 1)]
    elif do == "back":
        target = NAMES[max(0, index - 1)]
    elif do.startswith("to ") and do[3:] in NAMES:
        target = do[3:]
    elif do == "plan":
        more = {"answer": 1, "_anchor": "answer"}
    elif do == "rehearse":
        more = {"rehearsal": 1, "_anchor": "answer"}
    elif do == "save" and not wrong:
        flash("Saved.")
    shown: Look = {"saved": 1} if wrong else {}
    return redirect(
        url_for("admin.draft_step", draft_id=saved.draft.id, step=target, **(shown | more if target == step else {}))
    )


def _shown(
    opened: Opened, step: str, tree: Typed | None = None, *, problem: str = "", clash: Clash | None = None
) -> str:
    """A step's page; ``tree``: typed texts that were not stored."""
    checked = step in opened.saved or "check" in request.args
    errors = {"": problem} if problem else opened.checked.of(step) if checked else {}
    tree = tree or opened.tree(step)
    if step == "actions":
        show = wizard_composed.show if tree["actions:among"] == "composed" else wizard_actions.show
        return show(opened, tree, errors, clash)
    more: Look = {"examples": examples.EXAMPLES if not opened.before and not opened.saved else {}}
    if step == "reward":
        more["worked"] = _worked(opened.checked.document["reward"], tree["reward:example"])
        more |= formula.shown(opened, tree["reward_formula"]["text"])
    if step == "plan" and "answer" in request.args:
        more["answer"], errors = plan_form.answer(process().engine, tree["plan"], opened.checked.document)
    if step == "plan" and "rehearsal" in request.args:
        more["answer"], errors = rehearsal_form.answer(tree["plan"], opened.checked.config)
        more["rehearsed"] = more["answer"] is not None
    if step in ("people", "metrics"):
        more["names"] = _names(opened, tree)
    if step == "metrics":
        more["known"] = known_events(process().engine)
        more["library"] = library.listed(tree)
    if step in ("arms", "people"):
        more["action_ids"] = _action_ids(opened)
        more["zones"] = sorted(zones()) if step == "people" else []
    return render(f"wizard_{step}.html", opened, step, tree, errors, clash=clash, **more)


def _names(opened: Opened, tree: Typed) -> JsonObject:
    """The fields of the context schema, and of each list of fields those that are chosen and those that it does not have."""
    declared = opened.checked.document.get("context_schema") or []
    known = [field["name"] for field in declared if field.get("name")]
    lists: JsonObject = {}
    for name in ("segments", "context_fields:names", "context_fields:hashed"):
        if name in tree:
            listed = [*tree[f"{name}:of"], *listed_names(tree[name])]
            others = names_as_text([field for field in listed if field not in known]) if known else tree[name]
            lists[f"/{name}"] = {"chosen": listed, "others": others}
    numbers = [field["name"] for field in declared if field.get("type") == "number"]
    return {"known": known, "numbers": numbers, "lists": lists}


def _action_ids(opened: Opened) -> list[str]:
    """The ids that can be chosen, as far as they can be read."""
    document = opened.checked.document
    listed = [action["id"] for action in document["actions"] if action["id"]]
    return listed or wizard_composed.action_ids(document)


def _worked(document: Document, example: str) -> list[str]:
    """The worked example of the reward step; nothing while its numbers cannot be read."""
    read = [
        Number().read({"": text}, "", "", Findings()) for text in example.replace(";", " ").replace(",", " ").split()
    ]
    try:
        spec = RewardSpec.model_validate(document)
    except ValidationError:  # shown beside the fields
        return []
    usable = spec.min < spec.max and spec.min <= spec.default <= spec.max
    return definition_words.worked(spec, [value for value in read[:20] if isinstance(value, float)]) if usable else []
