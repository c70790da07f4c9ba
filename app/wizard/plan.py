"""The planning step: what was typed as a question to ``services.power``, and its answer in plain words."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

from markupsafe import Markup
from pydantic import ValidationError
from sqlalchemy import Engine

from app.foundation.errors import FieldError, LoopwiseError, NotFound, Unavailable
from app.foundation.fields import pydantic_fields
from app.foundation.pages import charts
from app.foundation.pages.charts.parts import Point
from app.foundation.pages.fields import ABSENT, Findings, Number, Typed
from app.foundation.pages.format import number, percent, plural
from app.foundation.words import as_sentence
from app.reporting import power
from app.reporting.power import PowerRequest
from app.wizard.document import Document

WEEKS = (1, 2, 3, 4, 6, 8, 12)
RUNS = 100
MAX_ROUNDS = 20_000  # so many are simulated in well under a second
_NAMES = {"relative_effect": "effect", "units_per_day": "per_day", "treatment_share": "effect"}
_SLOW = (
    "That log is too long to be read while you wait. Type the baseline in: the experiment's results page shows the "
    "control's value."
)


class Answer(NamedTuple):
    """What a plan says."""

    words: list[str]  # paragraphs
    chart: Markup
    caption: str
    head: list[str]
    rows: list[list[str]]
    assumptions: list[str]


def answer(engine: Engine, typed: Typed, document: Document) -> tuple[Answer | None, dict[str, str]]:
    """The plan, or the mistakes by field."""
    findings = Findings()
    asked = _bandit(typed, findings) if typed["mode"] == "bandit" else _metric(typed, document, findings)
    if findings.problems:
        return None, {pointer: problem.on_page() for pointer, problem in findings.problems.items()}
    try:
        if typed["mode"] == "bandit":
            return _bandit_answer(power.plan(engine, PowerRequest.model_validate({"bandit": asked})).as_json()), {}
        return _metric_answer(engine, asked), {}
    except ValidationError as error:
        return None, _by_field(pydantic_fields(error))
    except Unavailable:
        return None, {"/plan/experiment": _SLOW}
    except NotFound as error:
        return None, {"/plan/experiment": error.detail}
    except LoopwiseError as error:
        return None, _by_field(error.fields) or {"/plan/mode": as_sentence(error.detail)}


def _by_field(fields: tuple[FieldError, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in fields:
        name = field.path.split("/")[2] if field.path.count("/") > 1 else "mode"
        found.setdefault(f"/plan/{_NAMES.get(name, name)}", field.on_page())
    return found


def _metric(typed: Typed, document: Document, findings: Findings) -> dict[str, Any]:
    asked: dict[str, Any] = {"kind": typed["kind"], "alpha": document["decision_rule"].get("alpha", 0.05)}
    if typed["source"] == "log":
        asked["experiment"] = typed["experiment"].strip()
        if not asked["experiment"]:
            findings.add("/plan/experiment", "plan_experiment")
    else:
        scale = "0.01" if typed["kind"] == "proportion" else "1"
        asked["value"] = _number(findings, typed, "value", scale, "plan_value")
        if typed["kind"] == "mean":
            asked["std"] = _number(findings, typed, "std", "1", "plan_std")
    asked["relative_effect"] = _number(findings, typed, "effect", "0.01", "plan_effect")
    asked["power"] = _number(findings, typed, "power", "0.01", "plan_power")
    per_day = _number(findings, typed, "per_day")
    control, other = _two_shares(document)
    if not control or not other:
        findings.add("/plan/mode", "plan_arms")
        return asked
    asked["treatment_share"] = other / (control + other)
    asked["units_per_day"] = None if per_day is None else per_day * (control + other)
    return {name: value for name, value in asked.items() if value is not None}


def _number(findings: Findings, typed: Typed, name: str, times: str = "1", needed: str = "") -> float | None:
    """A typed number in another unit; null when it is empty or none. ``needed``: the code of an empty one."""
    if needed and not typed[name].strip():
        findings.add(f"/plan/{name}", needed)
    found = Number(times=Decimal(times)).read(typed, name, f"/plan/{name}", findings)
    return None if found is ABSENT else float(found)


def _two_shares(document: Document) -> tuple[float, float]:
    """Shares of the control and of the largest arm beside it."""
    arms = [{"share": 0.0, **arm} for arm in document["arms"]]
    control = document["control_arm"] or (arms[0]["key"] if arms else "")
    mine = sum(arm["share"] for arm in arms if arm["key"] == control)
    return mine, max((arm["share"] for arm in arms if arm["key"] != control), default=0.0)


def _metric_answer(engine: Engine, asked: dict[str, Any]) -> Answer:
    answered: dict[str, Any] = power.plan(engine, PowerRequest.model_validate({"metric": asked})).as_json()
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
    engine: Engine, asked: dict[str, Any], baseline: dict[str, Any], factor: float
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
            answered: dict[str, Any] = power.plan(engine, one).as_json()
            effects.append(abs(answered["plan"]["effect"] / baseline["value"]))
        found.append((weeks, effects))
    names = ("one look at the end", "looking whenever you like")
    series = [
        charts.Series(name, [Point(weeks, effects[place]) for weeks, effects in found])
        for place, name in enumerate(names)
    ]
    chart = charts.lines(
        series, title=caption, unit="relative change", times=False, x_unit="weeks", write=percent, low=0.0
    )
    rows = [[plural(weeks, "week"), *(percent(effect) for effect in effects)] for weeks, effects in found]
    return chart, caption, ["Running for", *names], rows


def _bandit(typed: Typed, findings: Findings) -> dict[str, Any]:
    rounds = _number(findings, typed, "rounds", "1", "missing")
    if rounds is not None and not 100 <= rounds <= MAX_ROUNDS:
        findings.add("/plan/rounds", "plan_rounds", {"low": 100, "high": MAX_ROUNDS})
    asked: dict[str, Any] = {"rounds": int(rounds or 0), "batch": max(1, int(rounds or 0) // 50), "runs": RUNS}
    asked |= {"policy": typed["algorithm"], "floor": _number(findings, typed, "floor", "0.01", "plan_floor")}
    asked["reward_std"] = _number(findings, typed, "reward_std")
    if typed["source"] == "log":
        asked["experiment"] = typed["experiment"].strip()
        if not asked["experiment"]:
            findings.add("/plan/experiment", "plan_experiment")
    else:
        texts = [text for text in re.split(r"[\s;]+|,(?!\d)", typed["means"].strip()) if text]
        asked["means"] = [_number(findings, {"means": text}, "means") for text in texts]
        if len(texts) < 2:
            findings.add("/plan/means", "plan_means")
    return {name: value for name, value in asked.items() if value is not None}


def _bandit_answer(answered: dict[str, Any]) -> Answer:
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
        if plan["coverage"] < 0.9:
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
