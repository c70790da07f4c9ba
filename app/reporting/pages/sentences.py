"""Puts figures into plain words: the verdict, the rule, whether an arm learns. The services decide what is true."""

from datetime import UTC, datetime
from typing import NamedTuple

from markupsafe import Markup

from app.design.metric_config import DecisionRule
from app.foundation.formats.intervals import IntervalDocument
from app.foundation.pages.charts import Tone
from app.foundation.pages.charts.parts import tone_of
from app.foundation.pages.format import (
    duration,
    interval,
    moment,
    number,
    p_value,
    percent,
    plural,
    signed,
    signed_percent,
    when,
    zone,
)
from app.registry.store.models import Serving
from app.reporting.comparison.progress import Progress
from app.reporting.documents.activity import Learning
from app.reporting.documents.results import (
    ComparisonLine,
    Direction,
    MetricResults,
    NonInferiority,
    Results,
    RuleVerdict,
)
from app.reporting.pages.shown.counting import who_counts

METHODS = {
    "sequential": (
        "Peek-safe",
        "Intervals and p-values that stay valid however often you look. You can stop at any time.",
    ),
    "fixed": (
        "Fixed horizon",
        "Narrower intervals for a single look at a time that you chose beforehand. If you look more often and stop at a good "
        "moment, you are wrong far more often than the level says.",
    ),
    "bayes": (
        "Chance to win",
        "How likely each arm is the best, given these data alone. It does not protect you from "
        "stopping at a lucky moment.",
    ),
}
VERDICTS = {"ship": "ship {arm}", "stop": "stop", "review": "review {arm}", "keep_running": "keep running"}
ADJUSTMENTS = {"holm": "Holm", "fdr_bh": "Benjamini-Hochberg"}
ROLES = {"primary": "decides", "guardrail": "guardrail", "secondary": "to learn from"}


class Verdict(NamedTuple):
    """The results in sentences."""

    kind: str  # the colour: good, bad or wait
    sentences: list[str]


TEN_PERCENT, ALMOST_SURE = 0.1, 0.999


def verdict(results: Results, *, concluded: bool = False) -> Verdict:
    """Compare the best arm with the control, with its peek-safe interval, and give the verdict of the rule.

    :param concluded: nothing can be done any more, so the verdict is told as what the rule said.
    """
    rule_words = [rule_says(results.decision, concluded=concluded)] if results.decision else []
    kind = {"ship": "good", "stop": "bad"}.get(results.decision.verdict if results.decision else "", "wait")
    return Verdict(kind, [earned(results), *rule_words])


def earned(results: Results) -> str:
    """Compare the best arm with the control on the first primary metric."""
    metric = results.primary()[0]
    line = metric.best()
    if line is None:
        return _no_comparison(metric, results)
    values = metric.values()
    per = f" per {metric.source.get('per', 'decision')}" if metric.source["type"] == "reward" else ""
    figures = f"{number(values.get(line.arm))} against {number(values.get(line.control))}{per}"
    if line.relative_lift is not None:
        change = lift(line.relative_lift, line.always_valid.relative_interval)
    else:
        change = f"{signed(line.difference)} ({interval(line.always_valid.interval, 'signed')})"
    return f"{_compared(line, metric)} on {metric.name}: {change}. {figures[:1].upper()}{figures[1:]}."


def _compared(line: ComparisonLine, metric: MetricResults) -> str:
    """Say which arm is ahead, as far as the peek-safe interval shows it."""
    shown = tone(line.always_valid.interval, metric.direction)
    if shown == "open":
        return f"{line.arm} and {line.control} are still too close to call"
    return f"{line.arm} {'beats' if shown == 'better' else 'loses to'} {line.control}"


def tone(given: IntervalDocument, direction: Direction) -> Tone:
    """Better or worse where the interval does not touch 0; open otherwise."""
    return tone_of(given.low, given.high, higher_is_better=direction == "increase")


