"""Read and write logs of decisions as CSV, Parquet, JSON Lines, or Vowpal Wabbit's dsjson.

One record is one decision with its reward. Reading yields (position, record), and every error names the position, such as
"line 7". Values are checked strictly and written without loss.
"""

import contextlib
import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from app.files import dsjson
from app.files.dsjson import NotAnEvent
from app.files.dsjson_writing import to_dsjson
from app.files.refused import FileRefused
from app.files.streams import beginning, byte_lines, text_lines
from app.foundation.fields import Json, JsonObject
from app.foundation.formats.csv_rows import CsvError, csv_rows

FIELDS: Final = (
    "decision_id",
    "decided_at",
    "unit_id",
    "arm",
    "arm_probability",
    "policy_version",
    "context",
    "actions",
    "distribution",
    "action",
    "propensity",
    "arm_propensity",
    "arm_distributions",
    "experiment",
    "reward",
    "stands_for",
)
# Stored as JSON text in CSV and Parquet.
JSON_FIELDS: Final = ("context", "actions", "distribution", "arm_distributions", "experiment")
FORMATS: Final = ("csv", "parquet", "jsonl", "dsjson")
CUT_OFF: Final = "a last line that was cut off"
TWICE: Final = "an event that the file holds twice, word for word"
SNIFFED = 1 << 16  # bytes of a file that tell dsjson from JSON Lines
Record = JsonObject


def format_of(path: Path, given: str | None) -> str:
    """Return the given format, or else that of the file's ending; an ending of JSON is decided by the content.

    :raises FileRefused: it is not one of ``FORMATS``.
    """
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".gzip") else path
    ending = name.suffix.lower().lstrip(".")
    format_ = given or {"pq": "parquet", "ndjson": "jsonl", "json": "jsonl"}.get(ending, ending)
    if format_ not in FORMATS:
        raise FileRefused(f"{path.name}: name the format with --format ({', '.join(FORMATS)})")
    return "dsjson" if format_ == "jsonl" and given is None and path.is_file() and _holds_events(path) else format_


def _holds_events(path: Path) -> bool:
    lines = beginning(path, SNIFFED).removeprefix(b"\xef\xbb\xbf").strip().splitlines()
    return bool(lines) and lines[0].startswith(b"{") and (b'"_multi"' in lines[0] or b'"_label_c' in lines[0])


def read(
    path: Path, kind: str, *, delimiter: str = ",", left_out: Counter[str] | None = None
) -> Iterator[tuple[str, Record]]:
    """Yield the records with their position ("line 7", "row 6").

    :param delimiter: between the cells of a CSV file.
    :param left_out: counts what the file holds beside decisions, by the reason for leaving it out.
    :raises FileRefused: the file does not exist or does not have this format.
    """
    counted = Counter[str]() if left_out is None else left_out
    readers: dict[str, Callable[[], Iterator[tuple[str, Record]]]] = {
        "csv": lambda: _read_csv(path, delimiter),
        "parquet": lambda: _read_parquet(path),
        "jsonl": lambda: _read_lines(path, counted),
        "dsjson": lambda: _read_dsjson(path, counted),
    }
    beginning(path)
    try:
        yield from readers[kind]()
    except (pa.ArrowException, OSError, UnicodeError, OverflowError, ValueError) as error:
        raise FileRefused(f"{path.name} cannot be read: {str(error).splitlines()[0] if str(error) else kind}") from None
    except RecursionError:
        raise FileRefused(f"{path.name} cannot be read: a value nests too deep; flatten it") from None


