"""Answers at once, from the log, what another cap on messages would be worth."""

from typing import NamedTuple

from flask import request
from flask.typing import ResponseReturnValue

from app.accounts.pages.access import page
from app.design import experiments
from app.design.experiment_config import ExperimentConfig
from app.design.pages.channel_words import CHANNELS
from app.design.pages.definition_fields import CAP
from app.design.pages.experiment import experiment_page
from app.design.people_config import CapSpec
from app.foundation.errors import LoopwiseError
from app.foundation.fields import read
from app.foundation.formats.intervals import IntervalDocument
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.fields.trees import Part, texts_of, told
from app.foundation.pages.format import interval, number, percent, plural, signed
from app.foundation.pages.typed import UNITS
from app.foundation.serving import process
from app.off_policy.caps import cap_evaluation
from app.off_policy.caps.cap_evaluation import CapQuestion
from app.off_policy.documents import CapAnswer

DAY_S = 86_400
MOST = 10_000  # newest decisions that the page reads, in well under a second; the API reads more
FORM = Part({"cap": CAP})


@page("/experiments/<key>/off-policy/cap", "viewer")
def cap_question(key: str) -> ResponseReturnValue:
    """Show the question, and the answer when a limit is given."""
    experiment = experiments.get(process().engine, key)
    config = ExperimentConfig.model_validate(experiment.config)
    typed, findings = FORM.of_form(request.args, ""), Findings()
    answer = None
    if "/cap/limit" in request.args:
        try:
            answer = _rounded(cap_evaluation.evaluate(process().engine, key, _question(typed, findings)))
        except LoopwiseError as error:
            if error.status != 422:
                raise
            for field in error.fields:
                whole = field.path == "/cap"
                findings.beside(field._replace(path="/cap/limit") if whole else field, dict(texts_of(typed)))
    else:
        typed = {"cap": asked_first(config)}
    errors = told(FORM, findings)
    shown = experiment_page(
        "cap_question.html",
        key,
        "off_policy",
        experiment=experiment,
        typed=typed["cap"],
        errors=errors,
        shown=_shown(answer) if answer else None,
        most=MOST,
        caps=choices(),
    )
    return shown, 422 if errors else 200


def choices() -> dict[str, list[tuple[str, str]]]:
    """The choices that the form offers."""
    return {
        "units": [(name, name) for name in UNITS if name in ("hours", "days", "minutes")],
        "channels": [("", "of every channel"), *((name, f"{words} only") for name, words in CHANNELS.items())],
        "reach": [("platform", "of all experiments"), ("experiment", "of this experiment only")],
    }


def asked_first(config: ExperimentConfig) -> Typed:
    """The cap to ask about first: one message less than the first cap; without a cap, two a week."""
    cap = config.fatigue.caps[0] if config.fatigue and config.fatigue.caps else CapSpec(limit=3, window_s=7 * DAY_S)
    typed = CAP.of_document(cap.model_dump() | {"limit": max(1, cap.limit - 1)})
    if typed["window_s:unit"] == "seconds":  # which the form does not offer
        typed |= {"window_s": f"{cap.window_s / 60:.6g}", "window_s:unit": "minutes"}
    return typed


def _question(typed: Typed, findings: Findings) -> CapQuestion:
    """Parse the question.

    :raises Unprocessable: the error names every field that has the wrong shape.
    """
    cap = CAP.values(typed["cap"], "/cap", findings)
    return read(CapQuestion, {"cap": cap, "max_decisions": MOST})


def _rounded(answer: CapAnswer) -> CapAnswer:
    """Round differences to 12 digits, so that two equal sums differ by exactly 0."""
    low, high = answer.difference_interval
    ends = (round(low, 12), round(high, 12))
    return answer.model_copy(update={"difference": round(answer.difference, 12), "difference_interval": ends})


class Shown(NamedTuple):
    """The answer in words and drawings."""

    kind: str  # good, bad, wait: the colour
    verdict: str  # what is shown; empty where it cannot be relied on
    more: str
    tiles: list[tuple[str, str, str]]  # figure, what it is, more
    figures: list[Figure]
    assumptions: list[str]


def _shown(answer: CapAnswer) -> Shown:
    low, high = answer.difference_interval
    if not answer.trusted:
        kind, verdict = "bad", "Do not rely on this answer."
        more = (
            "At some step too few units have a past that fits the cap: they count as much as "
            f"{number(answer.effective_units)} even ones would. Wait for a longer log, or ask for a cap that "
            "is nearer to what ran."
        )
    elif low > 0:
        kind, verdict = "good", "The tighter cap would have earned more:"
        more = f"{signed(answer.difference)} per unit."
    elif high < 0:
        kind, verdict = "wait", "The tighter cap would have earned less:"
        more = f"{signed(answer.difference)} per unit."
    else:
        kind, verdict = "wait", "No difference is shown."
        more = "The interval of the difference holds 0: the cap may help, harm, or change nothing."
    return Shown(kind, verdict, more, _tiles(answer), [_values(answer), _difference(answer)], answer.assumptions)


def _tiles(answer: CapAnswer) -> list[tuple[str, str, str]]:
    low, high = answer.difference_interval
    of = f"of {number(answer.decisions)}, of {plural(answer.units, 'unit')}"
    return [
        (number(answer.value), "per unit under the cap", "sum of a unit's rewards"),
        (signed(answer.difference), "difference to what was", f"{signed(low)} to {signed(high)}"),
        (number(answer.touched), "decisions touched", of),
        (number(answer.effective_units), "effective units", f"the largest weight is {percent(answer.largest_weight)}"),
    ]


def _values(answer: CapAnswer) -> Figure:
    low, high = answer.interval
    caption = "What a unit earns in all, with its interval"
    rows = [Row("as it was", answer.logged), Row("under the cap", answer.value, low, high, strong=True)]
    chart = charts.forest(rows, title=caption, unit="sum of a unit's rewards, mean over units")
    table = [
        ["as it was", number(answer.logged), "counted, not estimated"],
        ["under the cap", number(answer.value), interval(IntervalDocument(low=low, high=high))],
    ]
    return Figure("values", caption, chart, ["Rule", "Value per unit", "95% interval"], table)


def _difference(answer: CapAnswer) -> Figure:
    low, high = answer.difference_interval
    caption = "What the cap changes"
    rows = [Row("under the cap − as it was", answer.difference, low, high, strong=True)]
    unit = "difference of the value per unit"
    chart = charts.forest(rows, title=caption, unit=unit, line_at=0, write=signed)
    table = [
        [
            "under the cap − as it was",
            signed(answer.difference),
            interval(IntervalDocument(low=low, high=high), "signed"),
        ]
    ]
    note = "Paired: each unit is compared with itself. An interval that holds 0: no difference is shown."
    return Figure("difference", caption, chart, ["Difference", "Per unit", "95% interval"], table, note)
