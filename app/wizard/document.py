"""Converts typed texts into the definition that the rules check (``typed`` does the reverse).

A form's fields make their own values (see ``form``); this module makes the values that depend on several fields.
"""

import re
from typing import Final

from app.design.experiment_config import OPTIONAL_PARTS, FallbackSpec
from app.design.feedback_config import DEFAULT_LIMITS
from app.design.pages.definition_fields import POLICY, policy_of
from app.design.people_config import PURPOSES
from app.design.safety_config import DEFAULT_SAFETY
from app.foundation.fields import JsonObject
from app.foundation.formats.typed_values import single_value
from app.foundation.pages.fields.kinds import ABSENT, Findings, Json, Number, Typed
from app.wizard import form
from bandits.parameters import LEARNERS

Document = JsonObject  # a definition as the API takes it
HOLDOUT: Final = "holdout"
_YES_NO: Final = {"yes": True, "true": True, "no": False, "false": False}
_SOURCES: Final = {  # by type, the fields of a metric's source
    "reward": ("per",),
    "value": ("metric", "per"),
    "count": ("metric", "per"),
    "ratio": ("numerator", "denominator"),
    "retention": ("days", "until_days"),
    "sessions": ("gap_s",),
    "quantile": ("metric", "quantile"),
    "event": ("event", "value", "field", "late_s"),
}
_COVARIATES: Final = {"context": ("field",), "history": ("days",)}  # by type, the fields of a metric's covariate
_LIMITS: Final = DEFAULT_LIMITS.model_dump(exclude_none=True)
_SILENT: Final[dict[str, Document]] = {  # parts of a definition that have no effect, but may be stored
    "fatigue": {"caps": [], "quiet_hours": None, "min_distance_s": None},
    "consent": dict.fromkeys(PURPOSES, "unless_denied"),
    "feedback": DEFAULT_LIMITS.model_dump(),
    "safety": DEFAULT_SAFETY.model_dump(),
}


def document_of(draft: Typed, findings: Findings, before: Document | None = None) -> Document:
    """The definition that was typed.

    :param before: the definition that it changes. Its parts without a saved form stay as they are, and so do parts without
        effect.
    """
    tree = form.WHOLE.complete(draft)
    document = form.FORMS["purpose"].values(tree, "", findings)
    document |= _actions(tree, findings) | _arms(tree, findings)
    document["reward"] = form.FORMS["reward"].fields["reward"].read(tree, "reward", "/reward", findings)
    formula = tree["reward_formula"]
    document["reward_formula"] = form.FORMULA.values(formula, "/reward_formula", findings) if formula["text"] else None
    document["feedback"] = _feedback(tree["feedback"], findings)
    document["safety"] = _safety(tree["safety"], findings)
    document |= _people(tree, findings)
    document["metrics"] = [_metric(row, f"/metrics/{index}", findings) for index, row in enumerate(tree["metrics"])]
    document |= form.FORMS["metrics"].values(tree, "", findings, ["segments", "decision_rule"])
    if before is None:
        return document
    typed_names = {name.partition(":")[0] for name in draft}
    unsaid = {
        name: before[name] for name in (*OPTIONAL_PARTS, "variables") if name in before and name not in typed_names
    }
    silent = {
        name: before[name] for name, spec in _SILENT.items() if document[name] is None and before.get(name) == spec
    }
    reasons_before = (before.get("feedback") or {}).get("reasons")
    if reasons_before == {} and not tree["feedback"]["reasons"]:  # an empty object: the schema takes no reasons
        silent["feedback"] = (document["feedback"] or {}) | {"reasons": {}}
    return document | silent | unsaid


def _actions(tree: Typed, findings: Findings) -> Document:
    composed = tree["actions:among"] == "composed"
    rows = [] if composed else tree["actions"]
    variables = enumerate(tree["variables"])
    return {
        "actions": [_action(row, f"/actions/{index}", findings) for index, row in enumerate(rows)],
        "variables": [_variable(row, f"/variables/{index}", findings) for index, row in variables],
        "composition": _composition(tree["composition"], findings) if composed else None,
        "lists": form.LISTS.values(tree["lists"], "/lists", findings) if tree["actions:among"] == "ranked" else None,
    }


def _action(row: Typed, pointer: str, findings: Findings) -> Document:
    result = form.ACTION.values(row, pointer, findings, ["id", "features", "payload"])
    template = _template(row["template"], f"{pointer}/template", findings)
    return result if template is None else result | {"template": template}


def says_something(template: Typed) -> bool:
    """True when a message has texts."""
    return any(text.strip() for row in template["texts"] for name, text in row.items() if name != "locale")


