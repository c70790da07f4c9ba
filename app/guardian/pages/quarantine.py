"""The page of what is held out of rounds: for whom, why, and the buttons to release or exclude it."""

from typing import NamedTuple

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.fields import JsonObject, pydantic_fields
from app.foundation.pages.format import plural, when
from app.foundation.pages.forms import mistakes, time_of
from app.foundation.pages.typed import whole_number
from app.foundation.serving import process
from app.guardian import quarantine as service
from app.guardian.quarantine_documents import QuarantineRequest, Suspect

RULES = {"unit_share": "more than one unit may teach", "anomaly": "stands out", "person": "named by a person"}
DONE = {"hold": "held out of learning from now on", "release": "released", "exclude": "excluded"}
FIELDS = ("suspect", "rule", "unit_id", "key_id", "since", "until", "reason")


class Line(NamedTuple):
    """One suspect in words."""

    suspect: Suspect
    who: str
    since: str
    receipt: str


@page("/experiments/<key>/quarantine", "viewer")
def quarantine(key: str) -> str:
    """Show what is held out."""
    return _shown(key)


@page("/experiments/<key>/quarantine", "editor", ("POST",))
def change_quarantine(key: str) -> ResponseReturnValue:
    """Hold, release or exclude what was typed or chosen."""
    typed = {name: text for name in ("do", *FIELDS) if (text := request.form.get(name, "").strip())}
    errors: dict[str, str] = {}
    asked_of: JsonObject = dict(typed)
    if "suspect" in typed:
        asked_of["suspect"] = whole_number(typed["suspect"])
    for name in ("since", "until"):
        asked_of[name] = time_of(typed.get(name, ""), name, errors)
    if errors:
        return _shown(key, errors), 422
    try:
        asked = QuarantineRequest.model_validate(asked_of)
        service.change(process().engine, key, asked, user().name)
    except ValidationError as error:
        problems = {field.path.split("/")[1]: field.on_page() for field in pydantic_fields(error, asked_of)}
        return _shown(key, problems), 422
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _shown(key, mistakes(error)), error.status
    flash(f"That is {DONE[asked.do]}.")
    return redirect(url_for("admin.quarantine", key=key))


def _shown(key: str, errors: dict[str, str] | None = None) -> str:
    listed = service.listed(process().engine, key)
    return experiment_page(
        "quarantine.html",
        key,
        "guardian",
        listed=listed,
        total=sum(listed.held.values()),
        rules=RULES,
        lines=[_line(suspect) for suspect in listed.suspects],
        typed=request.form,
        errors=errors or {},
    )


def _line(suspect: Suspect) -> Line:
    who = [
        f"unit {suspect.unit_id}" if suspect.unit_id is not None else "",
        f"key {suspect.key_id}" if suspect.key_id is not None else "",
        f"from {when(suspect.since)}" if suspect.since else "",
        f"before {when(suspect.until)}" if suspect.until else "",
    ]
    receipt = ""
    if suspect.receipt is not None:
        receipt = "; ".join(
            f"{model.arm}: version {model.old.version} ({model.old.sha256[:12]}) became {model.new.version} "
            f"({model.new.sha256[:12]}), learned from {plural(model.learned, 'decision')}"
            for model in suspect.receipt.models
        )
        receipt = receipt or "No model had learned from it."
    elif suspect.status == "excluded":
        receipt = "The models are learned again soon."
    return Line(suspect, ", ".join(part for part in who if part), when(suspect.opened_at), receipt)
