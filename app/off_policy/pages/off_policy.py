"""Off-policy: what policies that never ran would have earned, read from the log; candidates; asking for an evaluation."""

from itertools import pairwise
from typing import Any

from flask import Response, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from app.accounts.pages.access import may, page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import invalid
from app.foundation.pages.charts import Row
from app.foundation.pages.format import signed
from app.foundation.serving import process
from app.foundation.words import as_sentence
from app.off_policy import evaluations
from app.off_policy import logged_values as service
from app.off_policy.evaluation_request import EvaluationRequest
from app.off_policy.logged_values import Policy
from app.off_policy.pages import candidate_form, cap_question

FINISHED = 286  # the page's script loads the page again then
ESTIMATORS = {
    "dr": "doubly robust",
    "sndr": "self-normalised doubly robust",
    "snips": "self-normalised weighting",
    "ips": "weighting",
    "dm": "reward model alone",
    "switch_dr": "switching doubly robust",
    "dr_os": "doubly robust, shrunk weights",
    "clipped_ips": "weighting, clipped",
}
STATUS = {
    "identified": ("the log answers", "ok"),
    "warning": ("answers, with a warning", "warn"),
    "not_identified": ("the log cannot answer", "bad"),
}


@page("/experiments/<key>/off-policy", "viewer")
def off_policy(key: str) -> str:
    """The newest finished evaluation, or the one that was asked for."""
    return _page(key)


@page("/experiments/<key>/off-policy/progress", "viewer")
def evaluation_progress(key: str) -> Any:
    """How far an evaluation is: a fragment that the page's script asks for again and again."""
    text = request.args.get("id", "")
    found = service.progress(process().engine, key, int(text)) if text.isdecimal() and len(text) < 19 else None
    if found is None:
        return Response(status=204)
    return render_template("off_policy_progress.html", one=found), FINISHED if found.finished_at else 200


@page("/experiments/<key>/off-policy/candidates", "editor", ("POST",))
def store_candidate(key: str) -> Any:
    """A new candidate, or another definition for one."""
    form = request.form
    try:
        stored = evaluations.add_candidate(process().engine, key, candidate_form.parse(form), user().name)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _page(key, form, candidate_form.mistakes(error, form)), error.status
    flash(f"The candidate {stored['key']} is stored. It decides nothing; evaluate it to see what it would have earned.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/remove", "editor", ("POST",))
def remove_candidate(key: str) -> Any:
    """Forget a candidate."""
    name = request.form.get("candidate", "")
    evaluations.remove_candidate(process().engine, key, name, user().name)
    flash(f"The candidate {name} is removed; evaluations that were made keep its line.")
    return redirect(url_for("admin.off_policy", key=key, _anchor="candidates"))


@page("/experiments/<key>/off-policy/evaluate", "editor", ("POST",))
def evaluate(key: str) -> Any:
    """Ask for an evaluation of every candidate; the worker computes it."""
    evaluations.ask(process().engine, key, EvaluationRequest(), user().name)
    return redirect(url_for("admin.off_policy", key=key, _anchor="evaluation"))


@page("/experiments/<key>/off-policy/stage", "editor", ("POST",))
def stage_candidate(key: str) -> Any:
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
    typed: "MultiDict[str, str] | None" = None,
    errors: dict[str, str] | None = None,
    shares: dict[str, str] | None = None,
) -> str:
    """The whole page; whatever was typed into a form that was refused comes back with its mistakes."""
    wanted = request.args.get("evaluation", "")
    evaluation_id = int(wanted) if wanted.isdecimal() and len(wanted) < 19 else None
    found = service.report(process().engine, key, evaluation_id)
    known = [one for one in found.policies if one.line["value"] is not None]
    choices = service.choices(process().engine, key) if may("editor") else None
    return experiment_page(
        "off_policy.html", key, "off_policy", found=found, typed=typed, errors=errors or {}, shares=shares or {}, choices=choices,
        form=candidate_form.shown(choices) if choices else None, status_words=STATUS, estimators=ESTIMATORS,
        values=_values(known), differences=_differences(known), by_estimator=_by_estimator, weights=_weights,
        signed=signed, sentence=as_sentence, asked_first=cap_question.asked_first, **cap_question.choices(),
    )  # fmt: skip


def _values(known: list[Policy]) -> list[Row]:
    return [
        Row(
            line["policy"],
            line["value"],
            line["interval"]["low"],
            line["interval"]["high"],
            line["policy"] == "running",
        )
        for line in (one.line for one in known)
    ]


def _differences(known: list[Policy]) -> list[Row]:
    found = [(one.line["policy"], one.line["against_running"]) for one in known]
    return [
        Row(name, gap["difference"], gap["interval"]["low"], gap["interval"]["high"])
        for name, gap in found
        if gap is not None
    ]


def _by_estimator(one: Policy) -> list[Row]:
    """A policy by each estimator; the one that leads stands out."""
    leads = (one.line["headline"] or "").partition(",")[0]
    return [Row(ESTIMATORS.get(e.name, e.name), e.value, e.low, e.high, e.name == leads) for e in one.estimated]


def _weights(one: Policy) -> tuple[list[str], list[float]]:
    """Labels and counts of the histogram of weights."""
    edges, counts = one.line["weight_histogram"]["edges"], one.line["weight_histogram"]["counts"]
    labels = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    return [*labels[:-1], f"{edges[-2]:g} +"], counts
