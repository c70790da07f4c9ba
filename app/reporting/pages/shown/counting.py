"""Says which decisions, units and events a metric leaves out."""

from app.foundation.pages.format import duration, plural
from app.reporting.documents.results import MetricResults


def who_counts(metric: MetricResults) -> list[str]:
    """Which decisions and units a metric leaves out, and whose voice counts how often."""
    notes = []
    of_events = metric.source["type"] == "event"
    if metric.preliminary:
        notes.append(
            f"Preliminary: no {'unit' if of_events else 'decision'}'s window is over yet. The values are those so far, and "
            "nothing is compared."
        )
    elif metric.open_decisions:
        notes.append(
            f"{plural(metric.open_decisions, 'settled decision')} wait for the end of this metric's window and do not count "
            "yet."
        )
    notes += _events(metric) if of_events else []
    if metric.source["type"] == "reward" and metric.source.get("per") == "unit":
        notes.append("Each unit has one voice: the mean of the units' own means, however often a unit came.")
    left_out = max((line.left_out for line in metric.comparisons), default=0)
    if left_out:
        notes.append(
            f"{plural(left_out, 'unit')} are left out of a comparison: they came while the arm or the control got no units."
        )
    return notes


def _events(metric: MetricResults) -> list[str]:
    """Which units and events a metric of events leaves out."""
    notes = [
        f"A unit counts by its {metric.source['event']} events within {duration(metric.window_s or 0.0)} of its first "
        "exposure, once that time is over."
    ]
    if metric.open_units and not metric.preliminary:
        notes.append(f"{plural(metric.open_units, 'unit')} are still being followed and do not count yet.")
    if metric.late_events:
        notes.append(
            f"{plural(metric.late_events, 'event')} were reported after their unit was counted, and do not count."
        )
    if metric.unreadable_events:
        notes.append(
            f"{plural(metric.unreadable_events, 'event')} have no number in {metric.source.get('field')}, and add nothing."
        )
    return notes
