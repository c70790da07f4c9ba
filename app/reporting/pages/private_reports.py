"""Gives reports with differential privacy for a wider audience, out of one budget per experiment."""

import math

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page, user
from app.design.pages.experiment import experiment_page
from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.fields import invalid
from app.foundation.pages.format import number
from app.foundation.pages.forms import mistakes
from app.foundation.serving import process
from app.reporting import privacy as service
from app.reporting.documents.private import PrivateArm


@page("/experiments/<key>/private-reports", "viewer")
def private_reports(key: str) -> str:
    """Show the reports so far and the budget that is left."""
    return _shown(key)


@page("/experiments/<key>/private-reports", "editor", ("POST",))
def give_private_report(key: str) -> ResponseReturnValue:
    """Make a report and spend its epsilon."""
    at = process()
    try:
        service.give(at.engine, at.settings, key, _epsilon(request.form.get("epsilon", "")), user().name)
    except LoopwiseError as error:
        if error.status not in (409, 422):
            raise
        return _shown(key, mistakes(error) or {"epsilon": error.detail}), error.status
    return redirect(url_for("admin.private_reports", key=key, _anchor="given"))


def _epsilon(text: str) -> float:
    try:
        epsilon = float(text.strip())
    except ValueError:
        epsilon = math.nan
    if not service.LEAST_EPSILON <= epsilon <= service.MOST_EPSILON:
        params = {"low": service.LEAST_EPSILON, "high": service.MOST_EPSILON}
        raise invalid((FieldError("/epsilon", "epsilon_out_of_range", params),))
    return epsilon


def _shown(key: str, errors: dict[str, str] | None = None) -> str:
    at = process()
    given = service.given(at.engine, at.settings, key)
    return experiment_page(
        "private_reports.html",
        key,
        "results",
        given=given,
        rows=[[_row(arm) for arm in report.arms] for report in given.reports],
        installed=service.installed(),
        small=service.SMALL,
        typed=request.form,
        errors=errors or {},
    )


def _row(arm: PrivateArm) -> list[str]:
    if arm.suppressed:
        return [arm.arm, "too few units to tell", "", ""]
    return [arm.arm, number(arm.units), number(arm.mean_reward), f"± {number(arm.noise_of_mean)}"]
