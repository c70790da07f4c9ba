"""The form of a trigger: from typed texts to the definition that the service takes, back, and mistakes to their fields."""

import re
from typing import Any

from werkzeug.datastructures import MultiDict

from app.foundation.errors import FieldError, LoopwiseError
from app.foundation.pages.format import duration
from app.foundation.pages.typed import NOT_A_NUMBER, UNITS, span, text
from app.foundation.words import WHOLE_NUMBERS, plain
from app.messaging.pages.trigger_values import as_text, listed_values, one_value
from app.messaging.triggers.definition import Cadence, ToWebhook, TriggerConfig

Typed = dict[str, Any]
KINDS = {
    "event": "each time something happens",
    "count": "when something happened several times",
    "absence": "when something has not happened for a while",
    "milestone": "when a number first reaches a value",
}
CHANNELS = (("", "any"), ("in_app", "in the app"), ("push", "push"), ("email", "e-mail"), ("sms", "SMS"))
ROWS = {
    "conditions": ("what", "name", "window", "unit", "relation", "value"),
    "variables": ("name", "property"),
    "context": ("name", "property"),
}
FIELDS = (
    *("key", "name", "experiment", "kind", "event", "count", "window", "window_unit", "silence", "silence_unit"),
    *("property", "at_least", "wait", "delay", "delay_unit", "cadence", "priority"),
    *("channel", "locale", "time_zone", "delivery"),
)
START = {
    "kind": "event",
    "window_unit": "days",
    "silence_unit": "days",
    "wait": "none",
    "delay_unit": "hours",
    "priority": "0",
    "delivery": "unit",
}
_ROW = re.compile(r"(conditions|variables|context)-(\d{1,3})-([a-z]+)")
_OF_PATTERN = {"window_s": "window", "for_s": "silence", "type": "kind", "pattern": "kind"}
_OF_CONDITION = {"is": "relation", "property": "name", "profile": "name", "event": "name", "window_s": "window"}


def empty() -> Typed:
    """A form before anything was typed."""
    return {name: START.get(name, "") for name in FIELDS} | {name: [] for name in ROWS}


def posted(form: "MultiDict[str, str]") -> Typed:
    """A posted form as it was typed, after a button that adds or removes a row (``add-context``, ``drop-context-1``)."""
    typed: Typed = {name: _clean(form.get(name, "")) for name in FIELDS}
    rows: dict[str, dict[int, dict[str, str]]] = {name: {} for name in ROWS}
    for name in form:
        match = _ROW.fullmatch(name)
        if match and match[3] in ROWS[match[1]]:
            rows[match[1]].setdefault(int(match[2]), {})[match[3]] = _clean(form[name])
    verb, _, of = form.get("do", "").partition("-")
    dropped, _, place = of.partition("-")
    for name, fields in ROWS.items():
        if verb == "drop" and dropped == name and place.isdecimal():
            rows[name].pop(int(place), None)
        typed[name] = [{field: rows[name][at].get(field, "") for field in fields} for at in sorted(rows[name])]
        if verb == "add" and of == name:
            typed[name].append(_new_row(name))
    return typed


def document(typed: Typed) -> tuple[dict[str, Any], dict[str, str]]:
    """The definition, and the mistakes of texts that cannot be read."""
    errors: dict[str, str] = {}
    found: dict[str, Any] = {
        "key": typed["key"].strip(),
        "name": typed["name"].strip(),
        "experiment": typed["experiment"].strip(),
        "pattern": _pattern(typed, errors),
        "conditions": [_condition(row, f"conditions-{at}", errors) for at, row in enumerate(typed["conditions"])],
        "delay_s": _delay(typed, errors),
        "priority": _number(typed["priority"] or "0", "priority", errors),
        "variables": _named(typed, "variables", errors),
        "context": _named(typed, "context", errors),
        "channel": typed["channel"] or None,
        "locale": typed["locale"].strip() or None,
        "time_zone": typed["time_zone"].strip() or None,
        "delivery": _delivery(typed["delivery"]),
    }
    return found, errors


def shown(config: TriggerConfig) -> Typed:
    """A stored definition as texts."""
    typed = empty() | {"key": config.key, "name": config.name, "experiment": config.experiment}
    pattern = config.pattern.model_dump()
    typed |= {"kind": pattern.pop("type"), "event": pattern.pop("event")}
    for stored, name in (("window_s", "window"), ("for_s", "silence")):
        if stored in pattern:
            typed[name], typed[f"{name}_unit"] = span(pattern.pop(stored))
    typed |= {name: text(value) if name != "property" else value for name, value in pattern.items()}
    if isinstance(config.delay_s, Cadence):
        typed |= {"wait": "cadence", "cadence": config.delay_s.experiment}
    elif config.delay_s:
        typed["wait"] = "fixed"
        typed["delay"], typed["delay_unit"] = span(config.delay_s)
    typed |= {name: getattr(config, name) or "" for name in ("channel", "locale", "time_zone")}
    to = config.delivery
    typed["delivery"] = f"webhook {to.webhook}" if isinstance(to, ToWebhook) else "unit"
    typed["priority"] = str(config.priority)
    for name in ("variables", "context"):
        typed[name] = [{"name": one, "property": path} for one, path in getattr(config, name).items()]
    typed["conditions"] = [_condition_row(one) for one in config.conditions]
    return typed


