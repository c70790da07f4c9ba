"""Evaluates the rule that was written down at launch: ship, stop, or keep running, with the reasons.

It reads finished results and computes no statistics of its own. docs/statistics.md states the rule in full.
"""

from collections.abc import Iterator, Sequence
from math import copysign
from typing import Literal, NamedTuple

from app.design.experiment_config import ExperimentConfig
from app.foundation.formats.intervals import IntervalDocument
from app.guardian.guardrails import Crossing
from app.reporting.documents.results import ComparisonLine, MetricResults, RuleChange, RuleVerdict, StoredResults

# The words of each reason, on pages and in the API.
WORDS = {
    "sample_ratio": "The arms' units do not match their shares: nothing below may be believed; find the cause.",
    "guardrail_crossed": "{arm} crosses the guardrail {metric}: worse than {control}.",
    "few_units": "An arm has {units} units; the rule asks for {min_units}.",
    "few_days": "It ran {days:.1f} days; the rule asks for {min_days:g}.",
    "better": "{arm} is better than {control} on {metric} (p {p:.2g}, valid at every look).",
    "worse": "{arm} is worse than {control} on {metric} (p {p:.2g}, valid at every look).",
    "trade": "{arm} is better on {better} and worse on {worse}, which both decide: a person has to weigh them.",
    "leaning": "{arm} may be worse than {control} on {metric}: one look says so, not yet every look together.",
    "preliminary": "Nothing is known of {metric} yet: no decision's window is over.",
    "time_is_up": "After {days:.1f} of at most {max_days:g} days no arm is shown to be better.",
    "nothing_shown": "No difference is shown yet at every look together.",
}


class Reason(NamedTuple):
    """A reason for the verdict: a code of ``WORDS`` with its parameters."""

    code: str
    params: dict[str, str | float]

    @property
    def text(self) -> str:
        return WORDS[self.code].format(**self.params)


class Shown(NamedTuple):
    """A difference to the control on a primary metric that is shown at every look together."""

    arm: str
    metric: str  # key
    gain: float  # in the metric's unit, positive: better. Never compared between metrics.
    reason: Reason

    def says(self, code: str) -> bool:
        """Whether it is ``better`` or ``worse``."""
        return self.reason.code == code


class Doubt(NamedTuple):
    """Why an arm may not ship yet."""

    arm: str
    reason: Reason


class Ruling(NamedTuple):
    verdict: Literal["ship", "stop", "review", "keep_running"]
    arm: str | None
    reasons: Sequence[Reason]


def judge(
    config: ExperimentConfig, results: StoredResults, days: float, changes: Sequence[RuleChange] = ()
) -> RuleVerdict:
    """Apply the rule to an experiment's results; returns the verdict and the rule.

    :param days: since the experiment started.
    :param changes: of the rule since then; see ``rule_changes``.
    """
    crossed = _crossed_guardrails(results)
    ruling = _ruling(config, results, crossed, days)
    return RuleVerdict(
        rule=config.decision_rule.model_dump(),
        verdict=ruling.verdict,
        arm=ruling.arm,
        reasons=[reason.text for reason in ruling.reasons],
        crossed=[reason.text for reason in crossed],
        days=round(days, 3),
        changes=list(changes),
    )


def speaks_against(config: ExperimentConfig, results: StoredResults, arm: str) -> list[Reason]:
    """Why an arm should get no larger share: losses on a guardrail or a primary metric that every look together shows."""
    losses = [
        change.reason
        for metric in results.primary()
        for change in _shown(metric, config.decision_rule.alpha)
        if change.arm == arm and change.says("worse")
    ]
    return [*(reason for reason in _crossed_guardrails(results) if reason.params["arm"] == arm), *losses]


def _ruling(config: ExperimentConfig, results: StoredResults, crossed: list[Reason], days: float) -> Ruling:
    rule = config.decision_rule
    if results.sample_ratio.alert:
        return Ruling("stop", None, [Reason("sample_ratio", {})])
    fewest = min(results.units.get(arm.key, 0) for arm in config.arms if arm.share > 0)
    if fewest < rule.min_units:
        return Ruling("keep_running", None, [Reason("few_units", {"units": fewest, "min_units": rule.min_units})])
    if crossed:
        return Ruling("stop", None, crossed)
    if days < rule.min_days:
        return Ruling("keep_running", None, [Reason("few_days", {"days": days, "min_days": rule.min_days})])
    time_is_up = None if rule.max_days is None or days < rule.max_days else {"days": days, "max_days": rule.max_days}
    return _weigh(config, results, time_is_up)


