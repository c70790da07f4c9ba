"""The wizard: a draft of a new experiment, or of a change of one, typed step by step and saved at each."""

from typing import Any, NamedTuple

from flask import flash, redirect, render_template, request, url_for

from app.admin import charts, wizard_form, wizard_plan, wizard_words
from app.admin.access import page, user
from app.admin.format import percent
from app.admin.wizard_check import Checked, check, problem_of, where
from app.admin.wizard_document import Problems, Reader, typed_of
from app.admin.wizard_form import FORMS, NAMES, STEPS, Typed
from app.errors import Conflict, LoopwiseError, NotFound
from app.services import drafts as service
from app.services import experiments, trail
from app.services.experiment_config import ExperimentConfig, RewardSpec
from app.services.trail import Difference
from app.serving import runtime
from app.store.drafts import StoredDraft
from app.store.experiments import StoredExperiment
from bandits.policy import ALGORITHMS, COMMON, INTERACTIONS

DRAFT = "/drafts/<int(max=9000000000000000):draft_id>"
SHOWN = 50  # actions on a page
_GROUPS = {**ALGORITHMS, "": COMMON}


def _range(name: str) -> str:
    """What a parameter may be, for each way of learning that has it."""
    told = []
    for algorithm, known in _GROUPS.items():
        if name in known:
            one = known[name]
            told.append(
                f"{algorithm + ': ' if algorithm else ''}{one.low:g} to {one.high:.10g}, empty: {one.default:g}"
            )
    return f"{name}. {'; '.join(told)}."


CHOICES: dict[str, Any] = {
    "algorithms": [(name, f"{name}: {wizard_words.ALGORITHMS[name]}") for name in wizard_words.ALGORITHMS],
    "aggregations": [(name, f"they {words} ({name})") for name, words in wizard_words.AGGREGATIONS.items()],
    "interactions": INTERACTIONS,
    "sources": wizard_words.SOURCES,
    "units": [(name, name) for name in ("minutes", "hours", "days", "seconds")],
    "parameter_words": wizard_words.PARAMETERS,
    "parameters": {
        name: [known for known, group in _GROUPS.items() if name in group] for name in wizard_form.PARAMETERS
    },
    "parameter_help": {name: _range(name) for name in wizard_form.PARAMETERS},
}


class Clash(NamedTuple):
    """Somebody else saved while this was typed."""

    by: str
    at: Any
    differences: list[Difference]  # before: what they saved; after: what is typed here


class Opened(NamedTuple):
    """A draft as the pages show it."""

    draft: StoredDraft
    before: StoredExperiment | None  # the experiment that it changes
    checked: Checked


@page("/drafts", "editor", ("POST",))
def new_draft() -> Any:
    """Begin a new experiment."""
    draft_id = service.create(runtime().engine, {}, user().name)
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="purpose"))


@page("/experiments/<key>/edit", "editor", ("POST",))
def edit(key: str) -> Any:
    """Begin a change of an experiment."""
    found = experiments.get(runtime().engine, key)
    typed = typed_of(found.config)
    draft_id = service.create_change(runtime().engine, key, found.config_version, typed, user().name)
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
    service.discard(runtime().engine, draft_id, posted_version())
    flash("The draft is discarded.")
    return redirect(url_for("admin.home"))


@page(f"{DRAFT}/<step>", "editor", ("GET", "POST"))
def draft_step(draft_id: int, step: str) -> Any:
    """One step: its form, or what was typed into it."""
    if step not in NAMES:
        raise NotFound("unknown_page", f"The wizard has no step {step!r}.")
    opened = open_draft(draft_id)
    if step == "review":
        return _review(opened)
    if request.method == "GET":
        return _shown(opened, step)
    return _save_action(opened) if step == "actions" else _save(opened, step)


def open_draft(draft_id: int) -> Opened:
    """A draft, read and checked.

    :raises NotFound: there is none of that number.
    """
    return opened_of(service.get(runtime().engine, draft_id))


def opened_of(found: StoredDraft) -> Opened:
    """A stored draft, read and checked."""
    before = None if found.experiment is None else experiments.get(runtime().engine, found.experiment)
    return Opened(found, before, check(found.typed, before))


def posted_version() -> int:
    """The draft's version that the form began from; 0, which none has, when it does not say."""
    text = request.form.get("version", "")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _save(opened: Opened, step: str) -> Any:
    do = request.form.get("do", "save")
    typed = wizard_form.with_rows_done(step, wizard_form.posted(step, request.form), do)
    try:
        saved = service.save(runtime().engine, opened.draft.id, posted_version(), step, typed, user().name)
    except Conflict:
        newest = open_draft(opened.draft.id)
        clash = _clash(newest, wizard_form.of_step(newest.draft.typed, step), typed)
        return _shown(newest, step, typed=typed, clash=clash), 409
    except LoopwiseError as error:
        return _shown(opened, step, typed=typed, errors={"draft": error.detail}), error.status
    return _after(opened_of(saved), step, do)


