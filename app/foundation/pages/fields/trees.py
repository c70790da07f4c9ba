"""Fields that belong together: objects and lists of a document."""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from app.foundation.formats.typed_values import as_text, can_be_typed, single_value
from app.foundation.pages.fields.kinds import ABSENT, Findings, Form, Json, Kind, Text, Typed, Value, clean
from app.foundation.words import plain


@dataclass(frozen=True)
class Part(Kind):
    """An object of the document: fields by name."""

    fields: Mapping[str, Kind]

    def tree(self) -> Typed:
        """The fields before anything is typed."""
        return {key: value for name, kind in self.fields.items() for key, value in kind.blank(name).items()}

    def complete(self, tree: Typed) -> Typed:
        """The tree with every field of the form."""
        result = self.tree() | tree
        for name, kind in self.fields.items():
            if isinstance(kind, Part):
                result[name] = kind.complete(result[name])
            elif isinstance(kind, Rows):
                result[name] = [kind.part.complete(row) for row in result[name]]
        return result

    def of_form(self, form: Form, pointer: str) -> Typed:
        """The fields of a posted form."""
        result: Typed = {}
        for name, kind in self.fields.items():
            result |= kind.posted(form, f"{pointer}/{name}", name)
        return result

    def of_document(self, document: Mapping[str, Value]) -> Typed:
        """The fields of a part of the document; fields that it lacks are as before anything is typed."""
        result = self.tree()
        for name, kind in self.fields.items():
            if name in document:
                result |= kind.typed(document[name], name)
        return result

    def values(self, tree: Typed, pointer: str, findings: Findings, only: Collection[str] = ()) -> dict[str, Value]:
        """The document that the fields make, without the fields of the form alone.

        :param only: the names of the fields to read; empty: all.
        """
        names = [name for name in self.fields if ":" not in name and (not only or name in only)]
        read = {name: self.fields[name].read(tree, name, f"{pointer}/{name}", findings) for name in names}
        return {name: value for name, value in read.items() if value is not ABSENT}

    def blank(self, name: str) -> Typed:
        return {name: self.tree()}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        return {name: self.of_form(form, pointer)}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return self.values(typed[name], pointer, findings)

    def typed(self, value: Value, name: str) -> Typed:
        return {name: self.of_document(value or {})}


@dataclass(frozen=True)
class Rows(Kind):
    """A list of the document: rows of the same fields."""

    part: Part
    start: tuple[Typed, ...] = ()
    written: Callable[[float], str] = field(default=plain)

    def write(self, value: float) -> str:
        return self.written(value)

    def blank(self, name: str) -> Typed:
        return {name: [self.part.complete(row) for row in self.start]}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        pattern = re.compile(re.escape(pointer) + r"/(\d{1,4})/")
        indexes = sorted({int(match[1]) for name_in_form in form if (match := pattern.match(name_in_form))})
        return {name: [self.part.of_form(form, f"{pointer}/{index}") for index in indexes]}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        return [self.part.values(row, f"{pointer}/{index}", findings) for index, row in enumerate(typed[name])]

    def typed(self, value: Value, name: str) -> Typed:
        return {name: [self.part.of_document(row) for row in value or []]}


MEMBERS: Part = Part({"name": Text(strip=False), "value": Text(strip=False)})
_MEMBER_ROWS = Rows(MEMBERS)
TYPED_AS = ("rows", "json", "text")  # how an object may be typed


