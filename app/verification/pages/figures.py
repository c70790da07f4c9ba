"""Draws what the pages of models and of decisions show: the race, the lineage, the changed choices, the draw."""

from app.deciding.store.decisions import StoredDecision
from app.design.pages.policy_words import short_candidate
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row, Version
from app.foundation.pages.format import clipped, json_text, number, signed
from app.learning.learner_report import LearnerReport
from app.verification.replay import MOST, Recomputed, Replay
from app.verification.version_history import Comparison, Line

BARS = 20  # actions in a chart; the table has more of them
TABLED = 1000  # actions of one decision
TABLED_CHANGES = 200  # actions of two versions
RACE_NOTE = (
    "Each reward is predicted by every candidate before any of them learns it. Older predictions fade: after 1,000 decisions "
    "a prediction counts half."
)
LINEAGE_NOTE = "A new line begins where learning went on from an earlier version, after a rollback or a failed check."
DRAW_NOTE = (
    "The actions' probabilities laid end to end, in the order of the list, fill the scale from 0 to 1. The draw is a number "
    "from 0 to 1 made from the decision's id; the action on which it falls is chosen."
)


def race(report: LearnerReport) -> Figure:
    """How well each candidate predicts rewards."""
    best_first = report.best_first
    bars = [Row(short_candidate(each.name), each.loss, strong=each.name == report.served) for each in best_first]
    chart = charts.bars(
        bars,
        title="Squared error of each candidate's predictions",
        unit="mean squared error, in variances of the reward; smaller is better",
    )
    rows = [
        [bar.label, number(each.loss), number(each.lead), number(each.error)]
        for bar, each in zip(bars, best_first, strict=True)
    ]
    head = ["Candidate", "Error", "Lead over the one that decides", "Standard error of the lead"]
    return Figure("race", "The race: who predicts rewards best", chart, head, rows, RACE_NOTE)


def lineage(lines: list[Line]) -> Figure:
    """Which version was trained from which."""
    versions = [Version(line.version.number, line.parent, line.serves, not line.passed) for line in lines]
    chart = charts.lineage(versions, title="Which version was trained from which")
    rows = [
        [str(line.version.number), "none" if line.parent is None else str(line.parent), _state(line)] for line in lines
    ]
    head = ["Version", "Trained from", "State"]
    return Figure("lineage", "Lineage: which version was trained from which", chart, head, rows, LINEAGE_NOTE)


def _state(line: Line) -> str:
    if line.serves:
        return "serves"
    if line.version.forgotten:
        return "forgotten"
    return "can serve" if line.passed else "failed its checks"


def changed_choices(comparison: Comparison) -> Figure:
    """How the choice of each action changes between two versions."""
    first, second = comparison.first.version.number, comparison.second.version.number
    means = comparison.actions
    chart = charts.bars(
        [Row(mean.action, mean.second - mean.first, strong=mean.second > mean.first) for mean in means[:BARS]],
        title="Change of each action's mean probability from the first to the second version",
        unit="change of the mean probability",
        write=signed,
    )
    rows = [
        [
            clipped(mean.action),
            number(mean.first),
            number(mean.second),
            signed(mean.second - mean.first),
            number(mean.contexts),
        ]
        for mean in means[:TABLED_CHANGES]
    ]
    head = [
        "Action",
        f"Mean probability, version {first}",
        f"Version {second}",
        "Change",
        "Contexts in which it was eligible",
    ]
    some = f"The {BARS} largest changes." if len(means) > BARS else ""
    note = some or "Mean over the contexts in which the action was eligible."
    caption = f"How the choice of each action changes from version {first} to version {second}"
    return Figure("choices", caption, chart, head, rows, note)


def distribution(row: StoredDecision) -> Figure:
    """The probabilities from which a decision was drawn, the most likely action first."""
    known = known_chances(row)
    order = sorted(range(len(row.eligible)), key=lambda index: -known.get(index, 0.0))
    drawn = order[:BARS] if row.chosen in order[:BARS] else [*order[: BARS - 1], row.chosen]
    chart = charts.bars(
        [Row(row.eligible[index], known[index], strong=index == row.chosen) for index in drawn if index in known],
        title="Probability of each action",
        unit="probability",
        high=1.0,
    )
    rows = [
        [clipped(row.eligible[index]), number(known.get(index), 4), "yes" if index == row.chosen else "no"]
        for index in order[:TABLED]
    ]
    note = f"The chart shows the {BARS} most likely actions." if len(order) > BARS else ""
    caption = "The distribution that it was drawn from"
    return Figure("distribution", caption, chart, ["Action", "Probability", "Chosen"], rows, note)


def known_chances(row: StoredDecision) -> dict[int, float]:
    """The probabilities by index; an imported log may not hold them all."""
    return {index: chance for index, chance in enumerate(row.distribution) if chance is not None}


def draw(replayed: Replay) -> Figure:
    """Where the drawn number fell."""
    row = replayed.row
    known = known_chances(row)
    chances = [known.get(index, 0.0) for index in range(len(row.eligible))]
    chart = charts.cumulative(chances, row.chosen, row.draw, title="The draw on the cumulative scale")
    rows = [
        ["draw", number(row.draw, 6)],
        ["the chosen action lies from", number(replayed.below, 6)],
        ["to", number(replayed.above, 6)],
    ]
    return Figure("draw", "The draw", chart, ["Figure", "Value"], rows, DRAW_NOTE)


def contributions(recomputed: Recomputed, propensity: float) -> Figure:
    """What each field did to the probability of the chosen action."""
    chart = charts.bars(
        [Row(f"{each.name} ({each.side})", each.change, strong=each.change > 0) for each in recomputed.contributions],
        title="Change of the chosen action's probability by each field",
        unit="change of the probability",
        write=signed,
    )
    rows = [
        [
            clipped(each.name),
            "context" if each.side == "context" else "the action",
            clipped(json_text(each.value)),
            number(propensity),
            number(each.without),
            signed(each.change),
        ]
        for each in recomputed.contributions
    ]
    head = ["Field", "Belongs to", "Value", "With it", "Without it", "Change"]
    note = f"The first {MOST} of {recomputed.fields} fields." if recomputed.fields > MOST else ""
    caption = "What each field did to the probability of the chosen action"
    return Figure("contributions", caption, chart, head, rows, note)
