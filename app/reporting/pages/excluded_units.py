"""Shows the units that an experiment's reports leave out, and lets an editor leave out more or take some back."""

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import LoopwiseError
from app.foundation.fields import JsonObject, pydantic_fields
from app.foundation.pages.format import when
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.reporting import exclusions
from app.reporting.exclusions import UnitsToExclude, UnitsToInclude
from app.reporting.store.excluded_units import BY_RULE


@page("/experiments/<key>/excluded-units", "viewer")
def excluded_units(key: str) -> str:
    """Show the units that are left out."""
    return _shown(key)


@page("/experiments/<key>/excluded-units", "editor", ("POST",))
def exclude_units(key: str) -> ResponseReturnValue:
    """Leave out the units that were typed, one on each line."""
    units = [line.strip() for line in request.form.get("unit_ids", "").splitlines() if line.strip()]
    typed = {"unit_ids": list(dict.fromkeys(units)), "reason": request.form.get("reason", "").strip()}
    try:
        asked = UnitsToExclude.model_validate(typed)
        exclusions.exclude(process().engine, key, asked.unit_ids, asked.reason, user().name)
    except ValidationError as error:
        return _refused(key, error, typed)
    except LoopwiseError as error:
        if error.status not in (409, 422):
            raise
        return _shown(key, mistakes(error)), error.status
    return redirect(url_for("admin.excluded_units", key=key, _anchor="list"))


@page("/experiments/<key>/included-units", "editor", ("POST",))
def include_unit(key: str) -> ResponseReturnValue:
    """Take one unit back."""
    typed = {"unit_ids": [request.form.get("unit_id", "")]}
    try:
        asked = UnitsToInclude.model_validate(typed)
    except ValidationError as error:
        return _refused(key, error, typed)
    exclusions.include(process().engine, key, asked.unit_ids, user().name)
    return redirect(url_for("admin.excluded_units", key=key, _anchor="list"))


def _refused(key: str, error: ValidationError, typed: JsonObject) -> ResponseReturnValue:
    return _shown(key, {field.path.split("/")[1]: field.on_page() for field in pydantic_fields(error, typed)}), 422


def _shown(key: str, errors: dict[str, str] | None = None) -> str:
    listed = exclusions.listed(process().engine, key)
    return experiment_page(
        "excluded_units.html",
        key,
        "results",
        listed=listed,
        times=[when(unit.excluded_at) for unit in listed.units],
        by_rule=BY_RULE,
        most_listed=exclusions.MOST_LISTED,
        typed=request.form,
        errors=errors or {},
    )
