"""The wizard's last step: what will happen, and doing it."""

from typing import Any

from flask import flash, redirect, request, url_for

from app.accounts.pages.access import user
from app.design import drafts
from app.design import history as trail
from app.design.experiment_config import ExperimentConfig
from app.design.feedback_config import FeedbackSpec, worth_of
from app.design.history import Difference
from app.foundation.errors import LoopwiseError
from app.foundation.pages import charts
from app.foundation.pages.format import percent
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment
from app.wizard import form as wizard_form
from app.wizard import words as wizard_words
from app.wizard.check import problem_of
from app.wizard.form import NAMES, STEPS
from app.wizard.frame import Opened, led_to, open_draft, render
from app.wizard.sentences import where


def review(opened: Opened) -> Any:
    """What will happen; and doing it."""
    problem: LoopwiseError | None = None
    do = request.form.get("do", "")
    if do.startswith("to-") and do[3:] in NAMES:
        return led_to(opened, "review", do)
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
        differences = trail.differences(before.config, config.model_dump(mode="json"))
    arms = opened.checked.document["arms"]
    return render(
        "wizard_review.html",
        opened,
        "review",
        problem=problem,
        problem_lines=problem_of(problem) if problem else [],
        mistakes=_mistakes(opened),
        differences=differences,
        learned_again=before is not None and config is not None and _learned_again(before, config),
        moved=before is not None and before.config_version != opened.draft.base_version,
        paragraphs=[wizard_words.paragraph(config), wizard_words.about_people(config)] if config else [],
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


def _learned_again(before: StoredExperiment, config: ExperimentConfig) -> bool:
    """True when answers to decisions of the past would be worth something else."""
    old = before.config.get("feedback")
    known = None if old is None else FeedbackSpec.model_validate(old)
    return before.started_at is not None and worth_of(known) != worth_of(config.feedback)


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
        drafts.rebase(process().engine, opened.draft.id, posted_version(), newest, user().name)
        flash(f"The change is based on configuration {newest} now. Look at the differences below.")
    return redirect(url_for("admin.draft_step", draft_id=opened.draft.id, step="review"))


def _publish(opened: Opened) -> Any:
    """Create the experiment, or apply the change."""
    engine, settings = process().engine, process().settings
    made = drafts.publish(engine, settings, opened.draft.id, posted_version(), opened.checked.document, user().name)
    process().refresh()
    if opened.before is None:
        flash("The experiment is made. Nothing runs before you start it.")
        return redirect(url_for("admin.integration", key=made.key))
    flash(f"The change is applied: configuration {made.config_version}.")
    return redirect(url_for("admin.overview", key=made.key))