def lift(value: float, given: IntervalDocument) -> str:
    """A relative change with its interval, without decimals from 10% on."""
    digits = 0 if abs(value) >= TEN_PERCENT else 1
    if given.low is None or given.high is None:
        return f"{signed_percent(value, digits)} ({given.reason})"
    return (
        f"{signed_percent(value, digits)} ({signed_percent(given.low, digits)} to {signed_percent(given.high, digits)})"
    )


def _no_comparison(metric: MetricResults, results: Results) -> str:
    control = results.control
    if len(results.sample_ratio.observed) < 2:
        return f"There is one arm, {control}, so there is nothing to compare. A second arm would show what a policy is worth."
    if not metric.comparisons:
        return f"Nothing can be compared yet: {control} and another arm need settled decisions first."
    return f"Nothing can be compared yet: {metric.comparisons[0].always_valid.interval.reason}."


def rule_says(decision: RuleVerdict, *, concluded: bool = False) -> str:
    """State the verdict of the rule with its reasons."""
    words = VERDICTS[decision.verdict].format(arm=decision.arm)
    if not decision.changes:
        says = "When the experiment was concluded, the decision rule said"
        says = says if concluded else "The decision rule says"
        return f"{says}: {words}. {' '.join(decision.reasons)}"
    says = "When the experiment was concluded, the rule said" if concluded else "The rule says"
    changes = (
        f"After {plural(change.decisions, 'decision')} ({change.at[:10]}): {'; '.join(change.differences)}."
        for change in decision.changes
    )
    return (
        f"{says}: {words}. {' '.join(decision.reasons)} The rule was changed after launch. If you choose a rule after you "
        f"see results, you can get any verdict. {' '.join(changes)}"
    )


def rule(given: DecisionRule, control: str) -> list[str]:
    """State the decision rule."""
    lines = [
        f"Ship an arm when it is shown to be better than {control} on a metric that decides, and worse on none of them, "
        f"with at most {percent(given.alpha, 0)} false alarms over all looks together.",
        "Wait while a loss on one of them, or a loss beyond a guardrail, is visible at one look and not yet shown at every look.",
        "Review an arm that is shown to be better on one of them and worse on another: a person has to weigh the two.",
        "Stop when the units do not match their shares, when a guardrail is crossed, or when every arm is shown to be worse.",
        f"Say nothing before every arm has {plural(given.min_units, 'unit')}"
        + (f" and {duration(given.min_days * 86_400)} have passed." if given.min_days else "."),
    ]
    if given.max_days is not None:
        lines.append(f"Stop after {duration(given.max_days * 86_400)}, whatever it shows.")
    return lines


def progress(given: Progress) -> str:
    """Say how far the sample is, and when it is complete at the pace so far."""
    what = "planned" if given.chosen else "that the rule asks for"
    counted = f"{number(given.units)} of {plural(given.planned, 'user')} {what} ({percent(given.share, 0)})"
    if given.share >= 1:
        asked = "you planned" if given.chosen else "the rule asks for"
        text = f"The sample is complete: {plural(given.units, 'user')} settled; {asked} {number(given.planned)}."
        if given.ends_at is not None and given.ends_at > datetime.now(UTC):
            text += f" The rule gives no verdict before {_day(given.ends_at)}, when its least time has passed."
        return text
    if given.ends_at is None:
        return f"{counted} are settled."
    text = f"{counted} are settled. At the pace so far, the sample is complete on {_day(given.ends_at)}."
    if given.too_slow and given.stops_at is not None:
        text += (
            f" The rule stops the experiment earlier, on {_day(given.stops_at)}: change the rule's length, or give the "
            "experiment more users."
        )
    return text


def expected_end(given: Progress) -> str:
    """Say in a few words when a running experiment has what its rule asks for; empty: it has, or nobody knows."""
    if given.too_slow and given.stops_at is not None:
        return f"the rule stops it on {_day(given.stops_at)}, before the sample is complete"
    if given.ends_at is None or given.ends_at <= datetime.now(UTC):
        return ""
    return f"expected end {_day(given.ends_at)}"


