"""The claims that reports make, and whether one run of a world bears them out."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import mean, median
from typing import Final, Literal, NamedTuple

from scipy.stats import binom

from app.foundation.formats.intervals import IntervalDocument
from app.reporting.documents.results import ComparisonLine, RuleVerdict
from app.simulation.player import Look, Truth
from app.simulation.policies import PolicyAnswer
from app.simulation.report import ClaimLine
from app.simulation.world import World
from experiments.logs.choices import ALPHA
from experiments.logs.health import ANYTIME_ALERT_BELOW

WORDS: Final[dict[str, str]] = {
    "every_look": "the always-valid interval covers the truth at every look",
    "one_look": "the interval for one look covers the truth at the last look",
    "lift_every_look": "the always-valid interval of the lift covers it at every look",
    "lift_one_look": "the lift's interval for one look covers it at the last look",
    "not_narrower": "the always-valid interval is never narrower than the one for one look",
    "p_every_look": "the p-value for every look never falls to alpha where the arm is alike",
    "p_one_look": "the p-value for one look is above alpha at the last look where the arm is alike",
    "lineages_one_look": "the lineages' interval covers what their way of learning does on average over all runs",
    "no_verdict": "the rule calls no winner or loser among alike arms, at any look",
    "no_wrong_ship": "the rule ships no arm that is not better, at any look",
    "decides": "the rule's first verdict is the right one, by the last look",
    "value_every_look": "the off-policy value's always-valid intervals cover the truth at every look",
    "value_one_look": "the off-policy value's interval for one look covers the truth at the end",
    "value_refused": "the off-policy value is refused, because choices of its action are missing",
    "ratio_quiet": "the sample ratio raises no alert in a sound log, at any look",
    "ratio_alarms": "the sample ratio raises an alert by the last look, because units are missing",
    "choices_quiet": "the check of choices raises no alert in a sound log, at any look",
    "choices_alarms": "the check of choices raises an alert by the last look, because choices are missing",
    "heavy_quiet": "the check of heavy units raises no alert where nobody is a bot",
    "heavy_alarms": "the check of heavy units raises an alert because of the bots",
}
HEAVY_LEVEL = 0.95
CHANCE = 0.001  # a claim is not met when so few right runs would be rarer than this at its level
Key = tuple[str, str, str]  # claim, metric, arm


class Watched(NamedTuple):
    """What one run says of each claim, and what its lines looked like at the end."""

    right: dict[Key, bool]
    widths: dict[tuple[str, str], float]  # always valid over one look, by metric and arm; missing: not open
    lineages: dict[tuple[str, str], "OfLineages"]  # by metric and the name that lineages share


class OfLineages(NamedTuple):
    """What one run says of a way of learning, and what its lineages were worth in that run."""

    interval: IntervalDocument
    truth: float
    own: list[IntervalDocument]  # of each lineage alone, for one look


class _Line:
    """One comparison through all looks of a run."""

    def __init__(self, alpha: float) -> None:
        self.alpha, self.alike = alpha, True
        self.p_every = True
        self.every = self.lift_every = self.wider = True
        self.last: ComparisonLine | None = None
        self.truth = Truth(0.0, None)

    def see(self, line: ComparisonLine, truth: Truth) -> None:
        always = line.always_valid
        self.every &= _misses_not(always.interval, truth.difference)
        self.lift_every &= truth.lift is None or _misses_not(always.relative_interval, truth.lift)
        self.wider &= _holds(always.interval, line.interval) and _holds(
            always.relative_interval, line.relative_interval
        )
        self.alike &= truth.difference == 0
        self.p_every &= line.running_p is None or line.running_p > self.alpha
        self.last, self.truth = line, truth

    def answers(self) -> Iterator[tuple[str, bool]]:
        assert self.last is not None
        yield "every_look", self.every
        if self.last.interval.low is not None:
            yield "one_look", _misses_not(self.last.interval, self.truth.difference)
        if self.truth.lift is not None:
            yield "lift_every_look", self.lift_every
            if self.last.relative_interval.low is not None:
                yield "lift_one_look", _misses_not(self.last.relative_interval, self.truth.lift)
        yield "not_narrower", self.wider
        if self.alike:
            yield "p_every_look", self.p_every
            if self.last.p_value is not None:
                yield "p_one_look", self.last.p_value > self.alpha

    def width(self) -> float | None:
        assert self.last is not None
        always, one = _width(self.last.always_valid.interval), _width(self.last.interval)
        return always / one if always and one else None


def watch(world: World, looks: Sequence[Look] | Iterator[Look]) -> Watched:
    """Compare one run with the world's truth."""
    by_line: dict[tuple[str, str], _Line] = {}
    verdicts: list[RuleVerdict] = []
    ratio, choices, heavy = False, None, None
    policies: tuple[PolicyAnswer, ...] = ()
    lineages: dict[tuple[str, str], OfLineages] = {}
    for look in looks:
        lineages = _of_lineages(look)
        for line, metric in _lines(look):
            by_line.setdefault((metric, line.arm), _Line(world.rule.alpha)).see(line, look.truths[metric, line.arm])
        assert look.results.decision is not None
        alert = look.results.sample_ratio.alert
        ratio |= alert
        if not alert:  # a stop because of the sample ratio is no verdict on an arm
            verdicts.append(look.results.decision)
        if look.choices_alert is not None:
            choices = bool(choices) or look.choices_alert
        heavy = look.heavy_alert if heavy is None else heavy
        policies = look.policies or policies
    right = {(code, metric, arm): good for (metric, arm), one in by_line.items() for code, good in one.answers()}
    right |= {
        (code, "", ""): good
        for code, good in [*_of_verdicts(world, verdicts), *_of_checks(world, ratio, choices, heavy)]
    }
    right |= {(code, world.metrics[0].key, one.policy): good for one in policies for code, good in _of_policy(one)}
    widths = {name: one.width() for name, one in by_line.items()}
    return Watched(right, {name: width for name, width in widths.items() if width is not None}, lineages)


