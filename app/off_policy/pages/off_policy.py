"""Shows what policies that never ran would have earned, by the log; stores candidates and queues evaluations."""

from typing import Literal, NamedTuple

from flask import Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import may, page, user
from app.design.life import approvals
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import invalid, read
from app.foundation.pages.charts import Figure
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.fields.trees import texts_of
from app.foundation.pages.forms import time_of
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.off_policy import candidate_policies, evaluations
from app.off_policy import logged_values as service
from app.off_policy.documents import EvaluationResult, StagingAnswer
from app.off_policy.evaluation_request import CandidateSpec, EvaluationRequest, TuneRequest
from app.off_policy.life import staging
from app.off_policy.logged_values import Report
from app.off_policy.pages import candidate_form, cap_question, leaderboard
from app.off_policy.pages import evaluation_course as course
from app.off_policy.pages import evaluation_figures as figures
from app.off_policy.pages import evaluation_words as words
from bandits.policy import DEFAULT_ALGORITHM

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
    return render_template(
        "off_policy_progress.html", evaluation=evaluation
    ), FINISHED if evaluation.finished_at else 200


@page("/experiments/<key>/off-policy/candidates", "analyst", ("POST",))
def store_candidate(key: str) -> ResponseReturnValue:
    """Store a new candidate, or a new definition of a candidate."""
    typed, findings = candidate_form.FORM.of_form(request.form, ""), Findings()
    try:
        spec = candidate_form.parse(typed, findings)
        stored = candidate_policies.add(process().engine, key, spec, user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _page(key, typed, candidate_form.told(error, typed, findings)), error.status
    flash(f"The candidate {stored.key} is stored. It decides nothing; evaluate it to see what it would have earned.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/remove", "analyst", ("POST",))
def remove_candidate(key: str) -> ResponseReturnValue:
    """Remove a candidate."""
    name = request.form.get("candidate", "")
    candidate_policies.remove(process().engine, key, name, user().name)
    flash(f"The candidate {name} is removed; evaluations that were made keep its line.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/evaluate", "analyst", ("POST",))
def evaluate(key: str) -> ResponseReturnValue:
    """Ask for an evaluation of every candidate; the worker computes it."""
    typed = {name: request.form.get(name, "") for name in ("since", "until")}
    errors: dict[str, str] = {}
    since, until = (time_of(typed[name], name, errors) for name in typed)
    try:
        if not errors:
            held_out: Literal["with", "without"] = "without" if request.form.get("without") else "with"
            asked = EvaluationRequest(since=since, until=until, held_out=held_out)
            evaluations.ask(process().engine, key, asked, user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        errors |= {field.path.lstrip("/"): field.on_page() for field in error.fields}
    if errors:
        return _page(key, errors=errors, stretch=typed), 422
    return redirect(url_for("admin.off_policy", key=key, _anchor="evaluation"))


@page("/experiments/<key>/off-policy/search", "analyst", ("POST",))
def search_policies(key: str) -> ResponseReturnValue:
    """Ask for a search over many policies; the worker does it."""
    points = whole_number(request.form.get("points", ""))
    try:
        asked = read(TuneRequest, {"tune": {"points": points}})
        evaluations.tune(process().engine, key, asked, user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _page(key, errors={"points": error.fields[0].on_page()}, stretch={"since": "", "until": ""}), 422
    return redirect(url_for("admin.off_policy", key=key, _anchor="evaluation"))


@page("/experiments/<key>/off-policy/stage", "editor", ("POST",))
def stage_candidate(key: str) -> ResponseReturnValue:
    """Make a candidate a new arm."""
    at, form = process(), request.form
    name = form.get("candidate", "")
    try:
        share = 0.0 if form.get("shadow") else _share(form.get("share", ""))
        if share > 0:
            approvals.refuse_alone(at.settings)
        staged = staging.stage(at.engine, at.settings, key, name, share, user().name)
    except LoopwiseError as error:
        if error.status not in (409, 422):
            raise
        errors = {f"stage-{name}": error.fields[0].on_page() if error.fields else error.detail}
        return _page(key, errors=errors, shares={name: form.get("share", "")}), error.status
    at.refresh()
    if staged.status == "waiting":
        flash(f"{name} becomes an arm as soon as the worker has learned the model that was valued.")
        return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))
    if share == 0:
        flash(f"{name} is in shadow: it decides nothing, and is scored on what the others decide.")
        return redirect(url_for("admin.promotion", key=key, _anchor="challengers"))
    flash(f"{name} is an arm now, with {form.get('share', '').strip()}% of the units.")
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
    stretch: dict[str, str] | None = None,
) -> str:
    """Render the whole page. A refused form comes back as it was typed, with its errors."""
    report = service.report(process().engine, key, whole_number(request.args.get("evaluation", "")))
    alert = NOT_EVALUATED if stretch else NOT_STORED if typed else NOT_STAGED
    choices = service.choices(process().engine, key) if may("analyst") else None
    return experiment_page(
        "off_policy.html",
        key,
        "off_policy",
        report=report,
        typed=typed or candidate_form.FORM.tree(),
        texts=dict(texts_of(typed or candidate_form.FORM.tree())),
        errors=errors or {},
        alert=alert if errors else None,
        shares=shares or {},
        stretch=stretch or {"since": "", "until": ""},
        choices=choices,
        form=candidate_form.shown(choices) if choices else None,
        shown=_shown(report),
        board=board_of(report),
        candidates=[_candidate(spec, report) for spec in report.candidates],
        asked_first=cap_question.asked_first,
        caps=cap_question.choices(),
    )


