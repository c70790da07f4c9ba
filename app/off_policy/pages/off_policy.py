"""Shows what policies that never ran would have earned, by the log; stores candidates and queues evaluations."""

from typing import NamedTuple

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import may, page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import invalid
from app.foundation.pages.charts import Figure
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.fields.trees import texts_of
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.foundation.words import as_sentence
from app.off_policy import evaluations
from app.off_policy import logged_values as service
from app.off_policy.documents import EvaluationResult
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest
from app.off_policy.logged_values import Report
from app.off_policy.pages import candidate_form, cap_question
from app.off_policy.pages import evaluation_figures as figures

FINISHED = 286  # a status at which the page's script loads the page again


@page("/experiments/<key>/off-policy", "viewer")
def off_policy(key: str) -> str:
    """Show the requested evaluation, or the newest that is done."""
    return _page(key)


@page("/experiments/<key>/off-policy/progress", "viewer")
def evaluation_progress(key: str) -> ResponseReturnValue:
    """Serve the progress of an evaluation: a fragment that the page's script polls."""
    evaluation_id = whole_number(request.args.get("id", ""))
    evaluation = None if evaluation_id is None else service.progress(process().engine, key, evaluation_id)
    if evaluation is None:
        return Response(status=204)
    return render_template("off_policy_progress.html", one=evaluation), FINISHED if evaluation.finished_at else 200


@page("/experiments/<key>/off-policy/candidates", "editor", ("POST",))
def store_candidate(key: str) -> ResponseReturnValue:
    """Store a new candidate, or a new definition of a candidate."""
    typed, findings = candidate_form.FORM.of_form(request.form, ""), Findings()
    try:
        spec = candidate_form.parse(typed, findings)
        stored = evaluations.add_candidate(process().engine, key, spec, user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _page(key, typed, candidate_form.told(error, typed, findings)), error.status
    flash(f"The candidate {stored.key} is stored. It decides nothing; evaluate it to see what it would have earned.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/remove", "editor", ("POST",))
def remove_candidate(key: str) -> ResponseReturnValue:
    """Remove a candidate."""
    name = request.form.get("candidate", "")
    evaluations.remove_candidate(process().engine, key, name, user().name)
    flash(f"The candidate {name} is removed; evaluations that were made keep its line.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/evaluate", "editor", ("POST",))
def evaluate(key: str) -> ResponseReturnValue:
    """Ask for an evaluation of every candidate; the worker computes it."""
    evaluations.ask(process().engine, key, EvaluationRequest(), user().name)
    return redirect(url_for("admin.off_policy", key=key, _anchor="evaluation"))


@page("/experiments/<key>/off-policy/stage", "editor", ("POST",))
def stage_candidate(key: str) -> ResponseReturnValue:
    """Make a candidate a new arm."""
    at, form = process(), request.form
    name = form.get("candidate", "")
    try:
        evaluations.stage(at.engine, at.settings, key, name, _share(form.get("share", "")), user().name)
    except LoopwiseError as error:
        if error.status not in (409, 422):
            raise
        errors = {f"stage-{name}": error.fields[0].on_page() if error.fields else error.detail}
        return _page(key, errors=errors, shares={name: form.get("share", "")}), error.status
    at.refresh()
    flash(f"{name} is an arm now, with {form.get('share', '').strip()}% of the units. It starts untrained.")
    return redirect(url_for("admin.overview", key=key))


def _share(text: str) -> float:
    try:
        share = float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise invalid((FieldError("/share", "not_a_percentage"),))
    return share


def _page(
    key: str,
    typed: Typed | None = None,
    errors: dict[str, str] | None = None,
    shares: dict[str, str] | None = None,
) -> str:
    """Render the whole page. A refused form comes back as it was typed, with its errors."""
    report = service.report(process().engine, key, whole_number(request.args.get("evaluation", "")))
    choices = service.choices(process().engine, key) if may("editor") else None
    return experiment_page(
        "off_policy.html",
        key,
        "off_policy",
        found=report,
        typed=typed or candidate_form.FORM.tree(),
        texts=dict(texts_of(typed or candidate_form.FORM.tree())),
        errors=errors or {},
        shares=shares or {},
        choices=choices,
        form=candidate_form.shown(choices) if choices else None,
        shown=_shown(report),
        candidates=[_candidate(spec) for spec in report.candidates],
        asked_first=cap_question.asked_first,
        caps=cap_question.choices(),
    )


class Shown(NamedTuple):
    """An evaluation in words, drawings and tables."""

    result: EvaluationResult
    search_text: str
    values: Figure
    differences: Figure
    policies: list[figures.ShownPolicy]
    search: figures.Table
    realised: figures.Table


class ShownCandidate(NamedTuple):
    """A stored candidate in words."""

    key: str
    words: str
    named: str  # the action that it always takes, which the user named
    features_off: list[str]
    definition: dict[str, object]
    stageable: bool


def _shown(report: Report) -> Shown | None:
    if report.shown is None or report.shown.result is None:
        return None
    result = report.shown.result
    return Shown(
        result=result,
        search_text=as_sentence(result.search.text),
        values=figures.values(report.policies, report.shown.request.alpha),
        differences=figures.differences(report.policies),
        policies=figures.policies(report.policies),
        search=figures.search(result.search.candidates),
        realised=figures.realised(result),
    )


def _candidate(spec: CandidateSpec) -> ShownCandidate:
    policy, named = spec.policy or {}, ""
    if spec.model is not None:
        words = f"Model version {spec.model['version']} of arm {spec.model['arm']}"
    elif policy["type"] == "bandit":
        words = f"Learns with {policy['algorithm']}"
    elif policy["type"] == "fixed":
        words, named = "Always", str(policy["action"])
    else:
        words = "Every eligible action alike"
    stageable = spec.policy is not None and not spec.features_off
    return ShownCandidate(spec.key, words, named, spec.features_off, spec.model_dump(mode="json"), stageable)
