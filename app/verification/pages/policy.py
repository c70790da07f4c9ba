"""The models of the learning arms: where each came from, what it learned, which serves; comparing and going back."""

from typing import NamedTuple

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.experiment_config import ExperimentConfig
from app.design.experiments import get
from app.design.pages import policy_words
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.fields import JsonObject
from app.foundation.pages.charts import Figure
from app.foundation.pages.forms import mistakes
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.learning import refit
from app.learning.learner_report import LearnerReport, feature_notes, learner_report
from app.registry import versions as models
from app.verification import scorecards
from app.verification import version_history as model_history
from app.verification.pages import figures, learner_words
from app.verification.scorecards import Scorecard
from app.verification.version_history import History

MOST_VERSIONS = 2**31 - 1  # the database's largest version number


@page("/experiments/<key>/policy", "viewer")
def policy(key: str) -> str:
    """The lineage of one arm, newest first."""
    arm, number = request.args.get("arm", ""), _number("version")
    before = _number("before") if number is None else number + 1
    history = model_history.history(process().engine, key, arm, before)
    manifest, stored = _serving_manifest(key, history), get(process().engine, key)
    config = ExperimentConfig.model_validate(stored.config)
    return experiment_page(
        "policy.html", key, "policy", history=history, lineage=figures.lineage(history.lines), wanted=number,
        paged=before is not None, race=_race(manifest), experiment=stored,
        apprentice=any(spec.key == history.arm and spec.apprentice for spec in config.arms),
        cards=_cards(key, history), notes=[(each.feature, learner_words.note(each)) for each in feature_notes(manifest)],
    )  # fmt: skip


def _cards(key: str, history: History) -> dict[int, Scorecard]:
    """By version, how it did while it served."""
    if not history.arm:
        return {}
    cards = scorecards.get(process().engine, key, history.arm, scorecards.NEWEST_ON_PAGE).scorecards
    return {card.version: card for card in cards}


def _serving_manifest(key: str, history: History) -> JsonObject:
    if history.serving is None:
        return {}
    return model_history.version(process().engine, key, history.arm, history.serving.number).version.manifest


def _race(manifest: JsonObject) -> "_Race | None":
    """The race of a version; null where the arm's policy has none."""
    report = learner_report(manifest)
    if report is None:
        return None
    choices = [
        ("", "the one that predicts best"),
        *((c.name, policy_words.candidate(c.name)) for c in report.candidates),
    ]
    return _Race(report, figures.race(report), learner_words.reason(report), learner_words.memory(report), choices)


class _Race(NamedTuple):
    report: LearnerReport
    figure: Figure
    reason: str
    memory: str
    choices: list[tuple[str, str]]  # of what may be pinned, with words


@page("/experiments/<key>/policy/rebuild", "editor", ("POST",))
def rebuild_model(key: str) -> ResponseReturnValue:
    """Ask for a rebuild."""
    arm = request.form.get("arm", "")
    refit.ask(process().engine, key, arm, user().name)
    flash(f"The model of arm {arm} is learned again from its whole log. It takes from seconds to some minutes.")
    return redirect(url_for("admin.policy", key=key, arm=arm))


@page("/experiments/<key>/policy/pin", "editor", ("POST",))
def pin_candidate(key: str) -> ResponseReturnValue:
    """Pin which learner of the race decides, or let the race decide again."""
    arm, name = request.form.get("arm", ""), request.form.get("candidate", "")
    refit.pin(process().engine, key, arm, name, user().name)
    words = policy_words.candidate(name) if name else "the learner that its policy or the race chooses"
    flash(f"Arm {arm} will decide by {words}, as soon as its model is learned again: within seconds to some minutes.")
    return redirect(url_for("admin.policy", key=key, arm=arm))


@page("/experiments/<key>/policy/compare", "viewer")
def compare_versions(key: str) -> str:
    """Two versions side by side."""
    at, arm = process(), request.args.get("arm", "")
    first, second = _number("first") or 0, _number("second") or 0
    comparison = model_history.compare(at.engine, at.settings, key, arm, first, second)
    choices = figures.changed_choices(comparison)
    return experiment_page("policy_compare.html", key, "policy", arm=arm, comparison=comparison, choices=choices)


@page("/experiments/<key>/policy/rollback", "editor", ("GET", "POST"))
def rollback(key: str) -> ResponseReturnValue:
    """Explain what a rollback does; then roll back."""
    arm, number = request.values.get("arm", ""), _number("version") or 0
    errors: dict[str, str] = {}
    status, reason = 200, request.form.get("reason", "")
    if request.method == "POST":
        try:
            done = models.rollback(process().engine, key, arm, number, reason, user().name)
            process().refresh()
            flash(f"Version {done['serving']} of arm {arm} serves now; before it was version {done['before']}.")
            return redirect(url_for("admin.policy", key=key, arm=arm))
        except LoopwiseError as error:
            errors, status = mistakes(error), error.status
            if not errors:
                raise
    line = model_history.version(process().engine, key, arm, number)
    models.check_can_serve(line.version)
    serving = model_history.history(process().engine, key, arm).serving
    shown = experiment_page(
        "policy_rollback.html", key, "policy", arm=arm, line=line, serving=serving, reason=reason, errors=errors
    )
    return shown, status


def _number(name: str) -> int | None:
    return whole_number(request.values.get(name, ""), MOST_VERSIONS)
