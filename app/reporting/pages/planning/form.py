"""The planning step: turns typed texts into a question about the users that an experiment needs, or the gain of learning."""

import re
from decimal import Decimal

from pydantic import ValidationError
from sqlalchemy import Engine

from app.foundation.errors import FieldError, LoopwiseError, NotFound, Unavailable
from app.foundation.fields import JsonObject, pydantic_fields
from app.foundation.pages.fields.kinds import ABSENT, Findings, Number, Typed
from app.foundation.words import as_sentence
from app.reporting.pages.planning.answer import RUNS, Answer, Asked, bandit_answer, metric_answer

MAX_ROUNDS = 20_000  # simulated in well under a second
_NAMES = {"relative_effect": "effect", "units_per_day": "per_day", "treatment_share": "effect"}
_SLOW = (
    "That log is too long to be read while you wait. Type the baseline in: the experiment's results page shows the "
    "control's value."
)


def answer(engine: Engine, typed: Typed, document: JsonObject) -> tuple[Answer | None, dict[str, str]]:
    """The plan, or the errors by field."""
    findings = Findings()
    question = _bandit(typed, findings) if typed["mode"] == "bandit" else _metric(typed, document, findings)
    if findings.problems:
        return None, {pointer: problem.on_page() for pointer, problem in findings.problems.items()}
    try:
        if typed["mode"] == "bandit":
            return bandit_answer(engine, question), {}
        return metric_answer(engine, question, document["decision_rule"]), {}
    except ValidationError as error:
        return None, _by_field(pydantic_fields(error))
    except Unavailable:
        return None, {"/plan/experiment": _SLOW}
    except NotFound as error:
        return None, {"/plan/experiment": error.detail}
    except LoopwiseError as error:
        return None, _by_field(error.fields) or {"/plan/mode": as_sentence(error.detail)}


def _by_field(fields: tuple[FieldError, ...]) -> dict[str, str]:
    result: dict[str, str] = {}
    for field in fields:
        name = field.path.split("/")[2] if field.path.count("/") > 1 else "mode"
        result.setdefault(f"/plan/{_NAMES.get(name, name)}", field.on_page())
    return result


def _metric(typed: Typed, document: JsonObject, findings: Findings) -> Asked:
    question: Asked = {"kind": typed["kind"], "alpha": document["decision_rule"].get("alpha", 0.05)}
    question["declared"] = "planned_units" in document["decision_rule"]
    if typed["source"] == "log":
        question["experiment"] = typed["experiment"].strip()
        if not question["experiment"]:
            findings.add("/plan/experiment", "plan_experiment")
    else:
        scale = "0.01" if typed["kind"] == "proportion" else "1"
        question["value"] = typed_number(findings, typed, "value", scale, "plan_value")
        if typed["kind"] == "mean":
            question["std"] = typed_number(findings, typed, "std", "1", "plan_std")
    question["relative_effect"] = typed_number(findings, typed, "effect", "0.01", "plan_effect")
    question["power"] = typed_number(findings, typed, "power", "0.01", "plan_power")
    per_day = typed_number(findings, typed, "per_day")
    control, other = _two_shares(document)
    if not control or not other:
        findings.add("/plan/mode", "plan_arms")
        return question
    question["treatment_share"] = other / (control + other)
    question["units_per_day"] = None if per_day is None else per_day * (control + other)
    return {name: value for name, value in question.items() if value is not None}


def typed_number(findings: Findings, typed: Typed, name: str, times: str = "1", needed: str = "") -> float | None:
    """A typed number in another unit; null if it is empty or not a number. ``needed``: the error code of an empty field."""
    if needed and not typed[name].strip():
        findings.add(f"/plan/{name}", needed)
    result = Number(times=Decimal(times)).read(typed, name, f"/plan/{name}", findings)
    return None if result is ABSENT else float(result)


def _two_shares(document: JsonObject) -> tuple[float, float]:
    """Shares of the control and of the largest other arm."""
    arms = [{"share": 0.0, **arm} for arm in document["arms"]]
    control = document["control_arm"] or (arms[0]["key"] if arms else "")
    control_share = sum(arm["share"] for arm in arms if arm["key"] == control)
    return control_share, max((arm["share"] for arm in arms if arm["key"] != control), default=0.0)


def _bandit(typed: Typed, findings: Findings) -> Asked:
    rounds = typed_number(findings, typed, "rounds", "1", "missing")
    if rounds is not None and not 100 <= rounds <= MAX_ROUNDS:
        findings.add("/plan/rounds", "plan_rounds", {"low": 100, "high": MAX_ROUNDS})
    question: Asked = {"rounds": int(rounds or 0), "batch": max(1, int(rounds or 0) // 50), "runs": RUNS}
    question |= {"policy": typed["algorithm"], "floor": typed_number(findings, typed, "floor", "0.01", "plan_floor")}
    question["reward_std"] = typed_number(findings, typed, "reward_std")
    if typed["source"] == "log":
        question["experiment"] = typed["experiment"].strip()
        if not question["experiment"]:
            findings.add("/plan/experiment", "plan_experiment")
    else:
        texts = [text for text in re.split(r"[\s;]+|,(?!\d)", typed["means"].strip()) if text]
        question["means"] = [typed_number(findings, {"means": text}, "means") for text in texts]
        if len(texts) < 2:
            findings.add("/plan/means", "plan_means")
    return {name: value for name, value in question.items() if value is not None}
