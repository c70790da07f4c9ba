"""The page of the global holdout: its share, and the cumulative effect of what was shipped."""

from decimal import Decimal

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.foundation.errors import LoopwiseError
from app.foundation.fields import read
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.fields.kinds import Findings, Number, percent
from app.foundation.pages.format import interval, number, signed
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.impact import holdout as service
from app.impact.documents import EffectLine, HoldoutEffect
from app.impact.holdout import Measured
from app.messaging.events.known import known_events
from app.registry import holdout as setting
from app.registry.holdout import HoldoutRequest

SHARE = percent(needed=True)
DAYS = Number(times=Decimal(86_400), needed=True)
VALUES = [("happened", "whether it happened"), ("count", "how often"), ("sum", "the sum of a property")]


@page("/holdout", "viewer")
def holdout() -> str:
    """The share, its history, and the effect of what was shipped."""
    return _page({}, {})


@page("/holdout", "admin", ("POST",))
def set_holdout() -> ResponseReturnValue:
    """Change the share."""
    typed = {name: request.form.get(name, "") for name in ("share", "reason")}
    findings = Findings()
    share = SHARE.read({"share": typed["share"]}, "share", "/share", findings)
    errors = {problem.path.lstrip("/"): problem.on_page() for problem in findings.problems.values()}
    if not errors:
        try:
            wanted = read(HoldoutRequest, {"share": share, "reason": typed["reason"]})
            setting.change(process().engine, process().settings, wanted, user().name)
            process().refresh()
            flash("The global holdout is changed. Decisions from now on obey it.")
            return redirect(url_for("admin.holdout"))
        except LoopwiseError as error:
            if error.status != 422:
                raise
            errors = mistakes(error)
    return _page(typed, errors), 422


def _page(typed: dict[str, str], errors: dict[str, str]) -> str:
    asked = {name: request.args.get(name, "").strip() for name in ("event", "value", "field", "days")}
    measured, wrong = _measured(asked)
    effect = None if wrong else service.effect(process().engine, measured)
    return render_template(
        "holdout.html",
        section="impact",
        standing=service.answer(setting.standing(process().engine)),
        effect=effect,
        figure=_figure(effect) if effect and effect.lines else None,
        typed=typed,
        errors=errors,
        asked=asked,
        wrong=wrong,
        values=VALUES,
        known=known_events(process().engine),
    )


def _measured(asked: dict[str, str]) -> tuple[Measured, dict[str, str]]:
    """What the page was asked to compare, and what is wrong with it."""
    if not asked["event"]:
        return Measured(), {}
    findings = Findings()
    days = DAYS.read({"days": asked["days"] or "28"}, "days", "/window_s", findings)
    document = {"event": asked["event"], "value": asked["value"] or "happened", "window_s": days}
    try:
        measured = read(Measured, document | ({"field": asked["field"]} if asked["field"] else {}))
        service.check(measured)
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return Measured(), mistakes(error)
    return measured, {}


def _figure(effect: HoldoutEffect) -> Figure:
    caption = f"Everybody else minus the holdout: {effect.measured}"
    rows = [
        Row(_name(line), line.difference, line.always_valid.low, line.always_valid.high, strong=line.experiment is None)
        for line in effect.lines
    ]
    chart = charts.forest(rows, title=caption, unit="difference per unit", line_at=0.0)
    head = ["What", "Units held", "Other units", "Holdout", "Everybody else", "Difference", "At every look", "One look"]
    table = [
        [
            _name(line),
            number(line.held_units),
            number(line.other_units),
            number(line.held),
            number(line.others),
            signed(line.difference),
            interval(line.always_valid, "signed"),
            interval(line.interval, "signed"),
        ]
        for line in effect.lines
    ]
    return Figure("holdout-effect", caption, chart, head, table, "Intervals hold at every look together.")


def _name(line: EffectLine) -> str:
    return "all shipped" if line.experiment is None else line.experiment
