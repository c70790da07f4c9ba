"""Words the answer to a planning question, and draws its chart and table."""

import math
from typing import Literal, NamedTuple

from pydantic import JsonValue
from sqlalchemy import Engine

from app.foundation.fields import JsonObject
from app.foundation.pages import charts
from app.foundation.pages.charts.parts import Figure, Point
from app.foundation.pages.format import number, percent, plural
from app.foundation.words import as_sentence
from app.reporting import power
from app.reporting.documents.planning import ComparisonPlan, SimulatedBandit
from app.reporting.planning_request import MetricPlan, PowerRequest

FIGURE = "plan-figure"  # its id on the page
WEEKS = (1, 2, 3, 4, 6, 8, 12)
RUNS = 100  # simulated experiments
TRUSTED_COVERAGE = 0.9  # of 95% intervals in the simulation
Asked = dict[str, JsonValue]  # a ``MetricPlan`` or a ``BanditPlan``, as JSON


class Answer(NamedTuple):
    """A plan in words, and drawn."""

    words: list[str]  # paragraphs
    figure: Figure | None
    assumptions: list[str]


def metric_answer(engine: Engine, spec: Asked, rule: JsonObject) -> Answer:
    """Say how many users and days it takes to compare two arms.

    :param spec: a ``MetricPlan`` that gives a relative effect.
    :param rule: the decision rule of the definition, with which the plan is compared.
    :raises ValidationError: naming what is wrong below ``metric``.
    """
    request = PowerRequest.model_validate({"metric": spec})
    answer = power.plan(engine, request)
    question, plan = request.metric, answer.plan
    assert question is not None, "a metric was asked for"
    assert isinstance(plan, ComparisonPlan), "a metric was asked for"
    value, factor = plan.baseline.value, plan.sequential_factor
    total = plan.n_control + plan.n_treatment
    write = percent if plan.baseline.kind == "proportion" else number
    words = [
        f"To see a change of {percent(question.relative_effect)} (from {write(value)} to {write(value + plan.effect)}) "
        f"with a chance of {percent(question.power, 0)}, you need {number(plan.n_control)} users in the control and "
        f"{number(plan.n_treatment)} in the largest other arm: {number(total)} in the two together.",
        "You may look at Loopwise's results every day and stop when they show a difference. One look, at the end, would need "
        f"about {number(round(total / factor))}.",
    ]
    if plan.days is not None and question.units_per_day is not None:
        words.append(
            f"With that many users a day this takes about {plural(plan.days, 'day')}. Run whole weeks: weekdays differ."
        )
    words += against_rule(plan.days, total, rule)
    assumptions = [text.replace("`sequential_factor`", number(factor, 2)) for text in answer.assumptions]
    return Answer(words, _over_weeks(engine, question, plan), assumptions)


def against_rule(days: float | None, units: int, rule: JsonObject) -> list[str]:
    """Compare a plan with the length and the sample that the decision rule names.

    :param days: that the plan takes; null: not known.
    :param units: of the two arms that are compared.
    """
    longest, least, planned = (_number(rule.get(name)) for name in ("max_days", "min_days", "planned_units"))
    words = []
    if days is not None and longest is not None and days > longest:
        words.append(
            f"Your decision rule stops after {plural(round(longest), 'day')}, before this plan is complete. In the step Metrics, "
            f"let it run for {number(math.ceil(days))} days or more, or plan for a larger change."
        )
    elif days is not None and least is not None and days < least:
        words.append(
            f"Your decision rule waits for {plural(round(least), 'day')} in any case, longer than this plan needs."
        )
    if planned is not None and planned < units:
        words.append(
            f"Your decision rule plans {number(planned)} users in all arms. This plan needs {number(units)} in two."
        )
    return words


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _over_weeks(engine: Engine, question: MetricPlan, plan: ComparisonPlan) -> Figure | None:
    """Draw the smallest change that would be seen, by the number of weeks."""
    caption = "The smallest change that would be seen, by how long it runs"
    if question.units_per_day is None or not plan.baseline.value:
        return None
    by_weeks: list[tuple[int, list[float]]] = []
    for weeks in WEEKS:
        units = question.units_per_day * 7 * weeks
        tests: tuple[Literal["one_look", "always_valid"], ...] = ("one_look", "always_valid")
        by_weeks.append((weeks, [_smallest_change(engine, question, plan, units, test) for test in tests]))
    names = ("one look at the end", "looking whenever you like")
    series = [
        charts.Series(name, [Point(weeks, changes[index]) for weeks, changes in by_weeks])
        for index, name in enumerate(names)
    ]
    chart = charts.lines(
        series, title=caption, unit="relative change", x_unit="weeks", write=percent, edges=(0.0, None)
    )
    rows = [[plural(weeks, "week"), *(percent(change) for change in changes)] for weeks, changes in by_weeks]
    return Figure(FIGURE, caption, chart, ["Running for", *names], rows)


def _smallest_change(
    engine: Engine, question: MetricPlan, plan: ComparisonPlan, units: float, test: Literal["one_look", "always_valid"]
) -> float:
    """The smallest relative change that this number of units can show."""
    baseline = plan.baseline
    at_size = MetricPlan(
        kind="mean",
        value=baseline.value,
        std=baseline.unit_std,
        solve_for="effect",
        test=test,
        declared=True,
        alpha=question.alpha,
        power=question.power,
        treatment_share=question.treatment_share,
        units=max(4, round(units)),
    )
    seen = power.plan(engine, PowerRequest(metric=at_size)).plan
    assert isinstance(seen, ComparisonPlan), "a metric was asked for"
    return abs(seen.effect / baseline.value)


def bandit_answer(engine: Engine, spec: Asked) -> Answer:
    """Say what learning would earn, by simulation.

    :param spec: a ``BanditPlan``.
    :raises ValidationError: naming what is wrong below ``bandit``.
    """
    answer = power.plan(engine, PowerRequest.model_validate({"bandit": spec}))
    plan = answer.plan
    assert isinstance(plan, SimulatedBandit), "a bandit was asked for"
    means = plan.means
    named = means if isinstance(means, dict) else {f"action {index}": mean for index, mean in enumerate(means, 1)}
    first, best = next(iter(named)), max(named, key=lambda name: named[name])
    rows = [
        charts.Row(f"always {first} (the control)", named[first]),
        charts.Row("every action equally often", plan.uniform_reward),
        charts.Row("learning", plan.mean_reward, strong=True),
    ]
    if best != first:
        rows.append(charts.Row(f"always {best}, had it been known", named[best]))
    caption = "What a decision earns on average"
    chart = charts.bars(rows, title=caption, unit="reward per decision")
    table = [[row.label, number(row.value)] for row in rows]
    words = _simulated(plan, first, best)
    figure = Figure(FIGURE, caption, chart, ["Way of choosing", "Reward per decision"], table)
    return Answer(words, figure, answer.assumptions)


def _simulated(plan: SimulatedBandit, first: str, best: str) -> list[str]:
    words = [
        f"At the end, {percent(plan.best_share, 0)} of all decisions had gone to the best action ({best}), and a "
        f"decision had earned {number(plan.mean_reward)} on average; choosing all alike would have earned "
        f"{number(plan.uniform_reward)}."
    ]
    if plan.power is None:
        return [*words, as_sentence(plan.reason)]
    words.append(
        f"In {percent(plan.power, 0)} of {RUNS} simulated experiments the results showed that {best} beats {first}."
    )
    if plan.coverage is not None and plan.coverage < TRUSTED_COVERAGE:
        words.append("Their intervals were too narrow too often: plan more decisions before you trust such a result.")
    return words