def mistakes(error: LoopwiseError, typed: Typed) -> dict[str, str]:
    """The mistakes by the names of the form's fields."""
    found: dict[str, str] = {}
    for field in error.fields:
        seconds = field.path.endswith("_s") or field.path == "/delay_s/float"
        found.setdefault(_field_of(field, typed), field.on_page(duration if seconds else plain))
    return found or {"key": error.detail}


def _field_of(field: FieldError, typed: Typed) -> str:
    parts = field.path.strip("/").split("/")
    head, last = parts[0], parts[-1]
    if head == "pattern":
        return _OF_PATTERN.get(last, last if last in FIELDS else "event")
    if head == "conditions" and len(parts) > 1:
        return f"conditions-{parts[1]}-{_OF_CONDITION.get(last, 'value')}"
    if head == "delay_s":
        return "cadence" if typed["wait"] == "cadence" else "delay"
    if head in ("variables", "context"):
        names = [row["name"].strip() for row in typed[head]]
        name = field.path.removeprefix(f"/{head}/").removesuffix("/[key]")
        if name not in names:
            return head
        return f"{head}-{names.index(name)}-{'name' if last == '[key]' else 'property'}"
    return head if head in FIELDS or head in ROWS else "key"


def _pattern(typed: Typed, errors: dict[str, str]) -> dict[str, Any]:
    kind = typed["kind"]
    found: dict[str, Any] = {"type": kind, "event": typed["event"].strip()}
    if kind == "count":
        found["count"] = _number(typed["count"], "count", errors)
        found["window_s"] = _seconds(typed["window"], typed["window_unit"], "window", errors)
    elif kind == "absence":
        found["for_s"] = _seconds(typed["silence"], typed["silence_unit"], "silence", errors)
    elif kind == "milestone":
        found |= {"property": typed["property"].strip(), "at_least": _number(typed["at_least"], "at_least", errors)}
    return found


def _condition(row: dict[str, str], prefix: str, errors: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {"is": row["relation"]}
    found["value"] = listed_values(row["value"]) if row["relation"] == "in" else one_value(row["value"])
    if row["what"] == "count":
        window = _seconds(row["window"], row["unit"], f"{prefix}-window", errors)
        return found | {"profile": {"event": row["name"].strip(), "window_s": window}}
    return found | {"property": row["name"].strip()}


def _condition_row(one: Any) -> dict[str, str]:
    row = {"what": "property", "name": one.property or "", "window": "", "unit": "days"}
    if one.profile is not None:
        window, unit = span(one.profile.window_s)
        row = {"what": "count", "name": one.profile.event, "window": window, "unit": unit}
    return row | {"relation": one.relation, "value": as_text(one.value)}


def _delay(typed: Typed, errors: dict[str, str]) -> Any:
    if typed["wait"] == "cadence":
        return {"experiment": typed["cadence"].strip()}
    return _seconds(typed["delay"], typed["delay_unit"], "delay", errors) if typed["wait"] == "fixed" else 0.0


def _delivery(chosen: str) -> dict[str, str]:
    to, _, key = chosen.partition(" ")
    return {"to": "webhook", "webhook": key} if to == "webhook" else {"to": "unit"}


def _named(typed: Typed, what: str, errors: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, row in enumerate(typed[what]):
        name, path = row["name"].strip(), row["property"].strip()
        if not name and not path:
            continue  # an empty row says nothing
        if name in found:
            errors[f"{what}-{at}-name"] = "This name stands above already."
        found[name] = path
    return found


def _seconds(typed: str, unit: str, name: str, errors: dict[str, str]) -> float:
    found = _number(typed, name, errors)
    return float(found) * UNITS.get(unit, 1)


def _number(typed: str, name: str, errors: dict[str, str]) -> float | int:
    found = one_value(typed)
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < WHOLE_NUMBERS:
        errors[name] = NOT_A_NUMBER if typed.strip() else "Fill this in."
        return 1  # stands for what cannot be read, so that the other mistakes are found as well
    return int(found) if found == int(found) else found


def _new_row(name: str) -> dict[str, str]:
    row = dict.fromkeys(ROWS[name], "")
    return row | ({"what": "property", "unit": "days", "relation": "eq"} if name == "conditions" else {})


def _clean(typed: str) -> str:
    return typed.replace("\r\n", "\n").replace("\0", "")
