"""The answer to a planning question, in sentences, a chart and its figures."""

from typing import NamedTuple

from markupsafe import Markup
from sqlalchemy import Engine

from app.foundation.fields import JsonObject
from app.foundation.pages import charts
from app.foundation.pages.charts.parts import Point
from app.foundation.pages.format import number, percent, plural
from app.foundation.words import as_sentence
from app.reporting import power
from app.reporting.power import PowerRequest

WEEKS = (1, 2, 3, 4, 6, 8, 12)
RUNS = 100  # simulated experiments
TRUSTED_COVERAGE = 0.9  # of 95% intervals in the simulation
Asked = JsonObject  # a ``MetricPlan`` or a ``BanditPlan``, as JSON


class Answer(NamedTuple):
    """What a plan says."""

    words: list[str]  # paragraphs
    chart: Markup
    caption: str
    head: list[str]
    rows: list[list[str]]
    assumptions: list[str]


def metric_answer(engine: Engine, asked: Asked) -> Answer:
    """How many users, and how many days, to compare two arms; ``asked`` is a ``MetricPlan``."""
    answered: JsonObject = power.plan(engine, PowerRequest.model_validate({"metric": asked})).as_json()
    plan = answered["plan"]
    baseline, factor = plan["baseline"], plan["sequential_factor"]
    total = plan["n_control"] + plan["n_treatment"]
    write = percent if baseline["kind"] == "proportion" else number
    value, change = baseline["value"], asked["relative_effect"]
    words = [
        f"To see a change of {percent(change)} (from {write(value)} to {write(value + plan['effect'])}) "
        f"with a chance of {percent(asked['power'], 0)}, you need {number(plan['n_control'])} users in the control and "
        f"{number(plan['n_treatment'])} in the largest other arm, if you look once, at the end.",
        f"Loopwise's results may be looked at every day. That costs about {number(factor, 2)} times as many: "
        f"{number(round(total * factor))} users in the two arms together.",
    ]
    if plan["days"] is not None:
        longer = -(-total * factor // asked["units_per_day"])
        words.append(
            f"With that many users a day this takes about {plural(plan['days'], 'day')} with one look, and about "
            f"{plural(int(longer), 'day')} when you look whenever you like. Run whole weeks: weekdays differ."
        )
    assumptions = [text.replace("`sequential_factor`", number(factor, 2)) for text in answered["assumptions"]]
    return Answer(words, *_over_weeks(engine, asked, baseline, factor), assumptions)


def _over_weeks(
    engine: Engine, asked: Asked, baseline: JsonObject, factor: float
) -> tuple[Markup, str, list[str], list[list[str]]]:
    """The smallest change that would be seen after so many weeks."""
    caption = "The smallest change that would be seen, by how long it runs"
    if "units_per_day" not in asked or not baseline["value"]:
        return Markup(""), caption, [], []
    known = {"kind": "mean", "value": baseline["value"], "std": baseline["unit_std"], "solve_for": "effect"}
    known |= {name: asked[name] for name in ("alpha", "power", "treatment_share")}
    found: list[tuple[int, list[float]]] = []
    for weeks in WEEKS:
        effects = []
        for units in (asked["units_per_day"] * 7 * weeks, asked["units_per_day"] * 7 * weeks / factor):
            one = PowerRequest.model_validate({"metric": known | {"units": max(4, round(units))}})
            answered: JsonObject = power.plan(engine, one).as_json()
            effects.append(abs(answered["plan"]["effect"] / baseline["value"]))
        found.append((weeks, effects))
    names = ("one look at the end", "looking whenever you like")
    series = [
        charts.Series(name, [Point(weeks, effects[place]) for weeks, effects in found])
        for place, name in enumerate(names)
    ]
    chart = charts.lines(
        series, title=caption, unit="relative change", x_unit="weeks", write=percent, edges=(0.0, None)
    )
    rows = [[plural(weeks, "week"), *(percent(effect) for effect in effects)] for weeks, effects in found]
    return chart, caption, ["Running for", *names], rows


def bandit_answer(engine: Engine, asked: Asked) -> Answer:
    """What learning would earn, by simulation; ``asked`` is a ``BanditPlan``."""
    answered: JsonObject = power.plan(engine, PowerRequest.model_validate({"bandit": asked})).as_json()
    plan = answered["plan"]
    means = plan["means"]
    named = means if isinstance(means, dict) else {f"action {place}": mean for place, mean in enumerate(means, 1)}
    first, best = next(iter(named)), max(named, key=lambda name: named[name])
    words = [
        f"At the end, {percent(plan['best_share'], 0)} of all decisions had gone to the best action ({best}), and a "
        f"decision had earned {number(plan['mean_reward'])} on average; choosing all alike would have earned "
        f"{number(plan['uniform_reward'])}."
    ]
    if plan["power"] is None:
        words.append(as_sentence(plan["reason"]))
    else:
        words.append(
            f"In {percent(plan['power'], 0)} of {RUNS} simulated experiments the results showed that {best} beats {first}."
        )
        if plan["coverage"] < TRUSTED_COVERAGE:
            words.append(
                "Their intervals were too narrow too often: plan more decisions before you trust such a result."
            )
    rows = [
        charts.Row(f"always {first} (the control)", named[first]),
        charts.Row("every action equally often", plan["uniform_reward"]),
        charts.Row("learning", plan["mean_reward"], strong=True),
    ]
    if best != first:
        rows.append(charts.Row(f"always {best}, had it been known", named[best]))
    caption = "What a decision earns on average"
    chart = charts.bars(rows, title=caption, unit="reward per decision")
    table = [[row.label, number(row.value)] for row in rows]
    return Answer(
        words, chart, caption, ["Way of choosing", "Reward per decision"], table, list(answered["assumptions"])
    )
