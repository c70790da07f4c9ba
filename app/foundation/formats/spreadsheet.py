"""Tables as files for people: CSV whose texts no spreadsheet runs as formulas, and Parquet with everything exact."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import IO, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")  # what makes a spreadsheet run a cell
TYPES: Final = {"text": pa.string(), "number": pa.float64(), "integer": pa.int64(), "time": pa.timestamp("us", "UTC")}
Cell = str | int | float | datetime | None  # null where a value is missing
Page = list[tuple[Cell, ...]]  # rows


class Column(NamedTuple):
    """One column."""

    name: str
    kind: str = "text"  # a key of TYPES


def neutral(value: Cell) -> Cell:
    """A CSV cell. A text that a spreadsheet would run gets an apostrophe in front; numbers are never touched."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write(file: IO[bytes], kind: str, columns: Sequence[Column], pages: Iterable[Page]) -> int:
    """Write pages of rows, one page in memory at a time; returns how many rows.

    :param kind: csv or parquet.
    """
    return _write_parquet(file, columns, pages) if kind == "parquet" else _write_csv(file, columns, pages)


def _write_csv(file: IO[bytes], columns: Sequence[Column], pages: Iterable[Page]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    count = 0
    for page in pages:
        writer.writerows([[_cell(value) for value in row] for row in page])
        count += len(page)
    text.detach()  # the file stays open: it is the caller's
    return count


def _cell(value: Cell) -> Cell:
    return value.isoformat() if isinstance(value, datetime) else neutral(value)


def _write_parquet(file: IO[bytes], columns: Sequence[Column], pages: Iterable[Page]) -> int:
    schema = pa.schema([(column.name, TYPES[column.kind]) for column in columns])
    count = 0
    with pq.ParquetWriter(file, schema) as writer:
        for page in pages:
            values = list(zip(*page, strict=True)) or [()] * len(columns)
            arrays = [pa.array(list(cells), TYPES[column.kind]) for cells, column in zip(values, columns, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(page)
    return count
