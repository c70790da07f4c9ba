"""What people said: the schema in force, counts and answer rates, agreement with the implicit reward, and who answers."""

from typing import Any

from app.accounts.pages.access import page
from app.design import experiments
from app.design.pages.experiment import experiment_page
from app.foundation.serving import process
from app.reporting import feedback_report
from app.reporting.pages import feedback_figures as figures


@page("/experiments/<key>/feedback", "viewer")
def feedback(key: str) -> str:
    """Feedback as the worker computed it last, and the newest comments."""
    engine = process().engine
    experiment = experiments.get(engine, key)
    found = feedback_report.stored(engine, key)
    return experiment_page(
        "feedback.html",
        key,
        "feedback",
        experiment=experiment,
        found=found,
        worth=figures.worth(found["in_force"]["worth"] or {}),
        comments=feedback_report.comments(engine, key),
        scanned=feedback_report.SCANNED,
        **(_shown(found) if found["groups"] else {}),
    )


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    groups = found["groups"]
    arms = [one["name"] for one in groups if one["group"] == "arm"]
    return {
        "kinds": figures.kinds(found["kinds"], arms),
        "rates": figures.rates(groups),
        "agreement": figures.agreement(groups),
        "agreed": figures.agreed(groups[0]["agreement"]),
        "bias": figures.bias(groups),
        "biased": figures.biased(groups[0]["bias"]),
        "overall": groups[0],
    }
