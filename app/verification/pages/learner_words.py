"""The race and the features of a model, in sentences."""

from app.design.pages.policy_words import candidate
from app.foundation.pages.format import number
from app.learning.learner_report import FeatureNote, LearnerReport

NOTES = {
    "heavy_tailed": "has values far from all others: it is learned on a logarithmic scale",
    "constant": "has had one value only: nothing can be learned from it",
    "identifier_like": "looks like an identifier and is left out: if it says something, send it as text",
    "timestamp_like": "looks like a time and is left out: send the hour, the weekday or an age instead",
    "crowded": "there are more features than it counts: the rarest numbers are left out",
    "often_missing": "is often missing: that it is missing is learned, too",
}


def reason(report: LearnerReport) -> str:
    """Say why the candidate that decides decides."""
    served = candidate(report.served)
    if report.pinned == report.served:
        return f"It decides by {served}, because somebody pinned it. The race goes on beside it."
    if report.pinned:
        wanted = candidate(report.pinned).capitalize()
        return f"It decides by {served}. {wanted} was pinned, but these features allow no such learner."
    if not report.scored:
        return f"It decides by {served}. Nothing was predicted yet that was learned afterwards, so nothing could be compared."
    first, *others = report.best_first
    if first.name == report.served:
        if not others:
            return f"It decides by {served}, the only candidate."
        return (
            f"It decides by {served}, which predicts rewards best: of decisions that it had not learned yet, its mean squared "
            f"error is {number(first.loss)} of the rewards' variance; the next best, {candidate(others[0].name)}, has "
            f"{number(others[0].loss)}."
        )
    return (
        f"It decides by {served}. {candidate(first.name).capitalize()} predicts a little better of late, by "
        f"{number(first.lead)} give or take {number(first.error)}: not clearly enough to change."
    )


def note(feature: FeatureNote) -> str:
    """Say what was found about a feature."""
    return f"{NOTES[feature.code]} (of the {feature.line})"


def memory(report: LearnerReport) -> str:
    """Say how much of the log the model holds for true."""
    if report.window < report.fitted:
        return (
            f"The world has changed: only the newest {report.window:,} decisions are learned from, because they predict what "
            "came last clearly better than the whole log."
        )
    return f"The last time it was learned from nothing was after {report.fitted:,} decisions."
