"""Shows feedback: the schema in force, counts and answer rates, agreement with the implicit reward, and response bias."""

from typing import NamedTuple

from app.accounts.pages.access import page
from app.design import experiments
from app.design.feedback_config import FeedbackSpec
from app.design.pages.experiment import experiment_page
from app.foundation.pages.charts import Figure
from app.foundation.serving import process
from app.reporting import feedback_report
from app.reporting.documents.feedback import FeedbackGroup, FeedbackReport
from app.reporting.pages import feedback_figures as figures


@page("/experiments/<key>/feedback", "viewer")
def feedback(key: str) -> str:
    """Show the newest feedback report and the newest comments."""
    engine = process().engine
    experiment = experiments.get(engine, key)
    report = feedback_report.stored(engine, key)
    schema = FeedbackSpec.model_validate(report.in_force.worth or {})
    return experiment_page(
        "feedback.html",
        key,
        "feedback",
        experiment=experiment,
        report=report,
        schema=report.in_force,
        confidence=schema.confidence,
        worth=figures.worth(schema),
        comments=feedback_report.comments(engine, key),
        scanned=feedback_report.SCANNED,
        shown=_shown(report) if report.groups else None,
    )


class Shown(NamedTuple):
    """The report in words, drawings and tables."""

    overall: FeedbackGroup
    kinds: figures.Table
    rates: Figure
    agreement: Figure
    agreed: str
    bias: figures.Table
    biased: str


def _shown(report: FeedbackReport) -> Shown:
    groups = report.groups
    return Shown(
        overall=groups[0],
        kinds=figures.kinds(report.kinds, [group.name for group in groups if group.group == "arm"]),
        rates=figures.rates(groups),
        agreement=figures.agreement(groups),
        agreed=figures.agreed(groups[0].agreement),
        bias=figures.bias(groups),
        biased=figures.biased(groups[0].bias),
    )
