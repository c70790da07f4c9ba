"""Words and figures of the table of challengers."""

from typing import Final, NamedTuple

from app.foundation.pages.format import interval, number, percent
from app.promotion.challengers import Challenger, Challengers, LifeStep

STATES: Final = {
    "candidate": ("candidate", "plain"),
    "waiting": ("the worker learns its model", "info"),
    "failed": ("not staged", "bad"),
    "shadow": ("in shadow", "info"),
    "served": ("decides", "ok"),
    "production": ("in production", "ok"),
}
STEPS: Final = {
    "candidate": "Valued on the log",
    "shadow": "In shadow",
    "served": "With a share of",
    "production": "In production",
}
BACK: Final = {
    "candidate": "Back to a candidate",
    "shadow": "Back to shadow",
    "before": "Roll back to the previous shares",
    "removed": "Remove the candidate",
}


class ShownStep(NamedTuple):
    """One line of the table."""

    step: str
    since: str
    until: str | None
    decisions: int
    value: str
    interval: str
    compared: str
    difference: str
    agreement: str


class ShownLife(NamedTuple):
    """One challenger."""

    name: str
    state: tuple[str, str]  # words, colour
    problem: str | None
    back: str  # words of the button; empty: none
    steps: list[ShownStep]


def shown(table: Challengers) -> list[ShownLife]:
    """The challengers in words."""
    return [_life(challenger) for challenger in table.challengers]


def _life(challenger: Challenger) -> ShownLife:
    back = BACK[challenger.back] if challenger.back else ""
    steps = [_step(step) for step in challenger.steps]
    return ShownLife(challenger.name, STATES[challenger.state], challenger.problem, back, steps)


def _step(step: LifeStep) -> ShownStep:
    share = f" {percent(step.share, 0)}" if step.step == "served" and step.share is not None else ""
    same = "" if step.same is None else f"; likes it best at {percent(step.same, 0)}"
    return ShownStep(
        step=STEPS[step.step] + share,
        since=step.since,
        until=step.until,
        decisions=step.decisions,
        value="" if step.value is None else number(step.value),
        interval=interval(step.interval) if step.interval else "",
        compared="" if step.compared is None else number(step.compared),
        difference=interval(step.difference) if step.difference else "",
        agreement="" if step.agreement is None else f"gives {percent(step.agreement, 0)} to what was shown{same}",
    )