@dataclass(frozen=True)
class Members(Json):
    """An object of the document: rows of name and value whose types are found, JSON, or a few texts with names of their own.

    Beside its own name, which holds the JSON, it has the fields ``NAME:kind`` (rows, json or text; empty: what fits),
    ``NAME:rows``, and ``NAME:TEXT`` of each text.
    """

    texts: tuple[str, ...] = ()

    def blank(self, name: str) -> Typed:
        return {name: "", f"{name}:kind": "", f"{name}:rows": [], **{f"{name}:{text}": "" for text in self.texts}}

    def posted(self, form: Form, pointer: str, name: str) -> Typed:
        rows = _MEMBER_ROWS.posted(form, f"{pointer}:rows", f"{name}:rows")[f"{name}:rows"]
        fields = [name, f"{name}:kind", *(f"{name}:{text}" for text in self.texts)]
        result = {field: clean(form.get(f"{pointer}{field.removeprefix(name)}", "")) for field in fields}
        if result[f"{name}:kind"] not in TYPED_AS:
            result[f"{name}:kind"] = ""
        return result | {f"{name}:rows": [row for row in rows if any(text.strip() for text in row.values())]}

    def read(self, typed: Typed, name: str, pointer: str, findings: Findings) -> Value:
        kind = self.kind(typed, name)
        if kind == "json":
            return super().read(typed, name, pointer, findings)
        if kind == "text":
            texts = {text: typed[f"{name}:{text}"] for text in self.texts}
            return {text: value for text, value in texts.items() if value} or self.empty
        result: dict[str, Value] = {}
        for index, row in enumerate(typed[f"{name}:rows"]):
            member, here = row["name"].strip(), f"{pointer}:rows/{index}"
            value = single_value(row["value"])
            if not member or member in result:
                findings.add(f"{here}/name", "member_repeated" if member else "member_without_name")
            if isinstance(value, float) and not math.isfinite(value):
                findings.add(f"{here}/value", "number_too_large")
            elif value is None:
                findings.add(f"{here}/value", "member_without_value")
            else:
                result[member] = value
                findings.moved.setdefault(f"{pointer}/{member}", f"{here}/value")
        return result or self.empty

    def kind(self, typed: Typed, name: str) -> str:
        """How the object is typed: rows, json or text."""
        if typed[f"{name}:kind"]:
            return str(typed[f"{name}:kind"])
        return "json" if typed[name].strip() else "text" if self.texts else "rows"

    def typed(self, value: Value, name: str) -> Typed:
        result = self.blank(name)
        if value == self.without:
            return result
        plain_object = isinstance(value, dict) and bool(value)
        if plain_object and [*value] == [text for text in self.texts if text in value] and _are_texts(value.values()):
            return result | {f"{name}:kind": "text"} | {f"{name}:{text}": given for text, given in value.items()}
        if plain_object and all(_is_member(member, given) for member, given in value.items()):
            rows = [{"name": member, "value": as_text(given)} for member, given in value.items()]
            return result | {f"{name}:kind": "rows", f"{name}:rows": rows}
        return result | {f"{name}:kind": "json"} | super().typed(value, name)

    def switched(self, typed: Typed, name: str, kind: str) -> Typed:
        """The same object, typed in another way; unchanged where it cannot be typed that way, or has errors."""
        findings = Findings()
        value = self.read(typed, name, "", findings)
        if findings.problems or kind not in TYPED_AS:
            return typed
        if value == self.empty:
            return typed | self.blank(name) | {f"{name}:kind": kind}
        if kind == "json":
            return typed | self.blank(name) | {f"{name}:kind": kind} | super().typed(value, name)
        if kind == "rows" and isinstance(value, dict) and value and all(_is_member(*row) for row in value.items()):
            rows = [{"name": member, "value": as_text(given)} for member, given in value.items()]
            return typed | self.blank(name) | {f"{name}:kind": kind, f"{name}:rows": rows}
        again = self.typed(value, name)
        return typed | again if again[f"{name}:kind"] == kind else typed


def _are_texts(values: Iterable[Value]) -> bool:
    return all(isinstance(text, str) and text and "\r" not in text for text in values)


def _is_member(name: str, value: Value) -> bool:
    """True when a row of name and value can hold a member of an object."""
    return name == name.strip() != "" and not {"\n", "\r"} & {*name} and can_be_typed(value)


def kind_at(part: Part, pointer: str) -> Kind | None:
    """The kind of the field with that name."""
    kind: Kind | None = part
    for name in pointer.split("/")[1:]:
        if isinstance(kind, Part):
            of_members = name.endswith(":rows") and isinstance(kind.fields.get(name.removesuffix(":rows")), Members)
            kind = _MEMBER_ROWS if of_members else kind.fields.get(name)
        elif isinstance(kind, Rows) and name.isdecimal():
            kind = kind.part
        else:
            return None
    return kind


PLAIN = Text()  # for a value that no field of a form holds


def told(form: Part, findings: Findings) -> dict[str, str]:
    """Every error as a sentence, with numbers as its field shows them, by field."""
    return {name: problem.on_page((kind_at(form, name) or PLAIN).write) for name, problem in findings.problems.items()}


def texts_of(tree: Value, pointer: str = "") -> Iterator[tuple[str, Value]]:
    """(name, text) of each field of a tree; (name, texts) of boxes."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from texts_of(value, f"{pointer}/{name}")
    elif isinstance(tree, list) and (not tree or isinstance(tree[0], dict)):
        for index, value in enumerate(tree):
            yield from texts_of(value, f"{pointer}/{index}")
    else:
        yield pointer, tree


def rows_at(tree: Typed, pointer: str) -> list[Typed] | None:
    """The rows with that name; null: there are none."""
    result = tree_at(tree, pointer)
    return result if isinstance(result, list) else None


def tree_at(tree: Typed, pointer: str) -> object:
    """What a tree holds under that name; null: nothing."""
    result: object = tree
    for name in pointer.split("/")[1:]:
        if isinstance(result, dict):
            result = result.get(name)
        elif isinstance(result, list) and name.isdecimal() and int(name) < len(result):
            result = result[int(name)]
        else:
            return None
    return result


def change_rows(form: Part, tree: Typed, do: str) -> None:
    """What a button of a form does: ``add /context`` adds a row, ``remove /context/1`` removes the second one."""
    verb, _, pointer = do.partition(" ")
    rows_pointer, _, index = pointer.rpartition("/")
    kind, added, rows = kind_at(form, pointer), rows_at(tree, pointer), rows_at(tree, rows_pointer)
    if verb == "add" and isinstance(kind, Rows) and added is not None:
        added.append(kind.part.tree())
    elif verb == "remove" and rows is not None and index.isdecimal():
        del rows[int(index) : int(index) + 1]
