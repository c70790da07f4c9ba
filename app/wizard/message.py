"""What an action says: its message by language, and the variables that texts may name, as forms keep them.

An action's message is kept as one text, the JSON of {"channel": text, "asks": text, "texts": [{"locale": text, "title": text,
...}, ...]}: a list, so that two texts of one language, or one without a language, are kept as typed until they are mended.
"""

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from app.content.message_config import PARTS, MessageTemplate, VariableSpec
from app.content.message_templates import problems, render
from app.foundation.documents import read_json

if TYPE_CHECKING:
    from app.wizard.numbers import Reader

TEXT = ("locale", *PARTS)
CHANNELS = (("in_app", "in the app"), ("push", "push"), ("email", "e-mail"), ("sms", "SMS"))
ASKS = (
    ("", "nothing"),
    ("thumbs", "thumb up or down"),
    ("stars", "one to five stars"),
    ("score", "0 to 10"),
    ("reason", "a reason"),
    ("comment", "a comment"),
)
_VARIABLES = TypeAdapter(list[VariableSpec])
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}
_LARGEST = 2**63  # whole numbers beyond it are not stored exactly


class Message(NamedTuple):
    """A message as typed."""

    channel: str  # empty: the action says nothing
    asks: str  # the kind of feedback; empty: none
    texts: list[dict[str, str]]


class Preview(NamedTuple):
    """One language's message as the sample user would get it."""

    locale: str
    title: str
    body: str
    call_to_action: str


def kept(channel: str, asks: str, texts: list[dict[str, str]]) -> str:
    """A message as it is kept in an action's row."""
    asked = {"asks": asks} if asks else {}
    found = json.dumps({"channel": channel, **asked, "texts": [_whole(one) for one in texts]}, ensure_ascii=False)
    return "" if is_empty(found) else found


def message_of(text: str) -> Message:
    """What is kept in an action's row; there is always a text to type into."""
    found, problem = read_json(text) if text else (None, "")
    if problem or not isinstance(found, dict):
        return Message("", "", [_whole({"locale": "en"})])
    texts = found.get("texts", [])
    rows = [{"locale": name} | one for name, one in texts.items()] if isinstance(texts, dict) else texts
    shown = [_whole(one) for one in rows] or [_whole({"locale": "en"})]
    return Message(str(found.get("channel", "")), str(found.get("asks", "")), shown)


def _whole(text: dict[str, Any]) -> dict[str, str]:
    return {name: str(text.get(name, "")) for name in TEXT}


def is_empty(text: str) -> bool:
    """True when nothing was typed into the message of an action."""
    message = message_of(text)
    return not message.channel and len(message.texts) < 2 and not _says(message)


def _says(message: Message) -> bool:
    return any(one[part].strip() for one in message.texts for part in PARTS)


def template_of(text: str, prefix: str, reader: "Reader") -> dict[str, Any] | None:
    """The template that a message's texts make; null: the action says nothing."""
    message = message_of(text)
    if not message.channel:
        if _says(message):
            reader.wrong(f"{prefix}channel", "Choose where the message is shown, or empty its texts.")
        return None
    texts: dict[str, dict[str, str]] = {}
    for place, one in enumerate(message.texts):
        locale = one["locale"].strip()
        if locale in texts:
            reader.wrong(f"{prefix}texts-{place}-locale", "Another text has this language; give each its own.")
        else:
            texts[locale] = {part: one[part] for part in PARTS}
    return {"channel": message.channel, **({"asks": message.asks} if message.asks else {}), "texts": texts}


def place_of_text(text: str, locale: str) -> int | None:
    """Where the text of a language stands in a kept message."""
    return next((place for place, one in enumerate(message_of(text).texts) if one["locale"].strip() == locale), None)


def variables_of(rows: list[dict[str, str]], reader: "Reader") -> list[dict[str, Any]]:
    """The typed variables."""
    found = []
    for place, row in enumerate(rows):
        sample = _sample(row, f"variables-{place}-sample", reader)
        found.append({"name": row["name"].strip(), "sample": sample, "required": bool(row["required"])})
    return found


def _sample(row: dict[str, str], field: str, reader: "Reader") -> str | int | float | bool:
    text = row["sample"].strip()
    if row["kind"] == "yes_no":
        if text.lower() not in _YES_NO:
            reader.wrong(field, "Write yes or no.")
        return _YES_NO.get(text.lower(), False)
    if row["kind"] != "number":
        return row["sample"]
    value = reader.number(text, field, needed="Give a sample number: texts are checked and shown with it.")
    if not re.fullmatch(r"-?\d{1,30}", text):
        return value or 0.0
    if not -_LARGEST <= int(text) < _LARGEST:
        reader.wrong(field, "This number is too large.")
        return 0
    return int(text)


def typed_variable(variable: dict[str, Any]) -> dict[str, str]:
    """One variable of a configuration as texts."""
    sample = variable["sample"]
    kind = "yes_no" if isinstance(sample, bool) else "text" if isinstance(sample, str) else "number"
    text = {"yes_no": "yes" if sample else "no", "text": sample, "number": json.dumps(sample)}[kind]
    return {"name": variable["name"], "kind": kind, "sample": text, "required": "yes" if variable["required"] else ""}


def previews(template: Any, variables: Any) -> list[Preview]:
    """A message in each language with the variables' sample values; none while something in it has to be mended."""
    try:
        known, message = _VARIABLES.validate_python(variables), MessageTemplate.model_validate(template)
    except ValidationError:  # said beside the fields
        return []
    if problems(message, known, ""):
        return []
    samples = {one.name: one.sample for one in known}
    found = [render(message, locale, samples) for locale in message.texts]
    return [Preview(one.locale, one.title, one.body, one.call_to_action) for one in found]
