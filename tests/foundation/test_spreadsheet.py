"""Tables as files: no text becomes a formula in CSV, every text is exact in Parquet, numbers are never touched."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.foundation.formats.spreadsheet import Column, neutral, write

COLUMNS = (Column("text"), Column("number", "number"), Column("integer", "integer"), Column("at", "time"))
AT = datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)
HOSTILE = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"]
HARMLESS = ["", "a=b", " =1", "plain", "'=1", "ü", "a,b", 'say "hi"', "two\nlines", "\u202eright to left", "x" * 10_000]


def written(kind: str, *pages: list[tuple[Any, ...]]) -> io.BytesIO:
    file = io.BytesIO()
    assert write(file, kind, COLUMNS, pages) == sum(map(len, pages))
    file.seek(0)
    return file


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert neutral(text) == f"'{text}"


@pytest.mark.parametrize("value", [*HARMLESS, -1.5, -3, 0, None, True])
def test_everything_else_stays_as_it_is(value: Any) -> None:
    assert neutral(value) is value


def test_csv_has_the_same_rows() -> None:
    rows = [(text, -0.1, -7, AT) for text in HOSTILE + HARMLESS] + [(None, None, None, None)]
    text = written("csv", rows[:5], rows[5:]).read().decode()
    cells = list(csv.reader(io.StringIO(text, newline="")))
    assert cells[0] == ["text", "number", "integer", "at"]
    assert cells[1] == ["'=cmd|' /C calc'!A0", "-0.1", "-7", "2026-01-31T12:30:00.123456+00:00"]
    assert [row[0] for row in cells[1:-1]] == [f"'{text}" for text in HOSTILE] + HARMLESS
    assert cells[-1] == ["", "", "", ""]


def test_numbers_keep_every_digit() -> None:
    values = [0.1 + 0.2, 1e-300, -1.7976931348623157e308, 2.0]
    text = written("csv", [("x", value, 2**62, AT) for value in values]).read().decode()
    assert [float(row.split(",")[1]) for row in text.splitlines()[1:]] == values


def test_parquet_holds_texts_exactly_and_types() -> None:
    rows = [(text, -0.1, -7, AT) for text in HOSTILE + HARMLESS] + [(None, None, None, None)]
    table = pq.read_table(written("parquet", rows[:5], rows[5:]))
    assert [str(kind) for kind in table.schema.types] == ["string", "double", "int64", "timestamp[us, tz=UTC]"]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_without_rows_has_its_columns(kind: str) -> None:
    file = written(kind, [])
    if kind == "csv":
        assert file.read() == b"text,number,integer,at\r\n"
    else:
        assert pq.read_table(file).column_names == [column.name for column in COLUMNS]
