"""Every page, registered; and what all templates share."""

from pathlib import Path

from flask import Flask, g
from jinja2 import FileSystemLoader

from app.accounts.pages import access, account, keys, users
from app.accounts.pages.access import read_cookie
from app.deciding.pages import integration
from app.design.pages import change_words, experiment, saved_metrics, settings
from app.design.pages import history as trail
from app.fairness.pages import fairness
from app.foundation.fields import JsonObject
from app.foundation.pages import format
from app.foundation.running import disk
from app.foundation.serving import process
from app.guardian.pages import guardian, quarantine
from app.impact.pages import holdout, impact
from app.messaging.pages import deliveries, triggers
from app.notices.pages import notices
from app.off_policy.pages import apprentices, cap_question, off_policy, warm_starts
from app.people.pages import people
from app.promotion.pages import promotion
from app.reporting.pages import (
    excluded_units,
    exports,
    feedback,
    home,
    long_term,
    overview,
    private_reports,
    report,
    results,
    slots,
    whom,
)
from app.verification.pages import decisions, policy
from app.wizard import imports as wizard_import
from app.wizard import pages as wizard
from app.wizard import review as wizard_review

PAGES = (
    account,
    home,
    experiment,
    overview,
    results,
    slots,
    whom,
    fairness,
    holdout,
    impact,
    excluded_units,
    long_term,
    feedback,
    off_policy,
    cap_question,
    warm_starts,
    apprentices,
    private_reports,
    policy,
    guardian,
    quarantine,
    saved_metrics,
    promotion,
    decisions,
    integration,
    exports,
    report,
    wizard,
    wizard_import,
    wizard_review,
    triggers,
    deliveries,
    notices,
    people,
    keys,
    users,
    settings,
    trail,
)  # importing a module registers its pages
FEATURES = Path(__file__).parents[1]


def install(app: Flask) -> None:
    """Give the templates the values that every page shows; each feature has its own templates."""
    app.jinja_loader = FileSystemLoader(sorted(FEATURES.glob("**/templates")))
    format.install(app)
    app.jinja_env.filters["change_name"] = change_words.name_of
    app.jinja_env.filters["change_value"] = lambda value, path: change_words.value_of(path, value)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(may=access.may)


@access.blueprint.context_processor
def _frame() -> JsonObject:
    somebody = g.get("user")
    theme = (somebody.theme if somebody else None) or read_cookie("loopwise_theme")
    space = disk.look(process().settings)
    shown = space.words() if space.low else ""
    appearance = theme if theme in ("light", "dark") else "auto"
    return {"theme": appearance, "somebody": somebody, "disk": shown, "zone_name": format.zone().key}
