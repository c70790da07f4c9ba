"""Converts a stored definition into typed texts; read back unchanged, they give the same definition."""

import json

from app.design.experiment_config import ExperimentConfig
from app.foundation.formats.typed_values import as_text
from app.foundation.pages.fields.kinds import Typed, names_as_text
from app.wizard.document import HOLDOUT, Document
from app.wizard.form import ACTION, ARM, COMPOSITION, FALLBACK, FEEDBACK, FORMS, PART, SCHEMA, VARIABLE, WHOLE


def typed_of(config: Document) -> Typed:
    """Every field of the forms."""
    known = ExperimentConfig.model_validate(config).model_dump(mode="json")
    spec = known.get("composition")
    tree = WHOLE.of_document({**known, "control_arm": "", "composition": {}, "lists": known.get("lists") or {}})
    tree["actions"] = [typed_action(action, str(index)) for index, action in enumerate(known["actions"])]
    tree["variables"] = [_typed_variable(variable) for variable in known["variables"]]
    if spec is not None:
        tree |= {"actions:among": "composed", "composition": _typed_composition(spec)}
    elif known.get("lists") is not None:
        tree["actions:among"] = "ranked"
    tree |= _typed_arms(known)
    tree["reward:example"] = tree["reward"]["max"]
    feedback = known.get("feedback") or {}
    stars = {str(index): value for index, value in enumerate(feedback.get("stars") or [])}
    reasons = [{"name": name, "value": value} for name, value in (feedback.get("reasons") or {}).items()]
    tree["feedback"] = FEEDBACK.of_document(feedback | {"stars": stars, "reasons": reasons})
    tree["context_schema"] = [_typed_field(field) for field in known.get("context_schema") or []]
    fields = known.get("context_fields")
    tree["profile:kept"] = "yes" if known.get("profile") else ""
    tree["context_fields:kind"] = "all" if fields is None else "only"
    tree["context_fields:names"] = names_as_text([field["name"] for field in fields or []])
    tree["context_fields:hashed"] = names_as_text([field["name"] for field in fields or [] if field["hashed"]])
    return tree


def typed_action(action: Document, row: str) -> Typed:
    """One action of a definition as it is typed."""
    template = action.get("template") or {"channel": "", "texts": {}}
    texts = [{"locale": locale, **text} for locale, text in template["texts"].items()]
    tree = ACTION.of_document(action | {"template": template | {"texts": texts or [{"locale": "en"}]}})
    return tree | {":row": row}


def _typed_field(field: Document) -> Typed:
    example = field["example"]
    text = as_text(example) if field["type"] != "other" or example is None else json.dumps(example, ensure_ascii=False)
    return SCHEMA.of_document(field | {"example": text})


def _typed_variable(variable: Document) -> Typed:
    sample = variable["sample"]
    kind = "yes_no" if isinstance(sample, bool) else "text" if isinstance(sample, str) else "number"
    text = {"yes_no": "yes" if sample else "no", "text": sample, "number": json.dumps(sample)}[kind]
    return VARIABLE.of_document(variable) | {"sample": text, "sample:kind": kind}


def _typed_composition(spec: Document) -> Typed:
    parts = [part for slot in spec["slots"] for part in slot["parts"]]
    languages = list(dict.fromkeys(locale for part in parts for locale in part["texts"]))
    tree = COMPOSITION.of_document({"channel": spec["channel"], "allow_nothing": spec["allow_nothing"]})
    rows, slots = {}, []
    for index, slot in enumerate(spec["slots"]):
        typed_parts = []
        for number, part in enumerate(slot["parts"]):
            row = rows[slot["name"], part["id"]] = f"{index}.{number}"
            texts = [part["texts"].get(locale) for locale in languages]
            typed_texts = [{"text": text or "", "nothing": "yes" if text == "" else ""} for text in texts]
            typed_parts.append(PART.of_document(part | {"texts": []}) | {":row": row, "texts": typed_texts})
        slots.append({"name": slot["name"], "place": slot["place"], "parts": typed_parts})
    pairs = [" ".join(rows[part["slot"], part["part"]] for part in pair) for pair in spec["forbidden"]]
    return tree | {"slots": slots, "slots:languages": [{"locale": locale} for locale in languages], "forbidden": pairs}


def _typed_arms(known: Document) -> Typed:
    arms = list(known["arms"])
    control = next((arm for arm in arms if arm["key"] == known["control_arm"]), None)
    result: Typed = {"arms:holdout": "", "arms:holdout_share": ""}
    last = arms[-1]
    if control is not None and last["key"] == HOLDOUT != control["key"] and last["policy"] == control["policy"]:
        arms.pop()
        result["arms:holdout"] = "yes"
        result |= FORMS["arms"].fields["arms:holdout_share"].typed(last["share"], "arms:holdout_share")
    result["arms"] = [ARM.of_document(arm | {"fallback": {}}) for arm in arms]
    for typed, arm in zip(result["arms"], arms, strict=True):
        fallback = arm.get("fallback") or {}
        to = fallback.get("to") or {"type": "control"}
        told = {"to": to["type"], "action": to.get("action", ""), "tell": not fallback.get("act", True)}
        typed["fallback"] = FALLBACK.of_document(fallback | told)
        for floor in ("exploration_floor", "exploration_floor_start"):
            if floor not in arm["policy"]:
                typed["policy"][floor] = ""
    return result | {"control_arm": "" if control is None else str(arms.index(control))}
