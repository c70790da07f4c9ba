"""Fields that belong together: objects and lists of a document."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from app.foundation.pages.fields.kinds import ABSENT, Findings, Form, Kind, Text, Typed, Value
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


def kind_at(part: Part, pointer: str) -> Kind | None:
    """The kind of the field with that name."""
    kind: Kind | None = part
    for name in pointer.split("/")[1:]:
        if isinstance(kind, Part):
            kind = kind.fields.get(name)
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
    result: object = tree
    for name in pointer.split("/")[1:]:
        if isinstance(result, dict):
            result = result.get(name)
        elif isinstance(result, list) and name.isdecimal() and int(name) < len(result):
            result = result[int(name)]
        else:
            return None
    return result if isinstance(result, list) else None


def change_rows(form: Part, tree: Typed, do: str) -> None:
    """What a button of a form does: ``add /context`` adds a row, ``remove /context/1`` removes the second one."""
    verb, _, pointer = do.partition(" ")
    rows_pointer, _, index = pointer.rpartition("/")
    kind, added, rows = kind_at(form, pointer), rows_at(tree, pointer), rows_at(tree, rows_pointer)
    if verb == "add" and isinstance(kind, Rows) and added is not None:
        added.append(kind.part.tree())
    elif verb == "remove" and rows is not None and index.isdecimal():
        del rows[int(index) : int(index) + 1]
