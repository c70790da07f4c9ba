"""Actions from a table: one line each, a column ``id``, and columns for what is handed back and what is learned from.

A column ``feature.NAME`` (or ``features.NAME``) becomes a feature: numbers and true/false are read as such, an empty cell
is left out. A column ``payload.NAME``, or any other name, becomes a text of the payload. ``features`` and ``payload`` alone
hold JSON.
"""

import io
from itertools import islice
from typing import Any, NamedTuple

from pydantic import ValidationError

from app.design.definition_rules import action_problems
from app.design.experiment_config import MAX_ACTIONS, ActionSpec
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, pydantic_fields
from app.foundation.formats.csv_rows import CsvError, csv_rows
from app.foundation.formats.strict_json import read_typed

MAX_COLUMNS = 100
DELIMITERS = (",", ";", "\t")


class Mistake(NamedTuple):
    """An error in one line."""

    line: int  # from 1, as an editor shows it
    message: str


class Imported(NamedTuple):
    """The content of a table."""

    actions: list[JsonObject]  # as in a configuration; only of lines that could be read
    mistakes: list[Mistake]


def decode(data: bytes) -> str | None:
    """A file's text; null when it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def read(text: str) -> Imported:
    """Every action of a table, and every error by its line."""
    text = text.removeprefix("\ufeff")
    first = text.split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    rows = csv_rows(io.StringIO(text, newline=""), delimiter)
    actions: list[JsonObject] = []
    lines: list[int] = []
    mistakes: list[Mistake] = []
    try:
        header = [name.strip() for row in islice(rows, 1) for name in row.cells]
        problem = _header_problem(header)
        if problem:
            return Imported([], [Mistake(1, problem)])
        for line, _, cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(actions) == MAX_ACTIONS:
                mistakes.append(Mistake(line, f"an experiment has at most {MAX_ACTIONS:,} actions; keep fewer lines"))
                break
            if len(cells) > len(header):
                mistakes.append(Mistake(line, f"{len(cells)} cells, but {len(header)} columns: put quotes around text"))
                continue
            action, problems = _action(dict(zip(header, cells, strict=False)))
            mistakes += [Mistake(line, problem) for problem in problems]
            actions.append(action)
            lines.append(line)
    except CsvError as error:
        mistakes.append(Mistake(error.line, f"cannot be read as CSV ({error})"))
    if not actions and not mistakes:
        mistakes.append(Mistake(1, "there is no line under the header"))
    return Imported(actions, sorted([*mistakes, *_definition_mistakes(actions, lines)]))


def _header_problem(header: list[str]) -> str | None:
    if "id" not in header:
        return "the first line names the columns, and one of them is called id"
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        return f"the column {repeated[0]!r} appears twice"
    if "" in header:
        return f"column {header.index('') + 1} has no name"
    return f"at most {MAX_COLUMNS} columns" if len(header) > MAX_COLUMNS else None


def _action(cells: dict[str, str]) -> tuple[JsonObject, list[str]]:
    """One line as an action, and the errors of its cells."""
    problems: list[str] = []
    features: JsonObject = {}
    payload: dict[str, str] = {}
    whole: JsonObject = {}
    for name, cell in cells.items():
        kind, dot, rest = name.partition(".")
        if name == "id" or not cell.strip():
            continue
        if name in ("payload", "features"):
            value, problem = read_typed(cell)
            if problem:
                problems.append(f"{name}: {problem}")
            else:
                whole[name] = value
        elif dot and kind in ("feature", "features"):
            features[rest] = _value(cell.strip())
        else:
            payload[rest if dot and kind == "payload" else name] = cell
    action: JsonObject = {"id": cells["id"].strip(), "features": features, "payload": payload or None}
    return action | whole, problems


def _value(cell: str) -> Any:
    """A number, true or false if the cell is written like that, else the text."""
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    number, problem = read_typed(cell)
    return number if problem is None and isinstance(number, int | float) else cell


def _definition_mistakes(actions: list[JsonObject], lines: list[int]) -> list[Mistake]:
    """The lines' errors by the rules of an experiment's definition."""
    specs: list[ActionSpec] = []
    places: list[int] = []
    mistakes = []
    for action, line in zip(actions, lines, strict=True):
        try:
            specs.append(ActionSpec.model_validate(action))
            places.append(line)
        except ValidationError as error:
            mistakes += [Mistake(line, _words(problem)) for problem in pydantic_fields(error)]
    first = {spec.id: line for spec, line in reversed(list(zip(specs, places, strict=True)))}
    for problem in action_problems(specs):
        _, _, index, _, *rest = problem.path.split("/")
        spec = specs[int(index)]
        message = f"{_where('/'.join(rest))}{problem.message}"
        if problem.code == "action_id_repeated":
            message = f"the id {spec.id!r} is in line {first[spec.id]} already"
        mistakes.append(Mistake(places[int(index)], message))
    return mistakes


def _words(field: FieldError) -> str:
    if field.path == "/id":
        return "give an id of 1 to 500 characters"
    if field.path.startswith("/features"):
        return 'features: give a JSON object, such as {"size": 3}'
    return f"{_where(field.path)}{field.message}"


def _where(path: str) -> str:
    return f"{path.strip('/').replace('/', '.')}: " if path.strip("/") else ""