def board_of(report: Report) -> list[leaderboard.BoardLine]:
    """The leaderboard of the evaluation that is shown; empty where it did not search."""
    row = report.shown
    if row is None or row.result is None:
        return []
    return leaderboard.lines(row.result.leaderboard)


class Alert(NamedTuple):
    """Why a form came back."""

    text: str
    anchor: str
    link: str


NOT_STORED = Alert("The candidate is not stored.", "candidate-form", "Correct what is marked in the form")
NOT_STAGED = Alert("The candidate is not staged.", "candidates", "See why")
NOT_EVALUATED = Alert("Nothing is evaluated.", "evaluation", "Correct the times")


class Shown(NamedTuple):
    """An evaluation in words, drawings and tables."""

    result: EvaluationResult
    window: str
    estimand: str
    finding: list[str]
    detectable: str  # empty: nothing was compared
    better: bool  # the search has a winner
    course: Figure
    values: Figure
    calibration: Figure | None
    actions: list[course.Actions]
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
    state: str  # why it cannot be staged; empty when it can
    stage: StagingAnswer


def _shown(report: Report) -> Shown | None:
    if report.shown is None or report.shown.result is None:
        return None
    result, alpha = report.shown.result, report.shown.request.alpha
    return Shown(
        result=result,
        window=words.window(result),
        estimand=words.estimand(result),
        finding=words.finding(report, result),
        detectable=course.detectable(result, alpha),
        better=result.out_of_sample and result.search.winner is not None,
        course=course.course(result, alpha),
        values=figures.values(report.policies, alpha, course.unit_of(result)),
        calibration=course.calibration(result),
        actions=course.actions(result, alpha),
        differences=figures.differences(report.policies),
        policies=figures.policies(report.policies),
        search=figures.search(result.search.candidates),
        realised=figures.realised(result),
    )


def _candidate(spec: CandidateSpec, report: Report) -> ShownCandidate:
    policy, named = spec.policy or {}, ""
    if spec.model is not None:
        text = f"Model version {spec.model['version']} of arm {spec.model['arm']}"
    elif policy["type"] == "bandit":
        text = f"Learns with {policy.get('algorithm', DEFAULT_ALGORITHM)}"
    elif policy["type"] == "fixed":
        text, named = "Always", str(policy["action"])
    elif policy["type"] == "first_action":
        text = "The first action of each call"
    else:
        text = "Every eligible action alike"
    state = _why_not_staged(spec, report)
    return ShownCandidate(
        spec.key,
        text,
        named,
        spec.features_off,
        spec.model_dump(mode="json"),
        not state,
        state,
        report.stagings[spec.key],
    )


def _why_not_staged(spec: CandidateSpec, report: Report) -> str:
    """Why a candidate cannot become an arm now; empty when it can."""
    staged = report.stagings[spec.key]
    if staged.status == "staged":
        return "It is an arm of the experiment now."
    if report.status == "concluded":
        return "The experiment is concluded: it takes no new arm."
    if staged.status == "waiting":
        return "It is staged: the worker learns the model that was valued, and makes it an arm."
    if spec.policy is not None and spec.policy.get("type") == "bandit" and staged.evaluation is None:
        return "Evaluate it first: what is staged is the very model that was valued."
    return ""
