"""What was typed as the configuration document that ``parse_config`` reads, and the other way round for changes.

Only the reading of texts is judged here (is it a number, is it JSON); the rules of an experiment are the service's.
"""

import json
from decimal import Decimal
from typing import Any

from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.typed import UNITS, span, text
from app.wizard import composition as wizard_composition
from app.wizard import feedback as wizard_feedback
from app.wizard import message as wizard_message
from app.wizard import people as wizard_people
from app.wizard.form import FORMS, Typed, of_step
from app.wizard.numbers import Problems, Reader, whole
from bandits.policy import ALGORITHMS, COMMON, DEFAULT_INTERACTIONS

HOLDOUT = "holdout"
_TEXTS = {  # texts of a metric's source
    "value": ("metric", "per"),
    "count": ("metric", "per"),
    "ratio": ("numerator", "denominator"),
    "retention": (),
    "sessions": (),
    "reward": (),
}


def document_of(typed: Typed) -> tuple[dict[str, Any], Problems]:
    """The configuration document, complete in its lists even where texts are wrong, and the mistakes of reading."""
    problems: Problems = {step: {} for step in FORMS}
    purpose = of_step(typed, "purpose")
    document: dict[str, Any] = {
        "key": purpose["key"].strip(),
        "name": purpose["name"].strip(),
        "hypothesis": purpose["hypothesis"],
    }
    reader = Reader(problems, "actions")
    actions = of_step(typed, "actions")
    composed = actions["among"] == "composed"
    rows = [] if composed else actions["rows"]
    document["actions"] = [action_of(row, f"rows-{place}-", reader) for place, row in enumerate(rows)]
    # A draft from before a part had a form says nothing of it.
    if actions["among"]:
        document["composition"] = (
            wizard_composition.composition_of(actions["composition"], reader) if composed else None
        )
    if "variables" in typed.get("actions", ()):
        document["variables"] = wizard_message.variables_of(actions["variables"], reader)
    if "people" in typed:
        document |= wizard_people.people_of(of_step(typed, "people"), Reader(problems, "people"))
    if "confidence" in typed.get("reward", ()):
        document["feedback"] = wizard_feedback.feedback_of(of_step(typed, "reward"), Reader(problems, "reward"))
    document |= _arms(of_step(typed, "arms"), Reader(problems, "arms"))
    document["reward"] = _reward(of_step(typed, "reward"), Reader(problems, "reward"))
    document |= _metrics(of_step(typed, "metrics"), Reader(problems, "metrics"))
    return document, problems


def action_of(row: dict[str, str], prefix: str, reader: Reader) -> dict[str, Any]:
    """One typed action."""
    if row["kind"] == "json":
        payload = reader.json(row["payload"], f"{prefix}payload")
    else:
        payload = {name: row[name] for name in ("title", "text") if row[name]} or None
    features = reader.json(row["features"], f"{prefix}features")
    found = {"id": row["id"].strip(), "features": {} if features is None else features, "payload": payload}
    template = wizard_message.template_of(row["template"], prefix, reader)
    return found if template is None else found | {"template": template}


def _arms(typed: Typed, reader: Reader) -> dict[str, Any]:
    arms = []
    for place, row in enumerate(typed["rows"]):
        share = reader.number(row["share"], f"rows-{place}-share", Decimal("0.01"), needed="Give a share, 0 to 100.")
        arms.append({"key": row["key"].strip(), "share": share or 0.0, "policy": _policy(row, place, reader)})
    control = typed["control"]
    chosen = arms[int(control)] if control.isdecimal() and int(control) < len(arms) else None
    if typed["holdout"]:
        share = reader.number(
            typed["holdout_share"], "holdout_share", Decimal("0.01"), needed="Give a share, 0 to 100."
        )
        if chosen is None:
            reader.wrong("holdout_share", "A holdout gets what the control gets: choose the control first.")
        arms.append(
            {"key": HOLDOUT, "share": share or 0.0, "policy": (chosen or {}).get("policy", {"type": "uniform"})}
        )
    return {"arms": arms, "control_arm": None if chosen is None else chosen["key"]}


