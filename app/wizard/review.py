"""The wizard's last step: a summary, then creating the experiment or applying the change."""

from flask import flash, redirect, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design import drafts
from app.design import history as trail
from app.design.experiment_config import ExperimentConfig, worth_of
from app.design.history import Difference
from app.design.pages import definition_words
from app.foundation.errors import LoopwiseError
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure
from app.foundation.pages.format import percent
from app.foundation.pages.typed import posted_version
from app.foundation.serving import process
from app.wizard.check import told_by, where
from app.wizard.document import Document
from app.wizard.form import STEPS
from app.wizard.frame import DRAFT, Look, Opened, open_draft, render


@page(f"{DRAFT}/review/publish", "editor", ("POST",))
def publish_draft(draft_id: int) -> ResponseReturnValue:
    """Create the experiment, or apply the change."""
    engine, settings, opened = process().engine, process().settings, open_draft(draft_id)
    try:
        if opened.before is not None and opened.before.started_at is not None and settings.approvals:
            document = opened.checked.document
            before = drafts.ask_to_publish(engine, draft_id, posted_version(), document, user().name)
            flash("You have asked for the change. It happens once a second person approves it on this page.")
            return redirect(url_for("admin.overview", key=before.key))
        made = drafts.publish(engine, settings, draft_id, posted_version(), opened.checked.document, user().name)
    except LoopwiseError as error:
        return show(open_draft(draft_id), error), error.status
    process().refresh()
    if opened.before is None:
        flash("The experiment is made. Nothing runs before you start it.")
        return redirect(url_for("admin.integration", key=made.key))
    flash(f"The change is applied: configuration {made.config_version}.")
    return redirect(url_for("admin.overview", key=made.key))


@page(f"{DRAFT}/review/rebase", "editor", ("POST",))
def rebase_draft(draft_id: int) -> ResponseReturnValue:
    """Let a change begin from the current configuration of the experiment."""
    opened = open_draft(draft_id)
    try:
        if opened.before is not None:
            newest = opened.before.config_version
            drafts.rebase(process().engine, draft_id, posted_version(), newest, user().name)
            flash(f"The change is based on configuration {newest} now. Look at the differences below.")
    except LoopwiseError as error:
        return show(open_draft(draft_id), error), error.status
    return redirect(url_for("admin.draft_step", draft_id=draft_id, step="review"))


def show(opened: Opened, problem: LoopwiseError | None = None) -> str:
    """The summary of the draft.

    :param problem: why the experiment could not be created or changed.
    """
    config, before = opened.checked.config, opened.before
    differences: list[Difference] = []
    if before is not None and config is not None:
        differences = trail.differences(before.config, config.model_dump(mode="json"))
    learned_again = False  # answers to earlier decisions would have other rewards
    if before is not None and config is not None and before.started_at is not None:
        changed = worth_of(ExperimentConfig.model_validate(before.config)) != worth_of(config)
        learned_again = changed and (config.reward_formula is None or config.reward_formula.relearn)
    return render(
        "wizard_review.html",
        opened,
        "review",
        {},
        problem=problem,
        problem_lines=told_by(problem.fields) if problem else [],
        mistakes=_mistakes(opened),
        differences=differences,
        learned_again=learned_again,
        moved=before is not None and before.config_version != opened.draft.base_version,
        paragraphs=[definition_words.paragraph(config), definition_words.about_people(config)] if config else [],
        warnings=definition_words.warnings(config) if config else [],
        config=config,
        shares=_shares(opened.checked.document["arms"]),
        clash=None,
    )


def _shares(arms: list[Document]) -> Figure | None:
    """Draw who gets what; null without arms."""
    if not arms:
        return None
    shares = [(arm["key"], arm.get("share", 0.0)) for arm in arms]
    caption = "Who gets what"
    bars = [charts.Row(arm, share) for arm, share in shares]
    chart = charts.bars(bars, title=caption, unit="share of the users", write=percent, high=1.0)
    rows = [[arm, percent(share)] for arm, share in shares]
    return Figure("shares-figure", caption, chart, ["Arm", "Share of the users"], rows)


def _mistakes(opened: Opened) -> list[tuple[str, str, str]]:
    """Every error of the draft: (address of its field, the field in words, the error)."""
    mistakes = []
    rows = opened.tree("actions")["actions"]
    for step, (title, _) in STEPS.items():
        for pointer, words in opened.checked.of(step).items():
            index = pointer.split("/")[2] if pointer.startswith("/actions/") else ""
            more: Look = {"edit": rows[int(index)][":row"]} if index else {"check": 1}
            anchor = "action" if index else pointer
            address = url_for("admin.draft_step", draft_id=opened.draft.id, step=step, _anchor=anchor, **more)
            mistakes.append((address, ", ".join(part for part in (title, where(pointer)) if part), words))
    return mistakes
