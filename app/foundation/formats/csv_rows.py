"""The rows of a CSV text, each with its line numbers: quoted cells may hold line breaks."""

import csv
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class CsvError(ValueError):
    """The text is not CSV from a line on; mostly a quote is missing or too many."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line  # from 1, where the broken row begins


class CsvRow(NamedTuple):
    """One row."""

    first: int  # line on which it begins, from 1
    last: int  # line on which it ends
    cells: list[str]  # as written; none on an empty line


def csv_rows(lines: Iterable[str], delimiter: str = ",") -> Iterator[CsvRow]:
    """Every row, the header too.

    :param lines: an open text file, or the lines of a text, with their line breaks.
    :raises CsvError: broken quoting.
    """
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise CsvError(first, str(error)) from None
        if cells is None:
            return
        yield CsvRow(first, reader.line_num, cells)
