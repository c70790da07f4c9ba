"""Drafts keep what was typed in the shape of the definition that it makes, by the names of its fields."""

import json
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

Step = dict[str, Any]
PARAMETERS = (
    *("learning_rate", "power_t", "l2", "bits", "epsilon", "lambda_", "bags", "policies", "psi"),
    *("gamma_scale", "gamma_exponent", "mellowness", "explore_first"),
)


def upgrade() -> None:
    connection = op.get_bind()
    for draft_id, typed in connection.execute(
        sa.text("SELECT id, typed FROM drafts ORDER BY id FOR UPDATE")
    ).fetchall():
        made = json.dumps({"saved": [*typed], "document": document_of(typed)}, ensure_ascii=False)
        connection.execute(
            sa.text("UPDATE drafts SET typed = CAST(:typed AS json) WHERE id = :id"), {"typed": made, "id": draft_id}
        )


def document_of(typed: dict[str, Step]) -> dict[str, Any]:
    """What was typed, step by step, as one document; what a step never said is not in it."""
    makers: dict[str, Callable[[Step], Step]] = {
        "purpose": lambda step: {name: step[name] for name in ("key", "name", "hypothesis") if name in step},
        **{"actions": _actions, "arms": _arms, "reward": _reward, "people": _people, "metrics": _metrics},
        "plan": lambda step: {"plan": step},
    }
    return {
        name: part for step, fields in typed.items() if step in makers for name, part in makers[step](fields).items()
    }


def _renamed(fields: Step, names: dict[str, str]) -> Step:
    """Those of the fields that are there, by their new names."""
    return {new: fields[old] for old, new in names.items() if old in fields}


def _span(fields: Step, name: str, unit: str, new: str) -> Step:
    return _renamed(fields, {name: new, unit: f"{new}:unit"})


def _actions(step: Step) -> Step:
    found: Step = {"actions": [_action(row) for row in step.get("rows", [])]}
    if step.get("among"):
        found["actions:among"] = step["among"]
    if "variables" in step:
        names = {"name": "name", "kind": "sample:kind", "sample": "sample", "required": "required"}
        found["variables"] = [_renamed(row, names) for row in step["variables"]]
    if step.get("composition"):
        found["composition"] = _composition(step["composition"])
    return found


def _action(row: Step) -> Step:
    names = {"row": ":row", "id": "id", "kind": "payload:kind", "title": "payload:title", "text": "payload:text"}
    found = _renamed(row, names | {"payload": "payload", "features": "features"})
    found["payload:kind"] = found.get("payload:kind") or "text"
    message = json.loads(row["template"]) if row.get("template") else {}
    texts = message.get("texts", [])
    rows = [{"locale": locale, **text} for locale, text in texts.items()] if isinstance(texts, dict) else texts
    template = {"channel": message.get("channel", ""), "asks": message.get("asks", "")}
    return found | {"template": template | {"texts": rows or [{"locale": "en"}]}}


def _composition(kept: Step) -> Step:
    slots = []
    for slot in kept["slots"]:
        parts = []
        for part in slot["parts"]:
            pairs = zip(part["texts"], part["empty"], strict=True)
            texts = [{"text": text, "nothing": nothing} for text, nothing in pairs]
            parts.append({":row": part["row"], "id": part["id"], "features": part["features"], "texts": texts})
        slots.append({"name": slot["name"], "place": slot["place"], "parts": parts})
    return {
        "channel": kept["channel"],
        "allow_nothing": kept["nothing"],
        "slots:languages": [{"locale": locale} for locale in kept["languages"]],
        "slots": slots,
        "forbidden": [" ".join(pair) for pair in kept["pairs"]],
        "forbidden:first": kept.get("first", ""),
        "forbidden:second": kept.get("second", ""),
    }


def _arms(step: Step) -> Step:
    arms = []
    for row in step.get("rows", []):
        policy = _renamed(
            row, {"kind": "type", "action": "action", "algorithm": "algorithm", "floor": "exploration_floor"}
        )
        policy["parameters"] = _renamed(row, {name: name for name in PARAMETERS})
        if "interactions" in row:
            policy["parameters"]["interactions"] = row["interactions"].split()
        arms.append(_renamed(row, {"key": "key", "share": "share"}) | {"policy": policy})
    names = {"control": "control_arm", "holdout": "arms:holdout", "holdout_share": "arms:holdout_share"}
    return {"arms": arms} | _renamed(step, names)


def _reward(step: Step) -> Step:
    names = ("default", "aggregation", "min", "max")
    reward = _renamed(step, {name: name for name in names}) | _span(step, "window", "unit", "window_s")
    feedback = {
        "thumbs": _renamed(step, {"thumbs_up": "up", "thumbs_down": "down"}),
        "score": _renamed(step, {"score_low": "low", "score_high": "high"}),
        "stars": _renamed(step, {f"stars_{count}": str(count - 1) for count in range(1, 6)}),
        "reasons": [_renamed(row, {"name": "name", "value": "value"}) for row in step.get("rows", [])],
        **_renamed(step, {name: name for name in ("dismissed", "not_interested", "confidence", "limit")}),
        **_span(step, "mute", "mute_unit", "mute_s"),
        **_span(step, "limit_window", "limit_unit", "limit_window_s"),
    }
    return {"reward": reward, "feedback": feedback} | _renamed(step, {"example": "reward:example"})


def _people(step: Step) -> Step:
    caps = []
    for row in step.get("rows", []):
        own = _renamed(row, {name: name for name in ("limit", "channel", "action", "across")})
        caps.append(own | _span(row, "window", "unit", "window_s"))
    quiet = _renamed(step, {"quiet_start": "start", "quiet_end": "end", "quiet_zone": "time_zone"})
    profile = {f"profile_{name}": name for name in ("counts", "recency", "actions", "tags")} | {"lookback": "lookback"}
    return {
        "fatigue": {"caps": caps, "quiet_hours": quiet} | _span(step, "distance", "distance_unit", "min_distance_s"),
        "consent": _renamed(step, {f"consent_{name}": name for name in ("personalise", "learn", "analyse", "message")}),
        "profile": _renamed(step, profile) | _span(step, "half_life", "half_life_unit", "half_life_s"),
        **_renamed(step, {"profile": "profile:kept", "context": "context_fields:kind"}),
        **_renamed(step, {f"context_{name}": f"context_fields:{name}" for name in ("names", "hashed")}),
        **_span(step, "retention", "retention_unit", "retention_s"),
    }


def _metrics(step: Step) -> Step:
    metrics = []
    sources = ("type", "metric", "per", "numerator", "denominator", "days")
    for row in step.get("rows", []):
        own = _renamed(row, {name: name for name in ("key", "name", "role", "direction", "winsorize", "min_effect")})
        source = _renamed(row, {name: name for name in sources} | {"gap": "gap_s"})
        metrics.append(own | _span(row, "window", "unit", "window_s") | {"source": source})
    rule = _renamed(step, {name: name for name in ("alpha", "min_units", "min_days", "max_days")})
    return {"metrics": metrics, "decision_rule": rule} | _renamed(step, {"segments": "segments"})
