"""Charts, tables and sentences of feedback, from ``app.reporting.documents.feedback``."""

from app.design.feedback_config import FeedbackSpec
from app.foundation.formats.intervals import IntervalDocument
from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import interval, number, percent, plural, signed
from app.reporting.documents.feedback import AgreementDocument, FeedbackGroup, FeedbackKind, ResponseBiasDocument

KINDS = {
    "thumbs": "Thumbs",
    "stars": "Stars",
    "score": "Score",
    "reason": "Reason",
    "comment": "Comment",
    "dismissed": "Dismissed",
    "not_interested": "Not interested",
}
Table = tuple[list[str], list[list[str]]]  # head and rows
MOST_ROWS = 24  # of a chart; its table has all


def worth(schema: FeedbackSpec) -> list[list[str]]:
    """A row per possible answer: kind, answer, worth."""
    lines: list[tuple[str, str, float]] = []
    if schema.thumbs:
        lines += [("Thumbs", "up", schema.thumbs.up), ("Thumbs", "down", schema.thumbs.down)]
    lines += [("Stars", str(stars), value) for stars, value in enumerate(schema.stars or [], 1)]
    if schema.score:
        lines += [("Score", "0", schema.score.low), ("Score", "10", schema.score.high)]
    lines += [("Reason", name, value) for name, value in (schema.reasons or {}).items()]
    if schema.dismissed is not None:
        lines.append((KINDS["dismissed"], "", schema.dismissed))
    if schema.not_interested is not None:
        lines.append((KINDS["not_interested"], "", schema.not_interested))
    return [[kind, answer, number(value)] for kind, answer, value in lines]


def kinds(answers: list[FeedbackKind], arms: list[str]) -> Table:
    """Answers by kind and arm."""
    arms = arms + sorted({arm for kind in answers for arm in kind.arms} - set(arms))
    rows = [
        [KINDS.get(kind.kind, kind.kind), number(kind.answers), number(kind.late)]
        + [number(kind.arms.get(arm, 0)) for arm in arms]
        for kind in answers
    ]
    return ["Kind", "Answers", "Late", *arms], rows


def rates(groups: list[FeedbackGroup]) -> Figure:
    """Draw the share of decisions that were answered."""
    caption = "How many decisions are answered"
    drawn = [_row(group, group.rate.rate, group.rate.interval) for group in groups[:MOST_ROWS]]
    chart = charts.forest(drawn, title=caption, unit="share of decisions answered", write=percent, low=0.0)
    rows = [
        [
            named(group),
            number(group.rate.decisions),
            number(group.rate.units),
            number(group.rate.answered),
            percent(group.rate.rate),
            interval(group.rate.interval, "percent"),
        ]
        for group in groups
    ]
    head = ["Of", "Decisions", "Units", "Answered", "Rate", "95% interval"]
    return Figure("rates", caption, chart, head, rows, _cut("95% intervals for one look, by unit.", groups))


def agreement(groups: list[FeedbackGroup]) -> Figure:
    """Draw the rank correlation of answers and rewards."""
    caption = "How answers and rewards agree"
    drawn = [_row(group, group.agreement.correlation, group.agreement.interval) for group in groups[:MOST_ROWS]]
    chart = charts.forest(
        drawn, title=caption, unit="rank correlation, -1 to 1", write=signed, line_at=0.0, low=-1.0, high=1.0
    )
    rows = [
        [
            named(group),
            number(group.agreement.decisions),
            number(group.agreement.units),
            signed(group.agreement.correlation),
            interval(group.agreement.interval, "signed"),
        ]
        for group in groups
    ]
    head = ["Of", "Decisions with both", "Units", "Rank correlation", "95% interval"]
    note = "1: whoever says more also does more. 0: one tells nothing of the other."
    return Figure("agreement", caption, chart, head, rows, _cut(note, groups))


def bias(groups: list[FeedbackGroup]) -> Table:
    """Compare the implicit rewards of decisions with answers and without."""
    rows = [
        [
            named(group),
            number(group.bias.mean_answered),
            number(group.bias.mean_silent),
            signed(group.bias.difference),
            interval(group.bias.interval, "signed"),
        ]
        for group in groups
    ]
    return ["Of", "Reward where answered", "Reward where not", "Difference", "95% interval"], rows


def agreed(agreement: AgreementDocument) -> str:
    """State the agreement over all decisions in a sentence."""
    given = agreement.interval
    if agreement.correlation is None:
        return f"Agreement cannot be told yet: {given.reason}."
    text = f"On {plural(agreement.decisions, 'decision')} of {plural(agreement.units, 'unit')} that have both, "
    measured = f"the rank correlation of answers and rewards is {signed(agreement.correlation)}"
    if given.low is None or given.high is None:
        return f"{text}{measured}; {given.reason}."
    sentence = f"{measured} ({interval(given, 'signed')})"
    if given.low > 0:
        return f"{text}{sentence}: what people say and what they do go the same way."
    if given.high < 0:
        return (
            f"{text}{sentence}: what people say and what they do go opposite ways. See what the reward really measures."
        )
    return f"{text}{sentence}: no agreement was shown, and none was ruled out."


def biased(bias: ResponseBiasDocument) -> str:
    """State the response bias over all decisions in a sentence."""
    given = bias.interval
    if bias.difference is None:
        return f"Who answers cannot be compared with who does not: {given.reason}."
    means = f"{number(bias.mean_answered)} where somebody answered, {number(bias.mean_silent)} where nobody did"
    text = f"The implicit reward is {means}: a difference of {signed(bias.difference)}"
    if given.low is None or given.high is None:
        return f"{text}; {given.reason}."
    sentence = f"{text} ({interval(given, 'signed')})"
    if given.low > 0:
        return f"{sentence}. Those who answer do better than the rest: a mean over answers flatters."
    if given.high < 0:
        return f"{sentence}. Those who answer do worse than the rest: a mean over answers is too dark."
    return f"{sentence}. No difference was shown between those who answer and the rest."


def named(group: FeedbackGroup) -> str:
    """A group in words."""
    if group.group == "segment":
        return f"{group.field} = {group.name or '(none)'}"
    return "All" if group.group == "all" else f"arm {group.name}"


def _row(group: FeedbackGroup, value: float | None, given: IntervalDocument) -> Row:
    return Row(named(group), value, given.low, given.high, strong=group.group == "all")


def _cut(note: str, groups: list[FeedbackGroup]) -> str:
    more = f" The chart has the first {MOST_ROWS} lines, the table all {len(groups)}."
    return note + (more if len(groups) > MOST_ROWS else "")
