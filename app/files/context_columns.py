"""Columns of a file that become context fields: which of them hold numbers, and which hold codes."""

from datetime import date
from pathlib import Path
from typing import NamedTuple

from app.files.log_files import Record, read
from app.files.refused import FileRefused
from app.files.values import MISSING_WORDS, NUMBER, PLAIN_NUMBER, number_of
from app.foundation.fields import Json
from bandits.encoding import MAX_ABS


class Mapping(NamedTuple):
    """Which columns of a file become which fields, and how a text file writes them."""

    columns: dict[str, str]  # from our field to the file's column
    context_columns: tuple[str, ...]  # columns that become context fields
    number_columns: tuple[str, ...] = ()  # those of them that are declared to be numbers: 007 is 7
    delimiter: str = ","  # of a CSV file
    decimal: str = "."  # decimal mark of a CSV file's numbers


def context_of(raw: Record, mapping: Mapping, numbers: frozenset[str]) -> dict[str, Json]:
    """Return the context fields of one record. An empty cell of a column of numbers has no value.

    :param numbers: the columns of a text file that hold numbers.
    """
    found: dict[str, Json] = {}
    for column in mapping.context_columns:
        value = raw[column]
        if column in numbers:
            found[column] = number_of(value, mapping.decimal) if value else None
        else:
            found[column] = value.isoformat() if isinstance(value, date) else value
    return found


def number_columns(path: Path, mapping: Mapping) -> frozenset[str]:
    """Return the context columns of a CSV file that hold numbers. One code, such as 01234, makes a column texts.

    :raises FileRefused: a column is declared to be numbers, or holds them but for words such as nan.
    """
    for column in mapping.number_columns:
        if column not in mapping.context_columns:
            raise FileRefused(f"{path.name}: {column!r} is declared to be numbers; name it in --context-columns, too")
    if not mapping.context_columns:
        return frozenset()
    seen = {column: _Seen(column in mapping.number_columns) for column in mapping.context_columns}
    for position, raw in read(path, "csv", delimiter=mapping.delimiter):
        for column, cells in seen.items():
            if not cells.take(_pointed(raw.get(column, ""), mapping.decimal), position):
                raise FileRefused(f"{path.name}, {position}: {column} is {raw[column]!r}, which is not a number")
    for column, cells in seen.items():
        if cells.word_at is not None and (cells.declared or (cells.filled and not cells.codes)):
            raise FileRefused(
                f"{path.name}, {cells.word_at}: {column} holds numbers, but here a word for a missing one; leave the cell empty"
            )
    return frozenset(
        column for column, cells in seen.items() if not cells.codes and (cells.filled or cells.word_at is None)
    )


class _Seen:
    """What the cells of one column are."""

    def __init__(self, declared: bool) -> None:
        self.declared = declared  # to be numbers
        self.codes = self.filled = False  # whether a cell holds a code, a number
        self.word_at: str | None = None  # where a cell says nan

    def take(self, text: str, position: str) -> bool:
        """Look at one cell. False: it is no number, though the column is declared to be numbers."""
        pattern = NUMBER if self.declared else PLAIN_NUMBER
        if text.lower() in MISSING_WORDS:
            self.word_at = self.word_at or position
        elif text and pattern.fullmatch(text) and (self.declared or not _is_long_code(text)):
            self.filled = True
        elif text:
            self.codes = True
        return not (self.declared and self.codes)


def _is_long_code(text: str) -> bool:
    """Whether digits without a point are beyond what a feature may be: an account or a telephone, no amount."""
    return text.lstrip("-").isdigit() and len(text) > 9 and abs(float(text)) > MAX_ABS


def _pointed(text: str, decimal: str) -> str:
    """Return a number as written with a point; a text that has one already stays no number."""
    if decimal == ".":
        return text
    return "code" if "." in text else text.replace(decimal, ".")