def _weigh(config: ExperimentConfig, results: StoredResults, time_is_up: dict[str, float] | None) -> Ruling:
    """Ship an arm only when it is shown better on a primary metric, and nothing speaks against it.

    An arm that is shown both better and worse needs a person, who knows what each metric is worth. So does an arm with
    open doubts when the time is up: a gain is often shown some looks before a loss elsewhere is.
    """
    shown = [change for metric in results.primary() for change in _shown(metric, config.decision_rule.alpha)]
    better = {change.arm for change in shown if change.says("better")}
    worse = {change.arm for change in shown if change.says("worse")}
    doubts = [doubt for doubt in _doubts(results) if doubt.arm in better - worse]
    free = better - worse - {doubt.arm for doubt in doubts}
    if free:
        winner = _winner(results, [change for change in shown if change.arm in free])
        changes = [change for change in shown if change.arm in better]
        return Ruling(
            "ship", winner, [change.reason for change in sorted(changes, key=lambda change: change.arm != winner)]
        )
    reasons = [change.reason for change in shown] + list({doubt.reason.text: doubt.reason for doubt in doubts}.values())
    if better and (time_is_up is not None or not doubts):
        arm = _winner(results, [change for change in shown if change.arm in better])
        trades = [_trade(arm, shown) for arm in dict.fromkeys(change.arm for change in shown) if arm in better & worse]
        return Ruling("review", arm, trades + reasons)
    if time_is_up is not None:
        return Ruling("stop", None, [Reason("time_is_up", {**time_is_up}), *reasons])
    if worse and worse == {arm.key for arm in config.arms} - {results.control}:
        return Ruling("stop", results.control, reasons)
    return Ruling("keep_running", None, reasons or [Reason("nothing_shown", {})])


def _doubts(results: StoredResults) -> Iterator[Doubt]:
    """What forbids to ship an arm yet: a loss that one look shows, beyond the margin of a guardrail; windows still open."""
    for metric in results.metrics:
        for line in metric.comparisons if metric.role != "secondary" else ():
            if _loses(metric, line, line.interval):
                names: dict[str, str | float] = {"arm": line.arm, "control": line.control, "metric": metric.name}
                yield Doubt(line.arm, Reason("leaning", names))
    for metric in results.primary():
        if metric.preliminary:
            yield from (Doubt(arm, Reason("preliminary", {"metric": metric.name})) for arm in results.units)


def _trade(arm: str, shown: Sequence[Shown]) -> Reason:
    """Names the metrics that speak for an arm and those that speak against it."""
    of_arm = [change for change in shown if change.arm == arm]
    sides = {
        code: " and ".join(str(change.reason.params["metric"]) for change in of_arm if change.says(code))
        for code in ("better", "worse")
    }
    return Reason("trade", {"arm": arm, **sides})


def _winner(results: StoredResults, shown: Sequence[Shown]) -> str:
    """The arm that gains most on the first primary metric, in that metric's unit; the next metric breaks ties.

    An arm that is not shown better on a metric counts as gaining 0 there.
    """
    gains = {(change.arm, change.metric): change.gain for change in shown}
    metrics = [metric.metric for metric in results.primary()]
    arms = dict.fromkeys(change.arm for change in shown)
    return max(arms, key=lambda arm: [gains.get((arm, metric), 0.0) for metric in metrics])


def _shown(metric: MetricResults, alpha: float) -> Iterator[Shown]:
    for line in metric.comparisons:
        p = line.adjusted_running_p
        if p is None or p > alpha or line.difference is None or _turned(line.difference, line.running_sign):
            continue
        gain = metric.gain(line.difference)
        code = "better" if gain > 0 else "worse" if gain < 0 else None
        if code is None or (code == "better" and not _holds(metric, line)):
            continue
        params: dict[str, str | float] = {"arm": line.arm, "control": line.control, "metric": metric.name, "p": p}
        yield Shown(line.arm, metric.metric, gain, Reason(code, params))


def _holds(metric: MetricResults, line: ComparisonLine) -> bool:
    """Whether the newest interval, if there is one, holds gains alone.

    P-values remember the strongest look, and a reader sees the newest interval.
    """
    interval = line.always_valid.interval
    if interval.low is None or interval.high is None:
        return True
    return min(metric.gain(interval.low), metric.gain(interval.high)) > 0


def _turned(difference: float, sign_then: int | None) -> bool:
    """True when the difference now has the opposite sign of the look at which it was shown: it shows neither."""
    return sign_then == -copysign(1.0, difference)


def crossings(results: StoredResults) -> list[Crossing]:
    """Guardrails on which an arm is shown, at every look together, to be worse by more than the margin."""
    return [Crossing(line.arm, metric.metric, _crossed(metric, line).text) for metric, line in _crossing_lines(results)]


def _crossed_guardrails(results: StoredResults) -> list[Reason]:
    return [_crossed(metric, line) for metric, line in _crossing_lines(results)]


def _crossed(metric: MetricResults, line: ComparisonLine) -> Reason:
    return Reason("guardrail_crossed", {"arm": line.arm, "metric": metric.name, "control": line.control})


def _crossing_lines(results: StoredResults) -> list[tuple[MetricResults, ComparisonLine]]:
    return [
        (metric, line)
        for metric in results.metrics
        if metric.role == "guardrail"
        for line in metric.comparisons
        if _loses(metric, line, line.always_valid.interval)
    ]


def _loses(metric: MetricResults, line: ComparisonLine, interval: IntervalDocument) -> bool:
    """Whether an interval of the difference holds losses alone; of a guardrail, losses beyond its margin."""
    if interval.low is None or interval.high is None:
        return False
    best = metric.gain(interval.high if metric.direction == "increase" else interval.low)
    guarded = metric.min_effect if metric.role == "guardrail" else 0.0
    return best < -guarded * abs(metric.values().get(line.control) or 0.0)