def _day(moment: datetime) -> str:
    return moment.astimezone(zone()).strftime("%Y-%m-%d")


def learning(result: Learning) -> str:
    """Say whether this arm is learning."""
    if result.answer == "too_early" or result.interval is None:
        return "Too early to say: the first and the last third of the decisions need 30 units of this arm each, all settled."
    earned = (
        f"{number(result.last)} per decision in the last third of the decisions, {number(result.first)} in the first"
    )
    beyond = "" if result.control_change is None else " beyond what changed for the control meanwhile"
    low, high = result.interval
    change = f"{signed(result.change)}{beyond} (95% interval {signed(low)} to {signed(high)})"
    if result.answer == "yes":
        return f"Yes. It earned {earned}: {change}."
    if result.answer == "worse":
        return f"It got worse. It earned {earned}: {change}."
    return f"Not shown. It earned {earned}: {change}, which may be chance."


def serving(model: Serving | None) -> str:
    """Say which model version serves, how old it is and what it learned from."""
    if model is None or model.number == 0:
        return "No model has been trained yet. The first is trained when reward windows close."
    text = f"Version {model.number} serves, trained {roughly_ago(model.created_at)} on {plural(model.examples, 'decision')}."
    return text if model.problem is None else f"{text} The newest round does not serve: {model.problem}."


def roughly_ago(value: datetime | str | None, now: datetime | None = None) -> str:
    """An age in whole minutes, hours or days, for a page whose text must not change every second."""
    time = moment(value)
    if time is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if seconds < 60:
        return "less than a minute ago"
    size = next(size for size in (86_400, 3600, 60) if seconds >= size)
    return f"{duration(int(seconds // size) * size)} ago"


def moment_of(seconds: float) -> Markup:
    """Seconds since the epoch as a time."""
    return when(datetime.fromtimestamp(seconds, UTC))


def chance(value: float | None) -> str:
    """A chance as a percentage that never claims to be certain."""
    if value is None:
        return percent(None)
    return "over 99.9%" if value > ALMOST_SURE else "under 0.1%" if value < 1 - ALMOST_SURE else percent(value)


def margin(tested: NonInferiority | None) -> str:
    """State the outcome of a guardrail's test."""
    if tested is None:
        return ""
    words = "shown to be within the margin" if tested.shown else "not shown to be within the margin yet"
    return f"{words} (p {p_value(tested.p_value)})"


def metric_notes(metric: MetricResults) -> list[str]:
    """The notes that a reader of a metric's figures needs."""
    notes = []
    adjustment = next((line.adjustment for line in metric.comparisons), None)
    if adjustment is not None:
        over = "the metrics that decide" if metric.role == "primary" else "the guardrails and the other metrics"
        how = ADJUSTMENTS[adjustment]
        notes.append(f"P-values are adjusted by {how} for all comparisons on {over}; intervals hold one by one.")
        notes += _together(metric)
    if metric.winsorize is not None:
        notes.append(
            f"Winsorised: values per unit beyond the {percent(metric.winsorize, 1)} quantile of all units, above or below, count "
            "as that quantile, so that a few extreme units do not decide. The estimate is of the cut values."
        )
    if metric.role == "guardrail" and metric.min_effect:
        notes.append(
            f"Guardrail: an arm may be worse than control by at most {percent(metric.min_effect)} of the control's value."
        )
    if metric.window_s is not None and metric.source["type"] != "event":
        notes.append(f"Reports count up to {duration(metric.window_s)} after their decision.")
    return notes + who_counts(metric)


def _together(metric: MetricResults) -> list[str]:
    """The peek-safe intervals that hold for all comparisons on metrics that decide together, where there are several."""
    over_all = [(line.arm, line.always_valid) for line in metric.comparisons if line.segment is None]
    wider = [
        f"{arm} {interval(sequence.simultaneous_interval, 'signed')}"
        for arm, sequence in over_all
        if sequence.simultaneous_interval.low not in (None, sequence.interval.low)
    ]
    return [f"Peek-safe intervals that all hold together: {'; '.join(wider)}."] if wider else []