def write(path: Path, kind: str, records: Iterable[Record]) -> int:
    """Write records and return their number. The file appears only when it is complete.

    :raises FileRefused: the file cannot be written.
    """
    draft = path.with_name(path.name + ".part")
    try:
        if kind == "parquet":
            count = _write_parquet(draft, records)
        else:
            with draft.open("w", encoding="utf-8", newline="") as file:
                count = _write_csv(file, records) if kind == "csv" else _write_lines(file, records, kind)
        draft.replace(path)
    except OSError as error:
        raise FileRefused(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return count


def _read_csv(path: Path, delimiter: str) -> Iterator[tuple[str, Record]]:
    rows = (row for row in csv_rows(text_lines(path), delimiter) if row.cells)
    try:
        header = next(rows, None)
        if header is not None:
            _check_header(path, header.cells)
        for row in rows:
            line = f"line {row.last}"
            if header is None or len(row.cells) != len(header.cells):
                raise FileRefused(f"{path.name}, {line}: the line does not have as many fields as the header; fix it")
            yield line, dict(zip(header.cells, row.cells, strict=True))
    except CsvError as error:
        raise FileRefused(f"{path.name}, line {error.line}: {error}; quotes may be broken there") from None


def _check_header(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise FileRefused(f"{path.name}, line 1: two columns are named {twice[0]!r}; rename one of them")
    if len(names) == 1 and ";" in names[0]:
        raise FileRefused(f"{path.name}, line 1: one column only; if semicolons part the cells, give --delimiter ';'")


def _read_parquet(path: Path) -> Iterator[tuple[str, Record]]:
    row = 0
    file = pq.ParquetFile(path)
    _check_header(path, file.schema_arrow.names)
    for batch in file.iter_batches(batch_size=5000):
        for record in _plain(batch).to_pylist():
            row += 1
            yield f"row {row}", record


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times in nanoseconds, which pandas writes, in the microseconds that the log holds; categories as their values."""
    columns = []
    for column in batch.columns:
        plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        if pa.types.is_timestamp(plain.type) and plain.type.unit == "ns":
            plain = plain.cast(pa.timestamp("us", plain.type.tz), safe=False)
        columns.append(plain)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _json_lines(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Json]]:
    count = 0
    for number, line in byte_lines(path):
        if not line.strip():
            continue
        try:
            document = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if count and not line.endswith(b"\n"):
                left_out[CUT_OFF] += 1
                return
            raise FileRefused(f"{path.name}, line {number}: not JSON: {error}") from None
        count += 1
        yield f"line {number}", document


def _read_lines(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Record]]:
    for position, record in _json_lines(path, left_out):
        if not isinstance(record, dict):
            raise FileRefused(f"{path.name}, {position}: give one JSON object per line")
        yield position, record


def _read_dsjson(path: Path, left_out: Counter[str]) -> Iterator[tuple[str, Record]]:
    seen: dict[str, bytes] = {}
    for position, event in _json_lines(path, left_out):
        where = f"{path.name}, {position}"
        if not isinstance(event, dict):
            raise FileRefused(f"{where}: give one JSON object per line")
        try:
            reason = dsjson.reason_to_leave_out(event) or _repeats(event, seen)
            if reason:
                left_out[reason] += 1
                continue
            converted = dsjson.records(event, position)
        except NotAnEvent as error:
            raise FileRefused(f"{where}: not a dsjson event of Vowpal Wabbit that can be read: {error}") from None
        for number, record in enumerate(converted, start=1):
            yield position if len(converted) == 1 else f"{position}, slot {number}", record


def _repeats(event: Record, seen: dict[str, bytes]) -> str | None:
    """Say that the file holds an event twice. Services that deliver at least once write such files."""
    key = event.get("EventId")
    if not isinstance(key, str):
        return None
    try:
        plain = orjson.dumps(event, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # of what was read, only the depth can be wrong
        raise NotAnEvent("a value nests too deep; flatten it") from None
    digest = hashlib.sha256(plain).digest()[:16]
    if key in seen:
        return TWICE if seen[key] == digest else None
    seen[key] = digest
    return None


def _write_lines(file: IO[str], records: Iterable[Record], kind: str) -> int:
    count = 0
    for record in records:
        file.write(orjson.dumps(to_dsjson(record) if kind == "dsjson" else record).decode() + "\n")
        count += 1
    return count


def _flat(record: Record) -> Record:
    def cell(name: str) -> Json:
        value = record.get(name)
        return json.dumps(value) if name in JSON_FIELDS and value is not None else value

    return {name: cell(name) for name in FIELDS}


def _write_csv(file: IO[str], records: Iterable[Record]) -> int:
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for record in records:
        writer.writerow(_flat(record))
        count += 1
    return count


def _write_parquet(path: Path, records: Iterable[Record]) -> int:
    numbers = ("arm_probability", "propensity", "arm_propensity", "reward", "stands_for")
    types = dict.fromkeys(numbers, pa.float64()) | {"policy_version": pa.int64()}
    types |= {"decided_at": pa.timestamp("us", "UTC")}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in FIELDS])
    count, part = 0, []
    with pq.ParquetWriter(path, schema) as writer:
        for record in records:
            part.append(_flat(record) | {"decided_at": datetime.fromisoformat(str(record["decided_at"]))})
            count += 1
            if len(part) == 5000:
                writer.write_table(pa.Table.from_pylist(part, schema))
                part = []
        writer.write_table(pa.Table.from_pylist(part, schema))
    return count
