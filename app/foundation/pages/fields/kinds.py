"""One field of a form: a text, a number, a share in percent, a duration, JSON, names, boxes."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from werkzeug.datastructures import MultiDict

from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject
from app.foundation.formats.strict_json import read_typed
from app.foundation.pages.format import duration
from app.foundation.pages.typed import UNITS, span, text
from app.foundation.words import Params, plain

Typed = JsonObject  # by name: a text, a list of texts, a tree, or a list of trees
Form = MultiDict[str, str]
Value = Any  # of a document: JSON, or ``ABSENT``
ABSENT: Final = object()  # the value of an empty field, which is left out of the document
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]*))(?:[,\n]|$)')


class Findings:
    """The errors of a form by the name of the field: the first error of each field."""

    def __init__(self) -> None:
        self.problems: dict[str, FieldError] = {}
        self.moved: dict[str, str] = {}  # pointer into the document -> the field of the form, where the two differ

    def add(self, pointer: str, code: str, params: Params | None = None) -> None:
        """Note an error."""
        self.problems.setdefault(pointer, FieldError(pointer, code, params or {}))

    def beside(self, error: FieldError, fields: Collection[str]) -> None:
        """Note an error of a rule beside the field of its pointer, or beside the nearest field around that."""
        pointer = error.path
        for end in [len(pointer), *[match.start() for match in re.finditer("/", pointer)][:0:-1]]:
            field = self.moved.get(pointer[:end])
            if field is not None:
                pointer = self.moved.get(pointer, field + pointer[end:])
                break
        shown_at = pointer
        while shown_at and shown_at not in fields:
            shown_at = shown_at.rpartition("/")[0]
        shown_at = shown_at or pointer
        self.problems.setdefault(shown_at, error._replace(path=shown_at))


class Kind(ABC):
    """A field of a form, or several that belong together. ``name`` is its name in the tree around it."""

    def write(self, value: float) -> str:
        """A number of the document as a sentence about the field writes it."""
        return plain(value)

    @abstractmethod
    def blank(self, name: str) -> Typed:
        """What the form holds before anything is typed."""

    @abstractmethod
    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        """What a posted form holds."""

    @abstractmethod
    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        """The value for the document; ``ABSENT``: none."""

    @abstractmethod
    def typed(self, value: Value, name: str) -> Typed:
        """A value of the document as it is typed."""


@dataclass(frozen=True)
class Text(Kind):
    """A text, or a choice. ``empty`` is what an empty one means."""

    start: str = ""
    empty: object = ABSENT
    strip: bool = True

    def blank(self, name: str) -> Typed:
        return {name: self.start}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        return {name: clean(form.get(pointer, ""))}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        result = typed[name].strip() if self.strip else typed[name]
        return result or self.empty

    def typed(self, value: Value, name: str) -> Typed:
        return {name: "" if value is None else str(value)}


@dataclass(frozen=True)
class Flag(Text):
    """A box to tick."""

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return bool(typed[name])

    def typed(self, value: Value, name: str) -> Typed:
        return {name: "yes" if value else ""}


@dataclass(frozen=True)
class Json(Text):
    """A JSON document. ``without`` is the value that an empty text stands for."""

    without: object = None

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        if not typed[name].strip():
            return self.empty
        result, problem = read_typed(typed[name])
        if problem:
            findings.add(pointer, "not_json", {"reason": problem})
            return self.empty
        return result

    def typed(self, value: Value, name: str) -> Typed:
        return {name: "" if value == self.without else json.dumps(value, ensure_ascii=False)}


@dataclass(frozen=True)
class Number(Text):
    """A number. The document holds ``times`` the typed number; a ``needed`` number may not be empty."""

    times: Decimal = Decimal(1)
    whole: bool = False
    needed: bool = False
    written: Callable[[float], str] = plain

    def write(self, value: float) -> str:
        return self.written(value)

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return self._number(typed[name], self.times, pointer, findings)

    def _number(self, typed: str, times: Decimal, pointer: str, findings: Findings) -> Value:
        written = typed.strip().removesuffix("%").strip().replace("\N{MINUS SIGN}", "-")
        if not written:
            if self.needed:
                findings.add(pointer, "missing")
            return ABSENT
        try:
            result = float(Decimal(written) * times)
        except (InvalidOperation, OverflowError):
            result = float("nan")
        if not abs(result) < float("inf"):
            findings.add(pointer, "not_a_whole_number" if self.whole else "not_a_number")
            return ABSENT
        return int(result) if self.whole and result == int(result) else result

    def typed(self, value: Value, name: str) -> Typed:
        return {name: "" if value is None else text(Decimal(repr(value)) / self.times)}


def percentage(share: float) -> str:
    """A share in percent."""
    return f"{share * 100:g}%"


def percent(start: str = "", *, needed: bool = False) -> Number:
    """A share that is typed in percent."""
    return Number(start, times=Decimal("0.01"), needed=needed, written=percentage)


@dataclass(frozen=True)
class Duration(Number):
    """A number and its unit; seconds in the document."""

    unit: str = "days"
    written: Callable[[float], str] = duration

    def blank(self, name: str) -> Typed:
        return {name: self.start, f"{name}:unit": self.unit}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        return {field: clean(form.get(f"{pointer}{field.removeprefix(name)}", "")) for field in (name, f"{name}:unit")}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return self._number(typed[name], Decimal(UNITS.get(typed[f"{name}:unit"], 1)), pointer, findings)

    def typed(self, value: Value, name: str) -> Typed:
        number, unit = ("", self.unit) if value is None else span(value)
        return {name: number, f"{name}:unit": unit}


@dataclass(frozen=True)
class Names(Text):
    """Names in one text, with commas or new lines between them; one in double quotes may hold a comma itself."""

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return listed_names(typed[name])

    def typed(self, value: Value, name: str) -> Typed:
        return {name: names_as_text(value or [])}


@dataclass(frozen=True)
class Chosen(Names):
    """Names of which some are known: a box for each of those (``NAME:of``), and a text for others."""

    def blank(self, name: str) -> Typed:
        return {name: "", f"{name}:of": []}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        return super().posted(form, pointer, name) | {f"{name}:of": [clean(of) for of in form.getlist(f"{pointer}:of")]}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return list(dict.fromkeys([*typed[f"{name}:of"], *listed_names(typed[name])]))


@dataclass(frozen=True)
class Boxes(Kind):
    """Several of a few choices, each a box to tick."""

    start: tuple[str, ...] = ()

    def blank(self, name: str) -> Typed:
        return {name: [*self.start]}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        return {name: [clean(choice) for choice in form.getlist(pointer)]}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return [*typed[name]]

    def typed(self, value: Value, name: str) -> Typed:
        return {name: [*(self.start if value is None else value)]}


def clean(typed: str) -> str:
    """A text as typed, but with one kind of line end, and without NUL, which PostgreSQL cannot store."""
    return typed.replace("\r\n", "\n").replace("\0", "")


def listed_names(typed: str) -> list[str]:
    """Names with commas or new lines between them; one in double quotes may hold a comma itself."""
    result = []
    for match in _NAME.finditer(typed):
        name = match[2].strip() if match[1] is None else match[1].replace('""', '"')
        if name:
            result.append(name)
    return result


def names_as_text(names: list[str]) -> str:
    """The text that reads back to the names."""
    odd = [name != name.strip() or any(mark in name for mark in ',\n"') for name in names]
    quoted = [
        '"' + name.replace('"', '""') + '"' if strange else name for name, strange in zip(names, odd, strict=True)
    ]
    return ", ".join(quoted)
