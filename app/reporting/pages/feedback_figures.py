"""Charts, tables and sentences of feedback, from what ``app.reporting.feedback_report`` found."""

from typing import Any

from app.foundation.pages import charts
from app.foundation.pages.charts import Figure, Row
from app.foundation.pages.format import interval, number, percent, plural, signed

KINDS = {
    "thumbs": "Thumbs",
    "stars": "Stars",
    "score": "Score",
    "reason": "Reason",
    "comment": "Comment",
    "dismissed": "Dismissed",
    "not_interested": "Not interested",
}
MOST_ROWS = 24  # of a chart; its table has all


def worth(schema: dict[str, Any]) -> list[list[str]]:
    """What each answer is worth, a line each: kind, answer, worth."""
    lines = [["Thumbs", name, value] for name, value in (schema.get("thumbs") or {}).items()]
    lines += [["Stars", str(place), value] for place, value in enumerate(schema.get("stars") or [], 1)]
    score = schema.get("score")
    lines += [["Score", "0", score["low"]], ["Score", "10", score["high"]]] if score else []
    lines += [["Reason", name, value] for name, value in (schema.get("reasons") or {}).items()]
    for name in ("dismissed", "not_interested"):
        lines += [[KINDS[name], "", schema[name]]] if schema.get(name) is not None else []
    return [[kind, answer, number(value)] for kind, answer, value in lines]


def kinds(found: list[dict[str, Any]], arms: list[str]) -> tuple[list[str], list[list[str]]]:
    """Answers by kind and arm."""
    arms = arms + sorted({arm for one in found for arm in one["arms"]} - set(arms))
    rows = [
        [KINDS.get(one["kind"], one["kind"]), number(one["answers"]), number(one["late"])]
        + [number(one["arms"].get(arm, 0)) for arm in arms]
        for one in found
    ]
    return ["Kind", "Answers", "Late", *arms], rows


def rates(groups: list[dict[str, Any]]) -> Figure:
    """Share of decisions that were answered."""
    caption = "How many decisions are answered"
    drawn = [_row(one, one["rate"]["rate"], one["rate"]["interval"]) for one in groups[:MOST_ROWS]]
    chart = charts.forest(drawn, title=caption, unit="share of decisions answered", write=percent, low=0.0)
    rows = [
        [
            named(one),
            number(one["rate"]["decisions"]),
            number(one["rate"]["units"]),
            number(one["rate"]["answered"]),
            percent(one["rate"]["rate"]),
            interval(one["rate"]["interval"], "percent"),
        ]
        for one in groups
    ]
    head = ["Of", "Decisions", "Units", "Answered", "Rate", "95% interval"]
    return Figure("rates", caption, chart, head, rows, _cut("95% intervals for one look, by unit.", groups))


def agreement(groups: list[dict[str, Any]]) -> Figure:
    """Rank correlation of what people say and what they do."""
    caption = "How answers and rewards agree"
    drawn = [_row(one, one["agreement"]["correlation"], one["agreement"]["interval"]) for one in groups[:MOST_ROWS]]
    chart = charts.forest(
        drawn, title=caption, unit="rank correlation, -1 to 1", write=signed, line_at=0.0, low=-1.0, high=1.0
    )
    rows = [
        [
            named(one),
            number(one["agreement"]["decisions"]),
            number(one["agreement"]["units"]),
            signed(one["agreement"]["correlation"]),
            interval(one["agreement"]["interval"], "signed"),
        ]
        for one in groups
    ]
    head = ["Of", "Decisions with both", "Units", "Rank correlation", "95% interval"]
    note = "1: whoever says more also does more. 0: one tells nothing of the other."
    return Figure("agreement", caption, chart, head, rows, _cut(note, groups))


def bias(groups: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Implicit rewards of those who answer, and of those who do not."""
    rows = [
        [
            named(one),
            number(one["bias"]["mean_answered"]),
            number(one["bias"]["mean_silent"]),
            signed(one["bias"]["difference"]),
            interval(one["bias"]["interval"], "signed"),
        ]
        for one in groups
    ]
    return ["Of", "Reward where answered", "Reward where not", "Difference", "95% interval"], rows


def agreed(found: dict[str, Any]) -> str:
    """Agreement over all in a sentence."""
    if found["correlation"] is None:
        return f"Agreement cannot be told yet: {found['interval']['reason']}."
    text = f"On {plural(found['decisions'], 'decision')} of {plural(found['units'], 'unit')} that have both, "
    given = found["interval"]
    measured = f"the rank correlation of answers and rewards is {signed(found['correlation'])}"
    if given["low"] is None:
        return f"{text}{measured}; {given['reason']}."
    told = f"{measured} ({interval(given, 'signed')})"
    if given["low"] > 0:
        return f"{text}{told}: what people say and what they do go the same way."
    if given["high"] < 0:
        return f"{text}{told}: what people say and what they do go opposite ways. See what the reward really measures."
    return f"{text}{told}: no agreement was shown, and none was ruled out."


def biased(found: dict[str, Any]) -> str:
    """Response bias over all in a sentence."""
    if found["difference"] is None:
        return f"Who answers cannot be compared with who does not: {found['interval']['reason']}."
    means = f"{number(found['mean_answered'])} where somebody answered, {number(found['mean_silent'])} where nobody did"
    text = f"The implicit reward is {means}: a difference of {signed(found['difference'])}"
    given = found["interval"]
    if given["low"] is None:
        return f"{text}; {given['reason']}."
    told = f"{text} ({interval(given, 'signed')})"
    if given["low"] > 0:
        return f"{told}. Those who answer do better than the rest: a mean over answers flatters."
    if given["high"] < 0:
        return f"{told}. Those who answer do worse than the rest: a mean over answers is too dark."
    return f"{told}. No difference was shown between those who answer and the rest."


def named(group: dict[str, Any]) -> str:
    """A group in words."""
    if group["group"] == "segment":
        return f"{group['field']} = {group['name'] or '(none)'}"
    return "All" if group["group"] == "all" else f"arm {group['name']}"


def _row(group: dict[str, Any], value: float | None, given: dict[str, Any]) -> Row:
    return Row(named(group), value, given["low"], given["high"], strong=group["group"] == "all")


def _cut(note: str, groups: list[dict[str, Any]]) -> str:
    more = f" The chart has the first {MOST_ROWS} lines, the table all {len(groups)}."
    return note + (more if len(groups) > MOST_ROWS else "")
