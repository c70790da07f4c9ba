"""Every page, registered; and what all templates share."""

from typing import Any

from flask import Flask, g, request

from app.admin import (
    access,
    account,
    cap_question,
    charts,
    decisions,
    deliveries,
    experiment,
    exports,
    feedback,
    format,
    home,
    integration,
    keys,
    off_policy,
    overview,
    people,
    policy,
    private_reports,
    report,
    results,
    settings,
    trail,
    triggers,
    users,
    wizard,
    wizard_import,
)

PAGES = (
    account,
    home,
    experiment,
    overview,
    results,
    feedback,
    off_policy,
    cap_question,
    private_reports,
    policy,
    decisions,
    integration,
    exports,
    report,
    wizard,
    wizard_import,
    triggers,
    deliveries,
    people,
    keys,
    users,
    settings,
    trail,
)  # importing a module registers its pages


def install(app: Flask) -> None:
    """Give the templates what every page shows."""
    format.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(charts=charts, may=access.may)


@access.blueprint.context_processor
def _frame() -> dict[str, Any]:
    theme = request.cookies.get("loopwise_theme", "")
    return {"theme": theme if theme in ("light", "dark") else "auto", "somebody": g.get("user")}