def _policy(row: dict[str, str], place: int, reader: Reader) -> dict[str, Any]:
    if row["kind"] == "fixed":
        return {"type": "fixed", "action": row["action"].strip()}
    if row["kind"] != "bandit":
        return {"type": row["kind"] or "uniform"}
    policy: dict[str, Any] = {"type": "bandit", "algorithm": row["algorithm"]}
    parameters: dict[str, Any] = {}
    for name in {**COMMON, **ALGORITHMS.get(row["algorithm"], {})}:
        found = reader.number(row[name], f"rows-{place}-{name}")
        if found is not None:
            parameters[name] = int(found) if found == int(found) else found
    policy["parameters"] = parameters | {"interactions": row["interactions"].split()}
    floor = reader.number(row["floor"], f"rows-{place}-floor", Decimal("0.01"))
    return policy | ({} if floor is None else {"exploration_floor": floor})


def _reward(typed: Typed, reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {"aggregation": typed["aggregation"] or "sum"}
    unit = UNITS.get(typed["unit"], 1)
    found["window_s"] = reader.number(
        typed["window"], "window", unit, needed="Say how long a decision waits for rewards."
    )
    for name, needed in (
        ("default", "Say what a decision is worth for which nothing is reported; mostly 0."),
        ("min", "Give the smallest value that can be reported."),
        ("max", "Give the largest value that can be reported."),
    ):
        found[name] = reader.number(typed[name], name, needed=needed)
    return {name: value for name, value in found.items() if value is not None}


def _metrics(typed: Typed, reader: Reader) -> dict[str, Any]:
    rule = {
        "alpha": reader.number(typed["alpha"], "alpha", Decimal("0.01")),
        "min_units": whole(reader.number(typed["min_units"], "min_units")),
        "min_days": reader.number(typed["min_days"], "min_days"),
        "max_days": reader.number(typed["max_days"], "max_days"),
    }
    return {
        "metrics": [_metric(row, f"rows-{place}-", reader) for place, row in enumerate(typed["rows"])],
        "segments": list(dict.fromkeys(wizard_people.listed_names(typed["segments"]))),
        "decision_rule": {name: value for name, value in rule.items() if value is not None},
    }


def _metric(row: dict[str, str], prefix: str, reader: Reader) -> dict[str, Any]:
    source: dict[str, Any] = {"type": row["type"]} | {name: row[name].strip() for name in _TEXTS.get(row["type"], ())}
    if row["type"] == "retention":
        source["days"] = reader.number(row["days"], f"{prefix}days", needed="Say after how many days.") or 1.0
    if row["type"] == "sessions" and row["gap"].strip():
        source["gap_s"] = reader.number(row["gap"], f"{prefix}gap", 60) or 1800.0
    found = {"key": row["key"].strip(), "name": row["name"].strip(), "role": row["role"], "direction": row["direction"]}
    numbers = {
        "window_s": reader.number(row["window"], f"{prefix}window", UNITS.get(row["unit"], 1)),
        "winsorize": reader.number(row["winsorize"], f"{prefix}winsorize", Decimal("0.01")),
        "min_effect": reader.number(row["min_effect"], f"{prefix}min_effect", Decimal("0.01")),
    }
    return found | {"source": source} | {name: value for name, value in numbers.items() if value is not None}


def typed_of(config: dict[str, Any]) -> Typed:
    """A stored configuration as texts; typed back without a change they give the same configuration."""
    known = ExperimentConfig.model_validate(config).model_dump(mode="json")
    reward, rule = known["reward"], known["decision_rule"]
    window, unit = span(reward["window_s"])
    plain = {name: text(reward[name]) for name in ("default", "min", "max")}
    return {
        "purpose": {name: known[name] for name in ("name", "key", "hypothesis")},
        "actions": {
            "rows": [typed_action(action, str(n)) for n, action in enumerate(known["actions"])],
            "variables": [wizard_message.typed_variable(one) for one in known["variables"]],
            **_typed_composition(known.get("composition")),
        },
        "arms": _typed_arms(known),
        "reward": plain
        | {"window": window, "unit": unit, "aggregation": reward["aggregation"], "example": plain["max"]}
        | wizard_feedback.typed_feedback(known.get("feedback")),
        "people": wizard_people.typed_people(known),
        "metrics": {
            "rows": [_typed_metric(metric) for metric in known["metrics"]],
            "segments": wizard_people.names_as_text(known["segments"]),
            "alpha": text(rule["alpha"], 100),
            **{name: text(rule[name]) for name in ("min_units", "min_days", "max_days")},
        },
    }


def typed_action(action: dict[str, Any], row: str) -> dict[str, str]:
    """One action of a configuration as texts."""
    payload = action["payload"]
    plain = isinstance(payload, dict) and payload and set(payload) <= {"title", "text"}
    plain = plain and all(isinstance(text, str) and text and "\r" not in text for text in payload.values())
    plain = plain and list(payload) == sorted(payload, reverse=True)
    found = dict.fromkeys(("title", "text", "payload", "features", "template"), "") | {
        "row": row,
        "id": action["id"],
        "kind": "text",
    }
    if plain:
        found |= payload
    elif payload is not None:
        found |= {"kind": "json", "payload": _json(payload)}
    if action.get("template"):
        found["template"] = _json(action["template"])
    return found | {"features": "" if action["features"] == {} else _json(action["features"])}


def _typed_composition(spec: dict[str, Any] | None) -> Typed:
    if spec is None:
        return {"among": "list"}
    return {"among": "composed", "composition": wizard_composition.typed_composition(spec)}


def _typed_arms(known: dict[str, Any]) -> Typed:
    arms = list(known["arms"])
    control = next((arm for arm in arms if arm["key"] == known["control_arm"]), None)
    holdout: dict[str, str] = {"holdout": "", "holdout_share": ""}
    last = arms[-1]
    if control is not None and last["key"] == HOLDOUT != control["key"] and last["policy"] == control["policy"]:
        holdout = {"holdout": "yes", "holdout_share": text(arms.pop()["share"], 100)}
    rows = []
    for arm in arms:
        policy = arm["policy"]
        parameters = policy.get("parameters", {})
        row = {"key": arm["key"], "share": text(arm["share"], 100), "kind": policy["type"]}
        row |= {"action": policy.get("action", ""), "algorithm": policy.get("algorithm", "")}
        row |= {"floor": text(policy.get("exploration_floor"), 100)}
        row |= {name: text(value) for name, value in parameters.items() if name != "interactions"}
        rows.append(row | {"interactions": " ".join(parameters.get("interactions", DEFAULT_INTERACTIONS))})
    place = "" if control is None else str(arms.index(control))
    return {"rows": rows, "control": place} | holdout


def _typed_metric(metric: dict[str, Any]) -> dict[str, str]:
    source = metric["source"]
    window, unit = ("", "days") if metric["window_s"] is None else span(metric["window_s"])
    row = {name: metric[name] for name in ("key", "name", "role", "direction")} | {"window": window, "unit": unit}
    row |= {"winsorize": text(metric["winsorize"], 100), "min_effect": text(metric["min_effect"], 100)}
    row |= {"type": source["type"], "days": text(source.get("days"))}
    row |= {"gap": text(Decimal(repr(source["gap_s"])) / 60) if "gap_s" in source else ""}
    row |= {name: source.get(name, "") for name in ("metric", "numerator", "denominator")}
    return row | {"per": source.get("per", "decision")}


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
