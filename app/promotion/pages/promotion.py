"""The page Ship: what decides for everybody, the gate of a ramp, the way back, and how the experiment ends."""

from typing import NamedTuple

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.experiment_config import ExperimentConfig
from app.design.experiments import get
from app.design.life import approvals
from app.design.pages.experiment import asked as ask
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import JsonObject, invalid, read
from app.foundation.pages.format import percent, zone
from app.foundation.pages.forms import mistakes, time_of
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.foundation.times import iso
from app.promotion import approving, challengers, ramping, schedule, shipping
from app.promotion.pages import challenger_table
from app.promotion.ramping import Gate, RampRequest
from app.promotion.schedule import ScheduleRequest
from app.promotion.shipping import Ending, ShipRequest
from app.registry.store.experiments import StoredExperiment
from app.reporting import findings
from app.reporting.pages import sentences

TOLD = {"advance": ("The gate is open", "good"), "wait": ("The gate is shut", "wait"), "back": ("Roll back", "bad")}


class ShownStep(NamedTuple):
    """One step of a ramp."""

    share: str
    state: str  # done, in force, to come


@page("/experiments/<key>/ship", "viewer")
def promotion(key: str) -> str:
    """Show where the experiment stands on its way from a verdict to what everybody gets."""
    return _page(key, {"arm": request.args.get("arm", "")}, {})


@page("/experiments/<key>/ship", "editor", ("POST",))
def ship(key: str) -> ResponseReturnValue:
    """Ship an arm at once, or let it grow step by step."""
    typed, errors = request.form.to_dict(), dict[str, str]()
    document: JsonObject = {
        "arm": typed.get("arm", ""),
        "reason": typed.get("reason", "").strip(),
        "holdout": _number("holdout", typed, errors, 100),
    }
    how = typed.get("how", "ramp")
    if how == "ramp":
        document |= {"min_hours": _number("min_hours", typed, errors), "automatic": typed.get("by") != "hand"}
    if not document["reason"]:
        errors["reason"] = "Give a reason. It is kept in the experiment's history."
    try:
        if errors:
            return _page(key, typed, errors), 422
        if process().settings.approvals:
            return _ask(key, how, document)
        if how == "ramp":
            ramping.begin(process().engine, key, read(RampRequest, document), user().name)
        else:
            shipping.ship(process().engine, key, read(ShipRequest, document), user().name)
    except LoopwiseError as error:
        return _refused(key, typed, error)
    return _done(key, f"{document['arm']} {'is on its way' if how == 'ramp' else 'decides for everybody now'}.")


def _ask(key: str, how: str, document: JsonObject) -> ResponseReturnValue:
    """Ask a second person to ship; what cannot work is refused before anybody is asked."""
    before = get(process().engine, key)
    if how == "ramp":
        ramping.possible(before, read(RampRequest, document))
        return ask(key, "ramp", document)
    shipping.find_arm(shipping.steerable(before), read(ShipRequest, document).arm)
    return ask(key, "ship", document)


@page("/experiments/<key>/approve", "editor", ("POST",))
def approve(key: str) -> ResponseReturnValue:
    """Approve what somebody asked for, or decline it."""
    do, number = request.form.get("do", ""), whole_number(request.form.get("request", ""))
    if do not in ("approve", "decline") or number is None:
        raise invalid((FieldError("/do", "not_a_choice", {"expected": ["approve", "decline"]}),))
    if do == "decline":
        approvals.decline(process().engine, number, user().name)
        flash("The request is closed. Nothing has changed.")
    else:
        approving.approve(process().engine, process().settings, number, user().name)
        process().refresh()
        flash("You have approved it, and it is done.")
    return redirect(url_for("admin.overview", key=key))


@page("/experiments/<key>/ship/turn", "editor", ("POST",))
def turn_promotion(key: str) -> ResponseReturnValue:
    """Take the next step of a ramp, or go back to the shares of before."""
    do, reason = request.form.get("do", ""), request.form.get("reason", "").strip()
    if do not in ("advance", "back"):
        raise invalid((FieldError("/do", "not_a_choice", {"expected": ["advance", "back"]}),))
    change = ramping.advance if do == "advance" else shipping.roll_back
    try:
        if do == "advance" and process().settings.approvals:
            if ramping.gate(process().engine, key) is None:
                raise shipping.nothing_promoted()
            return ask(key, "advance", {"reason": reason or "a person asked for it"})
        change(process().engine, key, reason or "a person asked for it", user().name)
    except LoopwiseError as error:
        return _refused(key, {}, error)
    return _done(key, "The next step is in force." if do == "advance" else "The arms have their previous shares again.")


