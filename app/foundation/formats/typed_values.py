"""Values as people type them, and the other way round: numbers, yes and no, texts, lists of them."""

import re

Scalar = str | bool | int | float | None
WORDS = {"yes": True, "no": False, "null": None}
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))(?:,|$)')


def single_value(text: str) -> Scalar:
    """Parse a number, yes or no, nothing, or a text. A text in quotes stays a text."""
    text = text.strip()
    if not text:
        return None
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('""', '"')
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    number = text.replace("\N{MINUS SIGN}", "-")
    if not _NUMBER.fullmatch(number):
        return text
    return int(number) if re.fullmatch(r"[-+]?\d{1,18}", number) else float(number)


def listed_values(text: str) -> list[Scalar]:
    """Parse values separated by commas. A text in quotes may contain commas."""
    values = []
    for match in _ITEM.finditer(text):
        if match[1] is not None:
            values.append(match[1].replace('""', '"'))
        elif match[2].strip():
            values.append(single_value(match[2]))
    return values


def as_text(value: object) -> str:
    """Return the text that parses back to the value."""
    if isinstance(value, list):
        return ", ".join(_item(item) for item in value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and (single_value(value) != value or type(single_value(value)) is not str):
        return _quoted(value)
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def kind_of(text: str) -> str:
    """The type that is found in a typed value, in words; empty: nothing is typed."""
    value = single_value(text)
    if value is None:
        return "nothing" if text.strip() else ""
    return "yes or no" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"


def can_be_typed(value: object) -> bool:
    """True when the text of a single value parses back to it."""
    if isinstance(value, str):
        return "\r" not in value and single_value(as_text(value)) == value
    return isinstance(value, bool | int | float) and single_value(as_text(value)) == value


def _item(value: object) -> str:
    """One of several values; a text that commas, quotes or spaces would break stands in quotes."""
    if isinstance(value, str) and ("," in value or value.startswith('"') or value != value.strip()):
        return _quoted(value)
    return as_text(value) or "null"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