def _after(opened: Opened, step: str, do: str) -> Any:
    """Where a saved form leads."""
    errors = opened.checked.of(step)
    if do in ("save", "next") and errors:
        return _shown(opened, step), 422
    if do == "save":
        flash("Saved.")
    place = NAMES.index(step)
    target = {"next": NAMES[place + 1], "back": NAMES[max(0, place - 1)]}.get(do, step)
    if do.startswith("to-") and do[3:] in NAMES:
        target = do[3:]
    more = {"new": 1} if do == "add" else {"answer": 1, "_anchor": "answer"} if do == "plan" else {}
    return redirect(url_for("admin.draft_step", draft_id=opened.draft.id, step=target, **more))


def _clash(newest: Opened, theirs: Any, mine: Any) -> Clash:
    return Clash(newest.draft.updated_by, newest.draft.updated_at, trail.differences(theirs, mine))


def _shown(
    opened: Opened,
    step: str,
    *,
    typed: Typed | None = None,
    errors: dict[str, str] | None = None,
    clash: Clash | None = None,
    **more: Any,
) -> str:
    """A step's page."""
    if typed is None:
        typed = wizard_form.of_step(opened.draft.typed, step)
    if errors is None:
        errors = opened.checked.of(step) if step in opened.draft.typed or "check" in request.args else {}
    if "new" in request.args and typed.get("rows"):
        fresh = f"rows-{len(typed['rows']) - 1}-"
        errors = {name: words for name, words in errors.items() if not name.startswith(fresh)}
    if step == "reward":
        more["worked"] = _worked(opened.checked.document["reward"], typed["example"])
    if step == "plan":
        answer, wrong = None, dict[str, str]()
        if "answer" in request.args:
            answer, wrong = wizard_plan.answer(runtime().engine, typed, opened.checked.document)
        more["answer"], errors = answer, {**errors, **wrong}
    if step == "arms":
        more["action_ids"] = [action["id"] for action in opened.checked.document["actions"] if action["id"]]
    if step == "actions":
        more = _actions_page(opened, typed) | more
    return render(f"wizard_{step}.html", opened, step, typed=typed, errors=errors, clash=clash, **more)


def render(template: str, opened: Opened, step: str, **values: Any) -> str:
    """A page of the wizard, inside its steps."""
    states = {}
    for name, _ in STEPS[:-1]:
        saved = name in opened.draft.typed or (name in opened.checked.problems and step == "review")
        states[name] = "mistakes" if saved and opened.checked.of(name) else "done" if saved else "open"
    place = NAMES.index(step)
    return render_template(
        template,
        section="experiments",
        opened=opened,
        draft=opened.draft,
        before=opened.before,
        step=step,
        steps=STEPS,
        title=STEPS[place][1],
        states=states,
        place=place,
        choices=CHOICES,
        **values,
    )


def _worked(document: dict[str, Any], example: str) -> list[str]:
    """The worked example of the reward step; nothing while its numbers cannot be read."""
    problems: Problems = {"reward": {}}
    reader = Reader(problems, "reward")
    texts = [text for text in example.replace(";", " ").replace(",", " ").split() if text]
    values = [reader.number(text, "example") for text in texts[:20]]
    try:
        spec = ExperimentConfig.model_validate(
            {"key": "x", "arms": [{"key": "x", "share": 1.0, "policy": {}}], "reward": document}
        ).reward
    except ValueError:
        return []
    return _worked_words(spec, [value for value in values if value is not None])


def _worked_words(spec: RewardSpec, values: list[float]) -> list[str]:
    usable = spec.min < spec.max and spec.min <= spec.default <= spec.max
    return wizard_words.worked(spec, values) if usable else []


def _actions_page(opened: Opened, typed: Typed) -> dict[str, Any]:
    rows = typed["rows"]
    wanted = request.args.get("from", "")
    start = min(int(wanted), max(0, len(rows) - 1)) // SHOWN * SHOWN if wanted.isdecimal() and len(wanted) < 6 else 0
    by_row = {row["row"]: row for row in rows}
    edited = by_row.get(request.args.get("edit", ""))
    problems: dict[int, list[str]] = {}
    for name, words in opened.checked.of("actions").items():
        part = name.split("-")
        if len(part) == 3:
            problems.setdefault(int(part[1]), []).append(words)
    action = edited or dict.fromkeys(wizard_form.ROWS["actions"], "") | {"kind": "text"}
    errors = {}
    if edited is not None:
        place = next(place for place, row in enumerate(rows) if row["row"] == edited["row"])
        prefix = f"rows-{place}-"
        found = opened.checked.of("actions").items()
        errors = {name.removeprefix(prefix): words for name, words in found if name.startswith(prefix)}
    return {"start": start, "shown": SHOWN, "action": action, "action_errors": errors, "row_problems": problems}