def _template(typed: Typed, pointer: str, findings: Findings) -> Document | None:
    if not typed["channel"]:
        if says_something(typed):
            findings.add(f"{pointer}/channel", "texts_without_channel")
        return None
    result = form.TEMPLATE.values(typed, pointer, findings, ["channel", "asks"])
    texts: dict[str, Typed] = {}
    for index, row in enumerate(typed["texts"]):
        locale = row["locale"].strip()
        if locale in texts:
            findings.add(f"{pointer}/texts/{index}/locale", "locale_repeated")
            continue
        texts[locale] = {name: text for name, text in row.items() if name != "locale"}
        findings.moved[f"{pointer}/texts/{locale}"] = f"{pointer}/texts/{index}"
        findings.moved[f"{pointer}/texts/{locale}/[key]"] = f"{pointer}/texts/{index}/locale"
    return result | {"texts": texts}


def _variable(row: Typed, pointer: str, findings: Findings) -> Document:
    result = form.VARIABLE.values(row, pointer, findings)
    text = row["sample"].strip()
    if row["sample:kind"] == "yes_no":
        if text.lower() not in _YES_NO:
            findings.add(f"{pointer}/sample", "not_true_or_false")
        return result | {"sample": _YES_NO.get(text.lower(), False)}
    if row["sample:kind"] == "number":
        value = Number(needed=True).read(row, "sample", f"{pointer}/sample", findings)
        exact = int(text) if re.fullmatch(r"-?\d{1,30}", text) else None
        if exact is not None and not -(2**63) <= exact < 2**63:
            findings.add(f"{pointer}/sample", "number_too_large")
            exact = 0
        return result | {"sample": exact if exact is not None else 0.0 if value is ABSENT else value}
    return result | {"sample": row["sample"]}


def _composition(typed: Typed, findings: Findings) -> Document:
    here = "/composition"
    languages = [row["locale"].strip() for row in typed["slots:languages"]]
    for index, locale in enumerate(languages):
        if locale in languages[:index]:
            findings.add(f"{here}/slots:languages/{index}/locale", "language_repeated")
    result = form.COMPOSITION.values(typed, here, findings, ["channel", "allow_nothing", "slots"])
    named = {}
    for index, (slot, typed_slot) in enumerate(zip(result["slots"], typed["slots"], strict=True)):
        for number, (part, row) in enumerate(zip(slot["parts"], typed_slot["parts"], strict=True)):
            texts = f"{here}/slots/{index}/parts/{number}/texts"
            part["texts"] = _part_texts(row["texts"], languages, texts, findings)
            named[row[":row"]] = {"slot": slot["name"], "part": part["id"]}
    for side, other in (("first", "second"), ("second", "first")):
        if typed[f"forbidden:{other}"] and not typed[f"forbidden:{side}"]:
            findings.add(f"{here}/forbidden:{side}", "half_a_pair")
    pairs = [pair.split(" ") for pair in typed["forbidden"]]
    return result | {"forbidden": [[named[row] for row in pair] for pair in pairs if named.keys() >= {*pair}]}


def _part_texts(rows: list[Typed], languages: list[str], pointer: str, findings: Findings) -> dict[str, str]:
    texts: dict[str, str] = {}
    for index, (locale, row) in enumerate(zip(languages, rows, strict=False)):
        findings.moved.setdefault(f"{pointer}/{locale}", f"{pointer}/{index}/text")
        findings.moved.setdefault(f"{pointer}/{locale}/[key]", f"/composition/slots:languages/{index}/locale")
        if row["text"] or row["nothing"]:
            texts.setdefault(locale, row["text"])
    if not texts:
        findings.add(f"{pointer}/0/text", "part_without_text")
        findings.moved[pointer] = f"{pointer}/0/text"
    return texts


def _arms(tree: Typed, findings: Findings) -> Document:
    arms = []
    for index, row in enumerate(tree["arms"]):
        arm = form.ARM.values(row, f"/arms/{index}", findings, ["key", "share", "lineage_of"])
        policy = policy_of(POLICY, row["policy"], f"/arms/{index}/policy", findings)
        if tree["actions:among"] == "composed" and policy.get("algorithm") in LEARNERS:
            policy.pop("algorithm")  # the default of composed messages, which cannot have these
            policy.pop("parameters")
        fallback = _fallback(row["fallback"], f"/arms/{index}/fallback", findings)
        if policy["type"] == "bandit" and fallback != FallbackSpec().model_dump():
            arm["fallback"] = fallback
        if policy["type"] == "bandit":
            arm["apprentice"] = bool(row["apprentice"])
        arms.append(arm | {"policy": policy})
    control = tree["control_arm"]
    chosen = arms[int(control)] if control.isdecimal() and int(control) < len(arms) else None
    if tree["arms:holdout"]:
        if chosen is None:
            findings.add("/arms:holdout_share", "holdout_without_control")
        findings.moved[f"/arms/{len(arms)}"] = "/arms:holdout_share"
        field = form.FORMS["arms"].fields["arms:holdout_share"]
        share = field.read(tree, "arms:holdout_share", "/arms:holdout_share", findings)
        policy = (chosen or {}).get("policy", {"type": "uniform"})
        arms.append({"key": HOLDOUT, "policy": policy, **({} if share is ABSENT else {"share": share})})
    return {"arms": arms, "control_arm": None if chosen is None else chosen["key"]}


