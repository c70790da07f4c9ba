"""Read and check columns of a CSV or Parquet file, for both file reports.

Arrow streams the CSV and parses floats exactly. Only the requested columns stay in memory. Every problem becomes a
`FileRefused` with a sentence that names the line. A damaged file is never guessed at.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from app.files.refused import FileRefused
from app.files.streams import beginning, byte_lines, text_lines, unpacked
from app.files.values import number_of
from app.foundation.formats.csv_rows import CsvError, CsvRow, csv_rows
from experiments.validation import DataError, FloatArray, IntArray

BLOCK_BYTES = 1 << 22
LARGEST = 1e50


class TextStyle(NamedTuple):
    """How a text file writes its cells."""

    delimiter: str = ","
    decimal: str = "."
    """The decimal mark of numbers."""


COMMAS = TextStyle()


class Columns(NamedTuple):
    """The requested columns, without missing values."""

    numbers: dict[str, FloatArray]
    """By column name, an array of finite float64, one per row."""
    codes: dict[str, IntArray]
    """By column name, an array of codes 0..k-1 in order of first appearance, one per row."""
    labels: dict[str, list[str]]
    """By column name, the text of each code."""
    position: Position
    """Translates a row index into a position in the file."""


class Position(NamedTuple):
    """Translates a row index into words."""

    kind: str
    """"line" for text files, "row" for Parquet, "named" for logs."""
    empty_lines: tuple[int, ...] = ()
    """Numbers, from 1, of the empty lines, which have no row."""
    names: tuple[str, ...] = ()
    """Of a log: each row's position, such as "line 7, slot 2"."""

    def of(self, row: int) -> str:
        """Return "on line 7" for text (the header is line 1), or "in row 6" for Parquet (rows count from 1)."""
        if self.kind == "row":
            return f"in row {row + 1}"
        if self.kind == "named":
            return f"in {self.names[row]}" if self.names[row].startswith("row") else f"on {self.names[row]}"
        line = row + 2
        for empty in self.empty_lines:
            line += empty <= line
        return f"on line {line}"


def located(path: Path, error: DataError, position: Position) -> FileRefused:
    """Turn a `DataError` into a `FileRefused`, with the row as a line of the file."""
    sentence = error.sentence(None if error.row is None else position.of(error.row))
    return FileRefused(f"{path.name}: {sentence}")


def read_columns(path: Path, numbers: list[str], texts: list[str], style: TextStyle = COMMAS) -> Columns:
    """Read these columns of a file.

    :param numbers: names of columns of numbers.
    :param texts: names of columns of texts.
    :raises FileRefused: a column or a value is missing, or the file is not a clean table.
    """
    if len(style.delimiter) != 1 or style.delimiter in f'"\r\n{style.decimal}':
        raise FileRefused("The delimiter must be one character: no quote, no line end, and not the decimal mark.")
    start = beginning(path)
    if not start:
        raise FileRefused(f"{path.name} is empty: give a file with a header line and at least one row.")
    if start == b"PAR1" or path.suffix.lower() in (".parquet", ".pq"):
        return _collect(path, _parquet_batches(path, numbers, texts), numbers, texts, Position("row"))
    empty_lines = _check_text(path)
    _check_header(path, _header(path, style), numbers, texts)
    return _collect(path, _csv_batches(path, numbers, texts, style), numbers, texts, Position("line", empty_lines))


def refuse_extremes(path: Path, columns: Columns, names: list[str]) -> None:
    """Refuse numbers whose squares and ratios cannot be computed.

    :raises FileRefused: a number of these columns is beyond ``LARGEST``, or closer to 0 than its inverse.
    """
    for name in names:
        size = np.abs(columns.numbers[name])
        bad = (size > LARGEST) | ((size > 0) & (size < 1 / LARGEST))
        if bad.any():
            row = int(np.argmax(bad))
            value = columns.numbers[name][row]
            raise FileRefused(
                f"{path.name}: {name} is {value:g} {columns.position.of(row)}: numbers beyond {LARGEST:g}, or closer to 0 than "
                f"{1 / LARGEST:g}, cannot be squared."
            )


def _collect(
    path: Path, batches: Iterator[pa.RecordBatch], numbers: list[str], texts: list[str], position: Position
) -> Columns:
    arrays: dict[str, list[FloatArray]] = {name: [] for name in numbers}
    words: dict[str, list[pa.Array]] = {name: [] for name in texts}
    rows = 0
    for batch in batches:
        for name, floats in arrays.items():
            floats.append(_floats(path, name, batch.column(name), rows, position))
        for name, parts in words.items():
            parts.append(_words(path, name, batch.column(name), rows, position))
        rows += batch.num_rows
    if rows == 0:
        raise FileRefused(f"{path.name} has a header but no rows: give at least one row.")
    codes, labels = {}, {}
    for name, pieces in words.items():
        encoded = pa.chunked_array(pieces, type=pa.string()).combine_chunks().dictionary_encode()
        codes[name] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        labels[name] = [str(label) for label in encoded.dictionary.to_pylist()]
    return Columns({name: np.concatenate(parts) for name, parts in arrays.items()}, codes, labels, position)


def _floats(path: Path, name: str, values: pa.Array, rows_before: int, position: Position) -> FloatArray:
    try:
        array = np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FileRefused(f"{path.name}: column {name} is not numeric: give a column of numbers.") from error
    bad = ~np.isfinite(array)
    if bad.any():
        where = position.of(rows_before + int(np.argmax(bad)))
        raise FileRefused(
            f"{path.name}: {name} is missing or not a finite number {where}: repair the value or drop the row."
        )
    return array