def _save_action(opened: Opened) -> Any:
    """Add, change, duplicate or remove one action."""
    do = request.form.get("do", "save")
    action = wizard_form.posted_action(request.form)
    typed = wizard_form.of_step(opened.draft.typed, "actions")
    typed["rows"], seen = wizard_form.with_action_done(typed["rows"], action, do)
    try:
        saved = service.save(runtime().engine, opened.draft.id, posted_version(), "actions", typed, user().name)
    except Conflict:
        opened = open_draft(opened.draft.id)
        rows = wizard_form.of_step(opened.draft.typed, "actions")["rows"]
        nothing = dict.fromkeys(action, "") | {name: action[name] for name in ("row", "kind")}
        theirs = next((row for row in rows if row["row"] == action["row"]), nothing)
        return _shown(opened, "actions", clash=_clash(opened, theirs, action), action=action), 409
    except LoopwiseError as error:
        return _shown(opened, "actions", action=action, errors={"draft": error.detail}), error.status
    newest = opened_of(saved)
    verb, _, wanted = do.partition("-")
    place = next((place for place, row in enumerate(typed["rows"]) if row["row"] == seen), None)
    wrong = any(name.startswith(f"rows-{place}-") for name in newest.checked.of("actions"))
    if verb in ("edit", "duplicate") or (wrong and verb in ("save", "next")):
        return redirect(url_for("admin.draft_step", draft_id=saved.id, step="actions", edit=seen, _anchor="action"))
    if verb in ("save", "remove", "from"):
        flash("Saved.")
        start = wanted if verb == "from" else str((place or 0) // SHOWN * SHOWN)
        where: dict[str, Any] = {"from": start} if start != "0" else {}
        return redirect(url_for("admin.draft_step", draft_id=saved.id, step="actions", **where))
    return _after(newest, "actions", do)


def _review(opened: Opened) -> Any:
    """What will happen; and doing it."""
    problem: LoopwiseError | None = None
    do = request.form.get("do", "")
    if do.startswith("to-") and do[3:] in NAMES:
        return redirect(url_for("admin.draft_step", draft_id=opened.draft.id, step=do[3:]))
    if do in ("publish", "rebase"):
        try:
            return _rebase(opened) if do == "rebase" else _publish(opened)
        except LoopwiseError as error:
            problem = error
            opened = open_draft(opened.draft.id)
    shown = _review_page(opened, problem)
    return (shown, problem.status) if problem else shown


def _review_page(opened: Opened, problem: LoopwiseError | None) -> str:
    config, before = opened.checked.config, opened.before
    differences: list[Difference] = []
    if before is not None and config is not None:
        differences = trail.differences(_by_key(before.config), _by_key(config.model_dump(mode="json")))
    arms = opened.checked.document["arms"]
    return render(
        "wizard_review.html",
        opened,
        "review",
        problem=problem,
        problem_lines=problem_of(problem) if problem else [],
        mistakes=_mistakes(opened),
        differences=differences,
        moved=before is not None and before.config_version != opened.draft.base_version,
        paragraph=wizard_words.paragraph(config) if config else "",
        warnings=wizard_words.warnings(config) if config else [],
        config=config,
        shares=[[arm["key"], percent(arm["share"])] for arm in arms],
        shares_chart=charts.bars(
            [charts.Row(arm["key"], arm["share"]) for arm in arms],
            title="Who gets what",
            unit="share of the users",
            write=percent,
            high=1.0,
        ),
        errors={},
        clash=None,
        typed={},
    )


def _by_key(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose lists are named parts: an arm that is added does not make the next ones look changed."""
    parts = (("actions", "id"), ("arms", "key"), ("metrics", "key"))
    return config | {part: {one[key]: one for one in config[part]} for part, key in parts}


def _mistakes(opened: Opened) -> list[tuple[str, str, str]]:
    """Every mistake of the draft: (address of its field, where it is, what it is)."""
    found = []
    rows = wizard_form.of_step(opened.draft.typed, "actions")["rows"]
    for step, title in STEPS:
        for field, words in opened.checked.of(step).items():
            place = field.split("-")[1] if step == "actions" and field.startswith("rows-") else ""
            more: dict[str, Any] = {"edit": rows[int(place)]["row"]} if place.isdecimal() else {"check": 1}
            anchor = "action" if place else field
            address = url_for("admin.draft_step", draft_id=opened.draft.id, step=step, _anchor=anchor, **more)
            found.append((address, ", ".join(part for part in (title, where(step, field)) if part), words))
    return found


def _rebase(opened: Opened) -> Any:
    """Let a change begin from what the experiment is now."""
    if opened.before is not None:
        newest = opened.before.config_version
        service.rebase(runtime().engine, opened.draft.id, posted_version(), newest, user().name)
        flash(f"The change is based on configuration {newest} now. Look at the differences below.")
    return redirect(url_for("admin.draft_step", draft_id=opened.draft.id, step="review"))


def _publish(opened: Opened) -> Any:
    """Create the experiment, or apply the change."""
    engine, settings = runtime().engine, runtime().settings
    made = service.publish(engine, settings, opened.draft.id, posted_version(), opened.checked.document, user().name)
    runtime().snapshots.refresh()
    if opened.before is None:
        flash("The experiment is made. Nothing runs before you start it.")
        return redirect(url_for("admin.integration", key=made.key))
    flash(f"The change is applied: configuration {made.config_version}.")
    return redirect(url_for("admin.overview", key=made.key))
