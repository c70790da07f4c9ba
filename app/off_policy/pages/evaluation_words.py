"""Sentences of an evaluation that depend on what the experiment is now; nothing that may go stale is stored with it."""

from app.foundation.pages.format import number, plural
from app.foundation.words import as_sentence
from app.off_policy.documents import EvaluationResult
from app.off_policy.logged_values import Report

OLD = (
    "This evaluation was computed before models were kept from being scored on decisions that they had learned from. What it "
    "says of running and of model versions is too good to be true: evaluate again."
)


def finding(report: Report, result: EvaluationResult) -> list[str]:
    """What the search found, and what may be done about it now."""
    if not result.out_of_sample:
        return [OLD]
    sentences = [as_sentence(result.search.text)]
    winner = result.search.winner
    if winner is None:
        return sentences
    return [*sentences, _next_step(report, winner)]


def _next_step(report: Report, winner: str) -> str:
    if winner in report.arms:
        return f"{winner} is an arm already: its results show what it earns."
    if report.status == "concluded":
        return "The experiment is concluded, so nothing can be staged; a new experiment may put it to the test."
    if not any(spec.key == winner for spec in report.candidates):
        return "The candidate has been removed since."
    if report.stagings[winner].status == "waiting":
        return "It is staged, and becomes an arm when the worker has learned the model that was valued."
    return "Stage it as a new arm to be sure: the arm begins with the model that was valued."


def window(result: EvaluationResult) -> str:
    """What was evaluated, in one sentence."""
    part = result.window
    scored = plural(part.evaluated_on, "decision")
    if part.lists is not None:
        scored = f"{plural(part.lists, 'list')} with {scored}"
    per = "a decision" if part.lists is None else "a list"
    return (
        f"Evaluated on {scored} of {plural(part.units, 'unit')}, after {plural(part.trained_on, 'decision')} of the earlier "
        f"part. What ran, across all arms, earned {number(result.logged_value)} {per}."
    )


def estimand(result: EvaluationResult) -> str:
    """What a value is, in words."""
    return as_sentence(f"a value is {result.estimand}") if result.estimand else ""