def _words(path: Path, name: str, values: pa.Array, rows_before: int, position: Position) -> pa.Array:
    try:
        text = values.cast(pa.string())
    except pa.ArrowException as error:
        raise FileRefused(
            f"{path.name}: column {name} holds lists or objects: give a column of plain values."
        ) from error
    bad = np.asarray(pc.or_kleene(pc.is_null(text), pc.equal(text, "")).to_numpy(zero_copy_only=False), dtype=bool)
    if bad.any():
        where = position.of(rows_before + int(np.argmax(bad)))
        raise FileRefused(f"{path.name}: {name} is missing {where}: give every row a value or drop the row.")
    return text


def _parquet_batches(path: Path, numbers: list[str], texts: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileRefused(f"{path.name} is not a readable Parquet file: write it again or give a CSV.") from error
    _check_header(path, list(file.schema_arrow.names), numbers, texts)
    try:
        yield from file.iter_batches(batch_size=1 << 17, columns=list(dict.fromkeys(numbers + texts)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileRefused(f"{path.name} is damaged and stops being readable: write it again.") from error


def _csv_batches(path: Path, numbers: list[str], texts: list[str], style: TextStyle) -> Iterator[pa.RecordBatch]:
    wanted = list(dict.fromkeys(numbers + texts))
    types = {name: pa.float64() for name in numbers} | {name: pa.string() for name in texts}
    try:
        with unpacked(path) as stream:
            yield from pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
                parse_options=pa_csv.ParseOptions(delimiter=style.delimiter),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=wanted, column_types=types, decimal_point=style.decimal
                ),
            )
    except pa.ArrowException as error:
        raise _first_bad_line(path, numbers, style) or FileRefused(
            f"{path.name} is not a clean CSV table ({str(error).splitlines()[0]}): repair or re-export it."
        ) from error


def _first_bad_line(path: Path, numbers: list[str], style: TextStyle) -> FileRefused | None:
    """Find the first line that has a wrong number of fields or a value that is not a number."""
    rows = (row for row in csv_rows(text_lines(path), style.delimiter) if row.cells)
    try:
        return _bad_line(path, rows, numbers, style)
    except CsvError as error:
        return FileRefused(f"{path.name} is not CSV from line {error.line} on ({error}): repair the quotes there.")


def _bad_line(path: Path, rows: Iterator[CsvRow], numbers: list[str], style: TextStyle) -> FileRefused | None:
    header = next(rows).cells
    wanted = [(name, header.index(name)) for name in numbers]
    for row in rows:
        if len(row.cells) != len(header):
            return FileRefused(
                f"{path.name} has {len(row.cells)} fields on line {row.last} but {len(header)} columns: "
                "repair that line (a comma or a quote is missing or too many)."
            )
        for name, index in wanted:
            if row.cells[index].strip() and number_of(row.cells[index], style.decimal) is None:
                return FileRefused(
                    f"{path.name}: {name} is {row.cells[index]!r} on line {row.last}, which is not a number: "
                    "repair the value or drop the row."
                )
    return None


def _header(path: Path, style: TextStyle) -> list[str]:
    try:
        return next((row.cells for row in csv_rows(text_lines(path), style.delimiter)), [])
    except CsvError as error:
        raise FileRefused(f"{path.name} is not CSV from line 1 on ({error}): repair the quotes there.") from error


def _check_header(path: Path, header: list[str], numbers: list[str], texts: list[str]) -> None:
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise FileRefused(f"{path.name} has two columns named {twice}: rename one of them on line 1.")
    for name in numbers + texts:
        if name not in header:
            names = ", ".join(header[:30])[:1000] + (", ..." if len(header) > 30 else "")
            if len(header) == 1 and ";" in header[0]:
                raise FileRefused(
                    f"{path.name} has one column only: if semicolons part the cells, give --delimiter ';'."
                )
            raise FileRefused(f"{path.name} has no column {name}: choose one of those on line 1 ({names}).")


def _check_text(path: Path) -> tuple[int, ...]:
    """Refuse mixed line ends and broken quotes; returns the numbers of the empty lines.

    This is one fast pass over the bytes. Only files with quotes, empty lines or mixed line ends are read line by line.
    """
    newlines = returns = pairs = quotes = blanks = 0
    last = b""
    with unpacked(path) as stream:
        while block := stream.read(BLOCK_BYTES):
            joined = last + block
            newlines += block.count(b"\n")
            returns += block.count(b"\r")
            quotes += block.count(b'"')
            pairs += joined.count(b"\r\n")
            blanks += joined.count(b"\n\n") + joined.count(b"\n\r\n")
            # Keep only a line end, so that no pair of the last block is counted twice.
            last = block[-1:] if block[-1:] in b"\r\n" else b""
    if returns and not newlines:
        raise FileRefused(f"{path.name} ends its lines with carriage returns only: save it with line feeds.")
    mixed = returns > 0 and (pairs != newlines or pairs != returns)
    if mixed or quotes or blanks:
        return _check_lines(path, check_ends=mixed)
    return ()


def _check_lines(path: Path, *, check_ends: bool) -> tuple[int, ...]:
    empty: list[int] = []
    first_end = b""
    for number, line in byte_lines(path):
        body = line.rstrip(b"\r\n")
        end = line[len(body) :]
        first_end = first_end or end
        if check_ends and (b"\r" in body or (end and end != first_end)):
            raise FileRefused(
                f"{path.name} mixes line ends (the first other one is on line {number}): save it with one kind."
            )
        if line.count(b'"') % 2:
            raise FileRefused(
                f"{path.name} has a quote that is not closed on line {number}: close it, or remove line breaks "
                "from quoted text."
            )
        if not body:
            empty.append(number)
    return tuple(empty)
