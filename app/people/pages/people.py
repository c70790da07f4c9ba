"""The people behind the units: consent, the data about one unit, and erasures. Nothing is recorded here."""

import json
from datetime import UTC, datetime

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import TypeAdapter, ValidationError

from app.accounts.keys import person
from app.accounts.pages.access import page, user
from app.design.people_config import PURPOSES
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import Id, invalid
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import number, percent
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.people import consent, consent_counts, erasure
from app.people import people as service

SHOWN = 200  # lines of a ledger
STATUSES = {"granted": ("granted", "ok"), "denied": ("denied", "warn"), "revoked": ("revoked", "bad")}
MEANS = {
    "personalise": "their data may choose what they see",
    "learn": "models may learn from them",
    "analyse": "reports may count them",
    "message": "they may be sent messages",
}
_unit_id: TypeAdapter[str] = TypeAdapter(Id)


@page("/people", "admin")
def people() -> str:
    """Consent counts, a form to look up one unit, and the newest erasures."""
    return _people({})


@page("/people/unit", "admin")
def unit() -> ResponseReturnValue:
    """The consent of one unit. Its id is a query parameter, because an id may hold any character."""
    try:
        return _unit(_checked(request.args.get("id", "")))
    except LoopwiseError as error:
        if error.status != 422:
            raise
        return _people(mistakes(error)), 422


@page("/people/unit/file", "admin")
def unit_file() -> Response:
    """Everything that is stored about a unit, for the person."""
    document = service.export(process().engine, person(user().name), _checked(request.args.get("id", "")))
    response = Response(json.dumps(document.as_json(), ensure_ascii=False, indent=1), mimetype="application/json")
    name = f"stored-of-a-unit-{datetime.now(UTC):%Y-%m-%d}.json"
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    return response


@page("/people/erasures", "admin", ("POST",))
def erase_unit() -> ResponseReturnValue:
    """Ask for the erasure of a unit whose id was typed once more."""
    at, unit_id = process(), _checked(request.form.get("id", ""))
    if request.form.get("confirm", "") != unit_id.replace("\n", ""):  # a one-line field holds no line end
        message = "This is not the same id. Type it exactly as it stands above; nothing was erased."
        return _unit(unit_id, {"confirm": message}), 422
    erasure_answer = erasure.ask(at.engine, at.settings, person(user().name), unit_id)
    return redirect(url_for("admin.erasure_receipt", erasure_id=erasure_answer.erasure_id))


@page("/people/erasures/<erasure_id>", "admin")
def erasure_receipt(erasure_id: str) -> str:
    """The progress of an erasure; then its receipt."""
    document = erasure.look_up(process().engine, person(user().name), erasure_id)
    return render_template("erasure.html", section="people", erasure=document, receipt=document.receipt)


def _people(errors: dict[str, str]) -> str:
    engine = process().engine
    counts = consent_counts.stored(engine)
    return render_template(
        "people.html",
        section="people",
        counts=counts,
        figure=_counted(counts.units) if counts is not None and counts.units else None,
        erasures=erasure.newest(engine),
        typed=request.args,
        errors=errors,
    )


def _unit(unit_id: str, errors: dict[str, str] | None = None) -> str:
    document = consent.look_up(process().engine, unit_id)
    return render_template(
        "unit.html",
        section="people",
        unit_id=unit_id,
        held=document.consent,
        ledger=document.ledger[:SHOWN],
        lines=len(document.ledger),
        most=consent.MOST_LINES,
        means=MEANS,
        statuses=STATUSES,
        typed=request.form,
        errors=errors or {},
    )


def _counted(units: dict[str, dict[str, int]]) -> Figure:
    """How many of the units that answered for a purpose granted it."""
    bars, rows = [], []
    for purpose in PURPOSES:
        counts_by_status = {status: units.get(purpose, {}).get(status, 0) for status in STATUSES}
        share = counts_by_status["granted"] / sum(counts_by_status.values()) if any(counts_by_status.values()) else None
        bars.append(Row(purpose, share))
        counts = [number(count) for count in counts_by_status.values()]
        rows.append([f"{purpose}: {MEANS[purpose]}", *counts, percent(share)])
    caption = "Of the units that said something: how many granted it"
    drawn = [bar for bar in bars if bar.value is not None]
    chart = charts.bars(drawn, title=caption, unit="share of units", write=percent, high=1.0)
    return Figure("consent", caption, chart, ["Purpose", *STATUSES, "Granted, share"], rows)


def _checked(text: str) -> str:
    """Check that a text is an id that apps may use.

    :raises Unprocessable: it is not.
    """
    unit_id = text.replace("\r\n", "\n")  # forms send line ends like this
    refusal = invalid((FieldError("/id", "not_a_unit"),))
    if "\0" in unit_id:
        raise refusal
    try:
        return _unit_id.validate_python(unit_id)
    except ValidationError:
        raise refusal from None