def _lines(look: Look) -> Iterator[tuple[ComparisonLine, str]]:
    """The comparisons whose truth is known, with their metric."""
    for metric in look.results.metrics:
        yield from ((line, metric.metric) for line in metric.comparisons if (metric.metric, line.arm) in look.truths)


def _of_lineages(look: Look) -> dict[tuple[str, str], OfLineages]:
    answers = {}
    for metric in look.results.metrics:
        for line in metric.lineages:
            truth = mean(look.truths[metric.metric, arm].difference for arm in line.arms)
            own = [compared.interval for compared in metric.comparisons if compared.arm in line.arms]
            answers[metric.metric, line.lineage] = OfLineages(line.interval, truth, own)
    return answers


def _of_verdicts(world: World, verdicts: Sequence[RuleVerdict]) -> Iterator[tuple[str, bool]]:
    decided = [verdict for verdict in verdicts if verdict.verdict != "keep_running"]
    if world.is_null:
        yield "no_verdict", not decided
        return
    if any(world.learning.actions.values()):
        return  # what a learning arm is worth depends on the run
    shipped = [verdict.arm for verdict in decided if verdict.verdict == "ship" and verdict.arm is not None]
    yield "no_wrong_ship", all(_judged(world, arm) == "better" for arm in shipped)
    judged: set[str] = {_judged(world, arm) for arm in world.treatments}
    if judged & {"better", "trade"} or judged == {"worse"}:
        yield "decides", bool(decided) and _fits(world, decided[0], judged)


def _fits(world: World, verdict: RuleVerdict, judged: set[str]) -> bool:
    """Whether a verdict says of its arm what the arm really is."""
    if verdict.verdict == "stop":
        return judged == {"worse"}
    really = "" if verdict.arm is None else _judged(world, verdict.arm)
    return (verdict.verdict, really) in (("ship", "better"), ("review", "trade"))


def _judged(world: World, arm: str) -> Literal["better", "worse", "trade", "alike"]:
    """What an arm really is, on the primary metrics."""
    signs = {"increase": 1.0, "decrease": -1.0}
    gains = [metric.effect(arm) * signs[metric.direction] for metric in world.metrics if metric.role == "primary"]
    up, down = any(gain > 0 for gain in gains), any(gain < 0 for gain in gains)
    if up and down:
        return "trade"
    return "better" if up else "worse" if down else "alike"


