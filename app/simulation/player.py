"""Plays one run of a world: draws its log, and at each look computes what the results page would show.

The comparison, the running p-values, their adjustment, the sample ratio and the decision rule are the page's own functions
(``app.reporting.comparison``). Only the sums come from memory instead of the database.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from app.design.experiment_config import ExperimentConfig
from app.design.metric_config import MetricSpec
from app.reporting.comparison import result_lines as lines
from app.reporting.comparison import sample_ratio
from app.reporting.comparison import stretches as shares
from app.reporting.comparison.decision_rule import judge
from app.reporting.comparison.lineages import lineages_lines
from app.reporting.comparison.metric_results import compare_pair
from app.reporting.comparison.result_lines import Compared, Pair
from app.reporting.comparison.sample_ratio import SeenUnits
from app.reporting.documents.results import (
    ArmValue,
    MetricResults,
    ResultsWindow,
    SampleRatio,
    StoredResults,
)
from app.reporting.store.heavy_units import ArmWeight
from app.reporting.unit_checks import is_too_heavy
from app.simulation.course import Course, is_reward
from app.simulation.learner import Groups, choices_alert, choose
from app.simulation.people import Log, draw_log
from app.simulation.policies import PolicyAnswer, evaluate
from app.simulation.tally import BASE, DECISIONS, EXTRA, UNITS, Tally, tally, visitors
from app.simulation.values import draw_values
from app.simulation.world import MetricTruth
from experiments.validation import FloatArray


class Truth(NamedTuple):
    """What a comparison estimates, known from the world."""

    difference: float
    lift: float | None  # null where the control's value is not above 0


class Look(NamedTuple):
    """One look of a run."""

    results: StoredResults
    truths: dict[tuple[str, str], Truth]  # by metric and arm
    choices_alert: bool | None  # null: nothing was chosen at random
    heavy_alert: bool | None  # null: not checked at this look, or every unit decides once
    policies: tuple[PolicyAnswer, ...] = ()  # off-policy values of the log; at the last look only


class _Run:
    """The sums of one run."""

    def __init__(self, course: Course, random: Generator) -> None:
        self.course = course
        world, log = course.world, draw_log(course, random)
        self.groups: list[Groups] = []
        self.policies: list[PolicyAnswer] = []
        expected: FloatArray | None = None
        first: FloatArray | None = None
        if world.learning.arms:
            learned = choose(course, log, random)
            log, first, expected, self.groups = learned.log, learned.values, learned.expected, learned.groups
            self.policies = evaluate(course, learned)
        seen = visitors(course, log)
        self.tallies = []
        for metric in world.metrics:
            values = draw_values(course, metric, log, None, random) if first is None else first
            base = metric.level * log.factor * world.lost.kept(world.control)
            self.tallies.append(tally(course, seen, values, base, expected, _per_unit(course, metric)))
            first, expected = None, None
        self.heavy = _heavy(course, log)

    def seen_units(self, look: int) -> FloatArray:
        """Units by the stretch in which they were first seen, and by arm."""
        return np.asarray(self.tallies[0].sums[look, ..., UNITS].sum(axis=1))


def play(course: Course, random: Generator) -> Iterator[Look]:
    """Play one run; the looks are in order."""
    run = _Run(course, random)
    before: StoredResults | None = None
    for look in range(len(course.ends)):
        before, truths = _results(run, look, before)
        last = look == len(course.ends) - 1
        chosen = choices_alert(run.groups[look]) if run.groups else None
        yield Look(before, truths, chosen, run.heavy if last else None, tuple(run.policies) if last else ())


def _results(run: _Run, look: int, before: StoredResults | None) -> tuple[StoredResults, dict[tuple[str, str], Truth]]:
    course = run.course
    stretch = int(course.stretch_of_look[look])
    config, stretches = course.configs[stretch], course.stretches[: stretch + 1]
    truths: dict[tuple[str, str], Truth] = {}
    metrics = []
    for spec, truth, sums in zip(config.metrics, course.world.metrics, run.tallies, strict=True):
        compared = []
        for arm in (arm.key for arm in config.arms if arm.key != course.world.control):
            pair = (course.arms.index(arm), course.arms.index(course.world.control))
            ends = shares.ends(stretches, (arm, course.world.control))
            names = Pair(arm, course.world.control, None)
            compared.append(compare_pair(config, spec, stretches, names, sums.rows(look, pair, ends)))
            truths[spec.key, arm] = _truth(course, truth, sums, look, pair, ends)
        values = _values(course, sums, look, stretches) if spec.role == "guardrail" else []
        metrics.append(_metric(config, spec, compared, values))
    for metric in metrics:
        lines.remember(metric, before)
    lines.adjust_all(metrics)
    units = run.seen_units(look)
    names_of_arms = [arm.key for arm in config.arms]
    results = _stored(course, metrics, units, _ratio(course, names_of_arms, units[: stretch + 1]))
    return results.model_copy(update={"decision": judge(config, results, 0.0)}), truths


def _ratio(course: Course, arms: list[str], units: FloatArray) -> SampleRatio:
    positions = [course.arms.index(arm) for arm in arms]
    by_shares: dict[tuple[float, ...], FloatArray] = {}
    for stretch, seen in zip(course.stretches, units, strict=False):
        key = tuple(stretch.shares.get(arm, 0.0) for arm in arms)
        by_shares[key] = by_shares.get(key, np.zeros(len(arms))) + seen[positions]
    return sample_ratio.judge(arms, [SeenUnits(key, seen) for key, seen in by_shares.items()])


def _values(course: Course, sums: Tally, look: int, stretches: list[shares.Stretch]) -> list[ArmValue]:
    rows = []
    for arm, name in enumerate(course.arms):
        rows += sums.rows(look, (arm,), shares.ends(stretches, (name,)))
    return lines.arm_values(rows)


def _metric(
    config: ExperimentConfig, spec: MetricSpec, compared: list[Compared], values: list[ArmValue]
) -> MetricResults:
    return MetricResults(
        metric=spec.key,
        name=spec.key,
        role=spec.role,
        direction=spec.direction,
        min_effect=spec.min_effect,
        window_s=None,
        source=spec.source.model_dump(mode="json"),
        arms=values,
        comparisons=[pair.line for pair in compared],
        lineages=lineages_lines(config, compared),
    )


def _stored(course: Course, metrics: list[MetricResults], units: FloatArray, ratio: SampleRatio) -> StoredResults:
    by_arm = dict(zip(course.arms, (int(count) for count in units.sum(axis=0)), strict=True))
    return StoredResults(
        experiment="simulated",
        segment=None,
        control=course.world.control,
        window=ResultsWindow(decisions=sum(by_arm.values()), units=sum(by_arm.values()), first=None, last=None),
        units=by_arm,
        sample_ratio=ratio,
        metrics=metrics,
        assumptions=[],
    )


def _per_unit(course: Course, metric: MetricTruth) -> str:
    if metric.per == "decision":
        return ""
    return "mean" if is_reward(course.world, metric) else "sum"


def _truth(
    course: Course, metric: MetricTruth, sums: Tally, look: int, pair: tuple[int, int], ends: shares.Ends
) -> Truth:
    """The effect among the people who came, of values that are lost as the control's are."""
    world, (arm, control) = course.world, (course.arms[pair[0]], pair[1])
    both = sums.pooled(look, pair, ends)
    if both[DECISIONS] == 0:
        return Truth(0.0, None)
    own, other = sums.pooled(look, pair[:1], ends), sums.pooled(look, (control,), ends)
    learned = [float(part[EXTRA] / part[DECISIONS]) if part[DECISIONS] else 0.0 for part in (own, other)]
    effect = (metric.effect(arm) + learned[0] - learned[1]) * world.lost.kept(world.control)
    base = float(both[BASE] / both[DECISIONS]) + learned[1] * world.lost.kept(world.control)
    visits = float(both[DECISIONS] / both[UNITS]) if _per_unit(course, metric) == "sum" else 1.0
    return Truth(effect * visits, effect / base if base > 0 else None)


def _heavy(course: Course, log: Log) -> bool | None:
    """Whether the health check of heavy units raises an alert, as on the platform; null: every unit decides once."""
    if log.single:
        return None
    arms = len(course.arms)
    counts = np.bincount(log.unit * arms + log.arm, minlength=log.homes.shape[1] * arms).reshape(-1, arms)
    for decisions in counts.T:
        units, total = int((decisions > 0).sum()), int(decisions.sum())
        effective = total**2 / max(float((decisions.astype(np.float64) ** 2).sum()), 1.0)
        if total and is_too_heavy(float(decisions.max()) / total, ArmWeight("", units, total, effective)):
            return True
    return False
