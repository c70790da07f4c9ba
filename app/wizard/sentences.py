"""A mistake in the words of the wizard's forms, and its field in words."""

import re

from app.foundation.errors import FieldError
from app.foundation.pages.format import duration
from app.foundation.words import plain

_PERCENT = ("floor", "share", "alpha", "winsorize", "min_effect", "confidence")  # typed in percent, judged as shares
_TIMES = ("window", "limit_window", "distance", "half_life", "retention", "mute", "gap")  # judged in seconds


def where(step: str, field: str) -> str:
    """A field in words, for a list of mistakes: "arm 2, share"."""
    _, rows, rest = field.partition("rows-")
    place, _, name = rest.partition("-")
    nouns = {"arms": "arm", "metrics": "metric", "actions": "action", "people": "limit", "reward": "reason"}
    noun = nouns.get(step, "")
    text = re.fullmatch(r"texts-(\d+)-(.*)", name)
    if text:
        name = f"text {int(text[1]) + 1}, {text[2]}"
    variable = re.fullmatch(r"variables-(\d+)-(.*)", field)
    if variable:
        return f"variable {int(variable[1]) + 1}, {variable[2]}"
    if step == "actions" and not rows and field not in ("rows", "among"):
        return re.sub(r"(slot|part|text|language|pair)s-(\d+)", _counted, field).replace("-", ", ")
    parts = (
        [f"{noun} {int(place) + 1}", name]
        if rows and place.isdecimal()
        else [field if field not in ("rows", "among") else ""]
    )
    return ", ".join(part.replace("_", " ") for part in parts if part)


def _counted(found: "re.Match[str]") -> str:
    return f"{found[1]} {int(found[2]) + 1}"


def sentence(field: str, error: FieldError) -> str:
    """What is wrong, with numbers as the form's field shows them."""
    name = field.rpartition("-")[2]
    if error.code == "no_items" and field.startswith("slots-"):
        return "Write its text, or say that it adds nothing."
    return error.on_page(in_percent if name in _PERCENT else duration if name in _TIMES else plain)


def in_percent(share: float) -> str:
    """A share in percent."""
    return f"{share * 100:g}%"