def _fallback(typed: Typed, pointer: str, findings: Findings) -> Document:
    """The fallback of an arm that learns; its control's policy unless another is chosen."""
    result: Document = form.FALLBACK.values(typed, pointer, findings, ["margin", "probe"])
    result |= {"act": not typed["tell"], "to": None}
    if typed["to"] != "control":
        result["to"] = {"type": typed["to"]} | ({"action": typed["action"].strip()} if typed["to"] == "fixed" else {})
        findings.moved[f"{pointer}/to/action"] = f"{pointer}/action"
    return result


def _metric(row: Typed, pointer: str, findings: Findings) -> Document:
    names = ["type", *_SOURCES.get(row["source"]["type"], ())]
    if not row["source"]["field"]:  # only a sum needs one, and asks for it
        names = [name for name in names if name != "field"]
    simple = [name for name in form.METRIC.fields if name not in ("source", "covariate")]
    result = form.METRIC.values(row, pointer, findings, simple)
    result["source"] = form.SOURCE.values(row["source"], f"{pointer}/source", findings, names)
    of = row["covariate"]["type"]
    if of in _COVARIATES:
        fields = ["type", *_COVARIATES[of]]
        result["covariate"] = form.COVARIATE.values(row["covariate"], f"{pointer}/covariate", findings, fields)
    return result


def _feedback(typed: Typed, findings: Findings) -> Document | None:
    """The schema; null if no answer has a reward and all other fields have their defaults."""
    result: Document = form.FEEDBACK.values(typed, "/feedback", findings)
    for name, code in (("thumbs", "both_values"), ("score", "both_values"), ("stars", "all_values")):
        if not any(text.strip() for text in typed[name].values()):
            del result[name]
        for side, text in typed[name].items() if name in result else ():
            if not text.strip():
                findings.add(f"/feedback/{name}/{side}", code)
    if "stars" in result:
        result["stars"] = [result["stars"].get(index, 0.0) for index in typed["stars"]]
    result["reasons"] = _reasons(typed["reasons"], result["reasons"], findings)
    result = {name: value for name, value in result.items() if name != "reasons" or value}
    return result if result.keys() - _LIMITS.keys() or _LIMITS | result != _LIMITS else None


def _safety(typed: Typed, findings: Findings) -> Document | None:
    """What is done about data that cannot be trusted; null if all is as by default."""
    result: Document = form.SAFETY.values(typed, "/safety", findings)
    return None if DEFAULT_SAFETY.model_dump() == DEFAULT_SAFETY.model_dump() | result else result


def _reasons(rows: list[Typed], values: list[Document], findings: Findings) -> dict[str, float]:
    result: dict[str, float] = {}
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        if not row["name"]:
            findings.add(f"/feedback/reasons/{index}/name", "reason_without_name")
        elif row["name"] in result:
            findings.add(f"/feedback/reasons/{index}/name", "reason_repeated")
        else:
            result[row["name"]] = value.get("value", 0.0)
            findings.moved[f"/feedback/reasons/{row['name']}"] = f"/feedback/reasons/{index}/value"
    return result


def _people(tree: Typed, findings: Findings) -> Document:
    result: Document = form.FORMS["people"].values(tree, "", findings, ["fatigue", "repeats", "consent", "retention_s"])
    fatigue, repeats = result["fatigue"], result["repeats"]
    if not any(fatigue["quiet_hours"].values()):
        del fatigue["quiet_hours"]
    schema = [*enumerate(tree["context_schema"])]
    consent_set = {*result["consent"].values()} != {"unless_denied"}
    return {
        "fatigue": fatigue if fatigue["caps"] or len(fatigue) > 1 else None,
        "repeats": repeats if repeats["caps"] or "in_a_row" in repeats else None,
        "consent": result["consent"] if consent_set else None,
        "profile": form.PROFILE.values(tree["profile"], "/profile", findings) if tree["profile:kept"] else None,
        "context_schema": [_schema_field(row, f"/context_schema/{index}", findings) for index, row in schema] or None,
        "context_fields": _context_fields(tree, findings),
        "retention_s": result.get("retention_s"),
    }


def _schema_field(row: Typed, pointer: str, findings: Findings) -> Document:
    result: Document = form.SCHEMA.values(row, pointer, findings, ["name", "type"])
    example = single_value(row["example"])
    if result["type"] == "other":
        example = Json(empty=None).read(row, "example", f"{pointer}/example", findings)
    elif result["type"] == "text" and example is not None and not isinstance(example, str):
        example = row["example"].strip()
    return result | {"example": example}


def _context_fields(tree: Typed, findings: Findings) -> list[Document] | None:
    names, hashed = (
        form.FORMS["people"].fields[name].read(tree, name, f"/{name}", findings)
        for name in ("context_fields:names", "context_fields:hashed")
    )
    findings.moved["/context_fields"] = "/context_fields:names"
    if tree["context_fields:kind"] != "only":
        if names or hashed:
            findings.add("/context_fields:kind", "names_without_choice")
        return None
    names += [name for name in hashed if name not in names]
    return [{"name": name, "hashed": name in hashed} for name in names]