@page("/experiments/<key>/conclude", "editor", ("POST",))
def conclude(key: str) -> ResponseReturnValue:
    """End it, with the decision in words and with what callers get from then on."""
    typed, errors = request.form.to_dict(), dict[str, str]()
    text, callers = typed.get("conclusion", "").strip(), typed.get("callers", "")
    if not 0 < len(text) <= 10_000:
        errors["conclusion"] = "Write what you decided and why. It is kept with the experiment."
    if callers not in ("control", "error", "later"):
        errors["callers"] = "Choose what your app receives from now on."
    until = time_of(typed.get("error_from", ""), "error_from", errors) if callers == "later" else None
    if callers == "later" and until is None:
        errors.setdefault("error_from", "Write the time from which calls are refused, such as 2026-12-31.")
    if errors:
        return _page(key, typed, errors), 422
    ending = Ending(conclusion=text, callers="control" if callers == "control" else "error", error_from=until)
    try:
        if ending.control_decides and process().settings.approvals:
            shipping.steerable(get(process().engine, key))
            return ask(key, "conclude", ending.model_dump(mode="json"))
        shipping.conclude(process().engine, key, ending, user().name)
    except LoopwiseError as error:
        return _refused(key, typed, error)
    return _done(
        key, "The experiment is concluded." if callers == "error" else "The control decides for everybody now."
    )


@page("/experiments/<key>/ship/challenger-back", "editor", ("POST",))
def turn_challenger(key: str) -> ResponseReturnValue:
    """Take a challenger one step back."""
    name = request.form.get("name", "")
    try:
        challengers.back(process().engine, key, name, user().name, "a person asked for it")
    except LoopwiseError as error:
        return _refused(key, {}, error)
    return _done(key, f"{name} is one step back.")


@page("/experiments/<key>/schedule", "editor", ("POST",))
def schedule_experiment(key: str) -> ResponseReturnValue:
    """Set when it starts and ends by itself, on the person's clock."""
    typed, errors = request.form.to_dict(), dict[str, str]()
    times = {name: time_of(typed.get(name, ""), name, errors) for name in ("starts_at", "ends_at")}
    if errors:
        return _page(key, typed, errors), 422
    try:
        document = {name: None if time is None else iso(time) for name, time in times.items()}
        asked = read(ScheduleRequest, document | {"callers": typed.get("ends_with", "control")})
        if process().settings.approvals and asked.starts_at is not None:
            return ask(key, "schedule", asked.model_dump(mode="json"))
        schedule.plan(process().engine, key, asked, user().name)
    except LoopwiseError as error:
        return _refused(key, typed, error)
    return _done(key, "The schedule is saved." if any(times.values()) else "The schedule is cleared.")


def _done(key: str, words: str) -> ResponseReturnValue:
    process().refresh()
    flash(words)
    return redirect(url_for("admin.promotion", key=key))


def _refused(key: str, typed: dict[str, str], error: LoopwiseError) -> ResponseReturnValue:
    if error.status not in (409, 422):
        raise error
    return _page(key, typed, mistakes(error) or {"form": error.detail}), error.status


def _number(name: str, typed: dict[str, str], errors: dict[str, str], parts: float = 1) -> float:
    """A number as typed; one of percent is divided."""
    try:
        return float(typed.get(name, "").strip().removesuffix("%") or 0) / parts
    except ValueError:
        errors[name] = "Write a number, such as 5."
        return 0.0


def _page(key: str, typed: dict[str, str], errors: dict[str, str]) -> str:
    stored = get(process().engine, key)
    config = ExperimentConfig.model_validate(stored.config)
    newest = findings.get(process().engine, key).results
    gate = ramping.gate(process().engine, key)
    suggested = newest.decision.arm if newest and newest.decision and newest.decision.verdict == "ship" else None
    others = [arm.key for arm in config.arms if arm.key != config.control.key]
    return experiment_page(
        "promotion.html",
        key,
        "promotion",
        experiment=stored,
        verdict=sentences.verdict(newest, concluded=stored.status == "concluded") if newest else None,
        arms=[(arm.key, arm.key) for arm in config.arms],
        suggested=typed.get("arm") or suggested or next(iter(others), config.control.key),
        gate=gate,
        told=TOLD[gate.says] if gate else None,
        steps=_steps(config, gate),
        typed=typed,
        scheduled=_scheduled(stored),
        errors=errors,
        lives=challenger_table.shown(challengers.get(process().engine, key)),
    )


def _scheduled(stored: StoredExperiment) -> dict[str, str]:
    """The times of the schedule as its form has them, on the person's clock."""
    times = {"starts_at": stored.starts_at, "ends_at": stored.ends_at}
    shown = {name: time.astimezone(zone()).strftime("%Y-%m-%dT%H:%M") for name, time in times.items() if time}
    return shown | {"ends_with": stored.ends_with or "control"}


def _steps(config: ExperimentConfig, gate: Gate | None) -> list[ShownStep]:
    if gate is None or config.ramp is None:
        return []
    states = ["done"] * config.ramp.step + ["in force"] + ["to come"] * len(config.ramp.steps)
    return [ShownStep(percent(share, 0), state) for share, state in zip(config.ramp.steps, states, strict=False)]
