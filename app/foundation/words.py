"""Codes of wrong values in words: for callers of the API, and for people at a form."""

import string
from collections.abc import Callable, Mapping
from typing import Any

from app.foundation.codes import WORDS

Params = Mapping[str, object]
WHOLE_NUMBERS = 1e15  # float64 holds every whole number below


def plain(value: Any) -> str:
    """A parameter in words: numbers with separators and without needless digits, lists with commas."""
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return str(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    return f"{value:,.0f}" if abs(value) < WHOLE_NUMBERS and value == int(value) else f"{value:.6g}"


class _Sentence(string.Formatter):
    def __init__(self, write: Callable[[float], str]) -> None:
        self._write = write

    def format_field(self, value: object, format_spec: str) -> str:  # noqa: ARG002 - the base class names it
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._write(value)
        return plain(value)


def api_sentence(code: str, params: Params) -> str:
    """What a code says to a caller of the API.

    :raises KeyError: the code is not in the table, or a parameter is missing.
    """
    return _Sentence(plain).vformat(WORDS[code].api, (), params)


def page_sentence(code: str, params: Params, write: Callable[[float], str] = plain) -> str:
    """The same for somebody at a form, as a whole sentence.

    :param write: how the form's field shows its numbers, as percent or as times.
    """
    words = WORDS[code]
    return as_sentence(_Sentence(write).vformat(words.page or words.api, (), params))


def as_sentence(text: str) -> str:
    """The same words with a capital letter and a full stop."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