def _of_policy(answer: PolicyAnswer) -> Iterator[tuple[str, bool]]:
    if answer.broken:
        yield "value_refused", answer.refused
    if answer.every_look is not None:
        yield "value_every_look", answer.every_look
    if answer.one_look is not None:
        yield "value_one_look", answer.one_look


def _of_checks(world: World, ratio: bool, choices: bool | None, heavy: bool | None) -> Iterator[tuple[str, bool]]:
    lost = [*world.lost.exposures.values(), *world.lost.choices.values()]  # either takes units from an arm
    yield ("ratio_alarms", ratio) if any(lost) else ("ratio_quiet", not ratio)
    if choices is not None:
        yield ("choices_alarms", choices) if any(world.lost.choices.values()) else ("choices_quiet", not choices)
    if heavy is not None:
        yield ("heavy_alarms", heavy) if world.bots.units else ("heavy_quiet", not heavy)


def table(world: World, runs: Sequence[Watched]) -> list[ClaimLine]:
    """Count the claims of all runs, in the order of ``WORDS``."""
    right: Counter[Key] = Counter()
    of: Counter[Key] = Counter()
    for answers in [*(run.right for run in runs), *_about_lineages(runs)]:
        of.update(answers.keys())
        right.update(key for key, good in answers.items() if good)
    order = list(WORDS)
    return [_line(world, key, right[key], of[key], runs) for key in sorted(of, key=lambda key: order.index(key[0]))]


def _about_lineages(runs: Sequence[Watched]) -> Iterator[dict[Key, bool]]:
    """Whether each run's interval covers what a way of learning does on average, which only all runs together know."""
    truths = {name: _average(runs, name) for name in {name for run in runs for name in run.lineages}}
    for run in runs:
        yield {
            ("lineages_one_look", *name): _misses_not(one.interval, truths[name]) for name, one in run.lineages.items()
        }


def _average(runs: Sequence[Watched], name: tuple[str, str]) -> float:
    return mean(run.lineages[name].truth for run in runs if name in run.lineages)


def _note(code: str, name: tuple[str, str], runs: Sequence[Watched]) -> str:
    if code == "every_look":
        return _widths([run.widths.get(name) for run in runs])
    if code != "lineages_one_look":
        return ""
    truth = _average(runs, name)
    own = [_misses_not(interval, truth) for run in runs if name in run.lineages for interval in run.lineages[name].own]
    return f"the interval of a single lineage covers it in {mean(own):.1%}"


def _line(world: World, key: Key, right: int, of: int, runs: Sequence[Watched]) -> ClaimLine:
    code, metric, arm = key
    level = _level(world, code)
    return ClaimLine(
        claim=code,
        text=WORDS[code],
        metric=metric,
        arm=arm,
        right=right,
        of=of,
        level=level,
        met=right == of if level == 1 else bool(binom.cdf(right, of, level) >= CHANCE),
        note=_note(code, (metric, arm), runs),
    )


def _level(world: World, code: str) -> float:
    if code == "not_narrower":
        return 1.0
    if code in ("decides", "value_refused") or code.endswith("_alarms"):
        return world.power
    levels = {
        "ratio_quiet": 1 - ANYTIME_ALERT_BELOW,
        "choices_quiet": 1 - ALPHA,
        "heavy_quiet": HEAVY_LEVEL,
    }
    return levels.get(code, 1 - world.rule.alpha)


def _widths(widths: Sequence[float | None]) -> str:
    opened = [width for width in widths if width is not None]
    if not opened:
        return "never open"
    return f"{median(opened):.2f} times as wide at the end; open in {len(opened) / len(widths):.0%} of the runs"


def _misses_not(interval: IntervalDocument, value: float) -> bool:
    """True when the interval covers the value, or when there is none."""
    return (interval.low is None or interval.low <= value) and (interval.high is None or value <= interval.high)


def _holds(outer: IntervalDocument, inner: IntervalDocument) -> bool:
    """True when an interval holds another; one that is not open yet holds every other."""
    return (outer.low is None or (inner.low is not None and outer.low <= inner.low)) and (
        outer.high is None or (inner.high is not None and outer.high >= inner.high)
    )


def _width(interval: IntervalDocument) -> float | None:
    return None if interval.low is None or interval.high is None else interval.high - interval.low
