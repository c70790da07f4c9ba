"""Applies the buttons of a form to the typed tree: adds, removes and moves rows, and updates everything that refers to them.

A button names an action and the pointer of its rows: ``add /arms``, ``copy /arms/1``, ``remove /fatigue/caps/0``,
``up /composition/slots/1``, ``down /composition/slots/0``, ``pair``, ``as json /actions/0/features``, ``variable items``.
"""

import secrets
from collections.abc import Iterable
from copy import deepcopy
from typing import Final

from app.design.pages.shares import without
from app.foundation.pages.fields.kinds import Typed
from app.foundation.pages.fields.trees import Members, Rows, kind_at, rows_at, tree_at
from app.wizard.form import VARIABLE, WHOLE

LANGUAGES: Final = "/composition/slots:languages"


def pressed(tree: Typed, do: str) -> str:
    """Apply a button to the tree; returns the pointer of the rows, or the row, that changed; empty: it is another button."""
    verb, _, pointer = do.partition(" ")
    if "composition" in tree:
        _name_parts(tree["composition"])
        _pair(tree["composition"])
    if verb == "pair":
        return "/composition/forbidden"
    rows_pointer, _, last = pointer.rpartition("/")
    if verb in ("as", "variable", "add"):
        return {"as": _switch, "variable": _add_variable, "add": _add}[verb](tree, pointer)
    rows = rows_at(tree, rows_pointer)
    if verb not in ("copy", "remove", "up", "down") or rows is None or not last.isdecimal() or int(last) >= len(rows):
        return ""
    index = int(last)
    if verb == "copy" and _mark(rows[index]) is None:
        return ""
    if verb == "remove":
        _remove(tree, rows_pointer, rows, index)
        return rows_pointer
    there = max(0, min(len(rows) - 1, index + (1 if verb == "down" else -1)))
    if verb == "copy":
        there = index + 1 if rows_pointer.startswith("/composition/") else len(rows)  # slots and parts have an order
        rows.insert(there, _copy(tree, rows_pointer, rows[index]))
    else:
        rows.insert(there, rows.pop(index))
    return f"{rows_pointer}/{there}"


def new_row() -> str:
    """A name for a row, which it keeps when it moves."""
    return secrets.token_hex(4)


def _switch(tree: Typed, wanted: str) -> str:
    """Type an object in another way: ``as rows /actions/0/features``."""
    how, _, pointer = wanted.partition(" ")
    around, _, name = pointer.rpartition("/")
    kind, holder = kind_at(WHOLE, pointer), tree_at(tree, around)
    if not isinstance(kind, Members) or not isinstance(holder, dict):
        return ""
    holder.update(kind.switched(holder, name, how))
    return pointer


def _add_variable(tree: Typed, name: str) -> str:
    """Declare a variable that a text names: ``variable items``. Its sample is its name until somebody types another.

    It is required, so that a text without a default for it has no error any more.
    """
    rows = tree["variables"]
    if name not in {row["name"].strip() for row in rows}:
        rows.append(VARIABLE.tree() | {"name": name, "sample": name.replace("_", " "), "required": "yes"})
    return f"/variables/{len(rows) - 1}"


def _add(tree: Typed, pointer: str) -> str:
    kind, rows = kind_at(WHOLE, pointer), rows_at(tree, pointer)
    if rows is None or not isinstance(kind, Rows):
        return ""
    rows.append(kind.part.tree())
    if "composition" in tree:
        if pointer == LANGUAGES:
            for part in _parts(tree["composition"]["slots"]):
                part["texts"].append({"text": "", "nothing": ""})
        _name_parts(tree["composition"])
    return f"{pointer}/{len(rows) - 1}"


def _copy(tree: Typed, pointer: str, row: Typed) -> Typed:
    copy: Typed = deepcopy(row)
    name, mark = _mark(row) or ("", "")
    copy[name] = f"{row[name]}{mark}"
    if "share" in copy:  # a copied arm must not double its share
        copy["share"] = "0"
    if pointer.startswith("/composition/slots"):
        made = {}
        for part in _parts([copy]):
            made[part[":row"]] = part[":row"] = new_row()
        pairs = [pair.split(" ") for pair in tree["composition"]["forbidden"]]
        copies = [[made.get(part, part) for part in pair] for pair in pairs if not made.keys().isdisjoint(pair)]
        tree["composition"]["forbidden"] += [
            " ".join(pair) for pair in copies
        ]  # the copy has the forbidden pairs of its original
    return copy


def _mark(row: Typed) -> tuple[str, str] | None:
    """The field that distinguishes a copy from its original, and the ending that it gets; null: such rows are not copied."""
    if not isinstance(row, dict) or not row.keys() & {"share", "source", "parts", ":row"}:
        return None
    return ("name", "_2") if "parts" in row else ("id" if ":row" in row else "key", "-2")


def _remove(tree: Typed, pointer: str, rows: list[Typed], index: int) -> None:
    if pointer == LANGUAGES:
        if len(rows) == 1:
            return
        for part in _parts(tree["composition"]["slots"]):
            del part["texts"][index : index + 1]
    if pointer == "/arms":
        shares = without([row["share"] for row in rows], index)
        for row, share in zip(rows, shares, strict=True):
            row["share"] = share
        control = tree["control_arm"]
        if control.isdecimal() and int(control) >= index:
            tree["control_arm"] = "" if int(control) == index else str(int(control) - 1)
    del rows[index]
    if "composition" in tree:
        _keep_known_pairs(tree["composition"])


def _parts(slots: Iterable[Typed]) -> list[Typed]:
    """All parts of slots; the list may also contain single parts."""
    return [part for slot in slots for part in slot.get("parts", [slot])]


def _name_parts(composition: Typed) -> None:
    """Give each part a row name and a text for each language, and drop pairs of parts that no longer exist."""
    languages = len(composition["slots:languages"])
    for part in _parts(composition["slots"]):
        part[":row"] = part[":row"] or new_row()
        part["texts"] += [{"text": "", "nothing": ""} for _ in range(languages - len(part["texts"]))]
    _keep_known_pairs(composition)


def _keep_known_pairs(composition: Typed) -> None:
    part_rows = {part[":row"] for part in _parts(composition["slots"])}
    pairs = [
        pair for pair in composition["forbidden"] if part_rows.issuperset(pair.split(" ")) and pair.count(" ") == 1
    ]
    composition["forbidden"] = pairs


def _pair(composition: Typed) -> None:
    """Add the chosen pair to the forbidden pairs."""
    chosen = (composition["forbidden:first"], composition["forbidden:second"])
    if all(chosen):
        composition["forbidden"].append(" ".join(chosen))
        composition |= {"forbidden:first": "", "forbidden:second": ""}
        _keep_known_pairs(composition)
