"""The form of a trigger: its fields, and the conversion between a definition and typed texts."""

import re
from typing import Final

from app.foundation.errors import LoopwiseError
from app.foundation.formats.typed_values import as_text, listed_values, single_value
from app.foundation.pages.fields import trees
from app.foundation.pages.fields.kinds import Duration, Findings, Form, Number, Text, Typed, Value
from app.foundation.pages.fields.trees import Part, Rows, change_rows, texts_of
from app.messaging.triggers.definition import Cadence, ToWebhook, TriggerConfig, plain

KINDS: Final = {
    "event": "each time something happens",
    "count": "when something happened several times",
    "absence": "when something has not happened for a while",
    "milestone": "when a number first reaches a value",
}
NAME: Final = Text(empty="")
PATTERN: Final = Part(
    {
        **{"type": Text("event"), "event": NAME, "count": Number(whole=True, needed=True)},
        **{"window_s": Duration(needed=True), "for_s": Duration(needed=True)},
        **{"property": NAME, "at_least": Number(needed=True)},
    }
)
_OF_PATTERN: Final = {"count": ("count", "window_s"), "absence": ("for_s",), "milestone": ("property", "at_least")}
WINDOW: Final = Part({"window_s": Duration(needed=True)})
CONDITION: Final = Part(
    {"property:what": Text("property"), "property": NAME, "profile": WINDOW, "is": Text("eq"), "value": Text()}
)
NAMED: Final = Part({"name": NAME, "property": NAME})
FORM: Final = Part(
    {
        **{"key": NAME, "name": NAME, "experiment": NAME, "pattern": PATTERN, "conditions": Rows(CONDITION)},
        **{"delay_s:wait": Text("none"), "delay_s": Duration(needed=True, unit="hours"), "delay_s:experiment": NAME},
        **{"priority": Number("0", whole=True), "variables": Rows(NAMED), "context": Rows(NAMED)},
        **{"channel": Text(), "locale": Text(), "time_zone": Text(), "delivery": Text("unit")},
    }
)


def posted(form: Form) -> Typed:
    """A posted form as it was typed, after a button that adds or removes a row."""
    typed = FORM.of_form(form, "")
    change_rows(FORM, typed, form.get("do", ""))
    return typed


def document(typed: Typed, findings: Findings) -> dict[str, Value]:
    """The definition that was typed."""
    plainly = ("key", "name", "experiment", "priority", "channel", "locale", "time_zone")
    result = FORM.values(typed, "", findings, plainly)
    kind = typed["pattern"]["type"]
    names = ["type", "event", *_OF_PATTERN.get(kind, ())]
    result["pattern"] = PATTERN.values(typed["pattern"], "/pattern", findings, names)
    conditions = enumerate(typed["conditions"])
    result["conditions"] = [_condition(row, f"/conditions/{index}", findings) for index, row in conditions]
    if typed["delay_s:wait"] == "cadence":
        findings.moved["/delay_s"] = "/delay_s:experiment"
        result["delay_s"] = {"experiment": typed["delay_s:experiment"].strip()}
    elif typed["delay_s:wait"] == "fixed":
        result |= FORM.values(typed, "", findings, ["delay_s"])
    for what in ("variables", "context"):
        result[what] = _named(typed[what], f"/{what}", findings)
    to, _, key = typed["delivery"].partition(" ")
    return result | {"delivery": {"to": "webhook", "webhook": key} if to == "webhook" else {"to": "unit"}}


def _condition(row: Typed, pointer: str, findings: Findings) -> dict[str, Value]:
    value = listed_values(row["value"]) if row["is"] == "in" else single_value(row["value"])
    result: dict[str, Value] = {"is": row["is"], "value": value}
    name = row["property"].strip()
    if row["property:what"] != "count":
        return result | {"property": name}
    findings.moved[f"{pointer}/profile/event"] = f"{pointer}/property"
    return result | {"profile": {"event": name, **WINDOW.values(row["profile"], f"{pointer}/profile", findings)}}


def _named(rows: list[Typed], pointer: str, findings: Findings) -> dict[str, str]:
    result: dict[str, str] = {}
    for index, row in enumerate(rows):
        name, path = row["name"].strip(), row["property"].strip()
        if not name and not path:
            continue  # an empty row says nothing
        if name in result:
            findings.add(f"{pointer}/{index}/name", "name_above")
        result[name] = path
        findings.moved.setdefault(f"{pointer}/{name}", f"{pointer}/{index}/property")
        findings.moved.setdefault(f"{pointer}/{name}/[key]", f"{pointer}/{index}/name")
    return result


def shown(config: TriggerConfig) -> Typed:
    """A stored definition as it is typed."""
    stored = plain(config)
    named = {
        what: [{"name": name, "property": path} for name, path in stored[what].items()]
        for what in ("variables", "context")
    }
    typed = FORM.of_document(stored | named | {"conditions": [], "delay_s": None, "delivery": "unit"})
    typed["conditions"] = [_typed_condition(row) for row in stored["conditions"]]
    if isinstance(config.delay_s, Cadence):
        typed |= {"delay_s:wait": "cadence", "delay_s:experiment": config.delay_s.experiment}
    elif config.delay_s:
        typed |= {"delay_s:wait": "fixed"} | FORM.fields["delay_s"].typed(config.delay_s, "delay_s")
    if isinstance(config.delivery, ToWebhook):
        typed["delivery"] = f"webhook {config.delivery.webhook}"
    return typed


def _typed_condition(row: dict[str, Value]) -> Typed:
    profile = row.get("profile")
    typed = CONDITION.of_document({**row, "property": profile["event"] if profile else row["property"], "value": ""})
    return typed | {"property:what": "count" if profile else "property", "value": as_text(row["value"])}


def messages(findings: Findings, typed: Typed, error: LoopwiseError | None = None) -> dict[str, str]:
    """Return every error as a sentence, by field.

    :param error: the errors of the rules.
    """
    fields = {name for name, _ in texts_of(typed)}
    for field in error.fields if error else ():
        of_condition = re.fullmatch(r"/conditions/\d+", field.path)
        findings.beside(field._replace(path=f"{field.path}/value") if of_condition else field, fields)
    return trees.told(FORM, findings) or ({"/key": error.detail} if error else {})
