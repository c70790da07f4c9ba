"""Read and write logs of decisions as CSV, Parquet, JSON Lines, or Vowpal Wabbit's dsjson.

One record is one decision with its reward. Reading yields (position, record), and every error names the position, such as
"line 7". Values are checked strictly and written without loss.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from app.files.refused import FileRefused
from app.foundation.fields import JsonObject
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
    "reward",
)
JSON_FIELDS: Final = ("context", "actions", "distribution")  # stored as JSON text in CSV and Parquet
FORMATS: Final = ("csv", "parquet", "jsonl", "dsjson")
Record = JsonObject


def format_of(path: Path, given: str | None) -> str:
    """Return the given format, or else the format of the file's ending.

    :raises FileRefused: it is not one of ``FORMATS``.
    """
    ending = path.suffix.lower().lstrip(".")
    format_ = given or {"pq": "parquet", "ndjson": "jsonl"}.get(ending, ending)
    if format_ not in FORMATS:
        raise FileRefused(f"{path.name}: name the format with --format ({', '.join(FORMATS)})")
    return format_


def read(path: Path, kind: str) -> Iterator[tuple[str, Record]]:
    """Yield the records with their position ("line 7", "row 6").

    :raises FileRefused: the file does not exist or does not have this format.
    """
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Record]]]] = {
        "csv": _read_csv,
        "parquet": _read_parquet,
        "jsonl": _read_lines,
        "dsjson": _read_dsjson,
    }
    try:
        yield from readers[kind](path)
    except FileNotFoundError:
        raise FileRefused(f"there is no file {path}") from None
    except UnicodeDecodeError:
        raise FileRefused(f"{path.name}, line {_undecodable(path)}: not UTF-8 text; save it as UTF-8") from None
    except pa.ArrowException as error:
        raise FileRefused(f"{path.name} cannot be read: {error}") from None


def write(path: Path, kind: str, records: Iterable[Record]) -> int:
    """Write records and return their number. The file appears only when it is complete."""
    draft = path.with_name(path.name + ".part")
    try:
        if kind == "parquet":
            count = _write_parquet(draft, records)
        else:
            with draft.open("w", encoding="utf-8", newline="") as file:
                count = _write_csv(file, records) if kind == "csv" else _write_lines(file, records, kind)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return count


def _read_csv(path: Path) -> Iterator[tuple[str, Record]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = (row for row in csv_rows(file) if row.cells)
        try:
            header = next(rows, None)
            for row in rows:
                line = f"line {row.last}"
                if header is None or len(row.cells) != len(header.cells):
                    raise FileRefused(
                        f"{path.name}, {line}: the line does not have as many fields as the header; fix it"
                    )
                yield line, dict(zip(header.cells, row.cells, strict=True))
        except CsvError as error:
            raise FileRefused(f"{path.name}, line {error.line}: {error}; quotes may be broken there") from None


def _undecodable(path: Path) -> int:
    """Return the number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _read_parquet(path: Path) -> Iterator[tuple[str, Record]]:
    row = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=5000):
        for record in _whole_microseconds(batch).to_pylist():
            row += 1
            yield f"row {row}", record


def _whole_microseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times in nanoseconds, which pandas writes, in the microseconds that the log holds."""
    columns = [
        column.cast(pa.timestamp("us", column.type.tz), safe=False)
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns"
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield f"line {number}", orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise FileRefused(f"{path.name}, line {number}: not JSON: {error}") from None


def _read_lines(path: Path) -> Iterator[tuple[str, Record]]:
    for position, record in _json_lines(path):
        if not isinstance(record, dict):
            raise FileRefused(f"{path.name}, {position}: give one JSON object per line")
        yield position, record


def _read_dsjson(path: Path) -> Iterator[tuple[str, Record]]:
    for position, record in _json_lines(path):
        if no_decision(record):
            continue
        if isinstance(record, dict) and record.get("pdrop"):
            raise FileRefused(
                f"{path.name}, {position}: the log was thinned out (pdrop is {record['pdrop']}), so its means would be "
                "wrong; write it again without dropping events"
            )
        try:
            yield position, from_dsjson(record)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise FileRefused(f"{path.name}, {position}: not a dsjson event of Vowpal Wabbit: {error!r}") from None


def no_decision(event: object) -> str | None:
    """Why an event of a decision service is no decision with a reward, in words; null if it is one."""
    if not isinstance(event, dict):
        return None
    if "c" not in event and "RewardValue" in event:
        return "a reward of a decision that is not in the file"
    never = event.get("_skipLearn") or (event.get("DeferredAction") and "_label_cost" not in event)
    return "a decision that was deferred and never shown" if never else None


def skipped(path: Path, kind: str) -> dict[str, int]:
    """What a file holds beside decisions, counted by the reason for leaving it out."""
    if kind != "dsjson":
        return {}
    return Counter(reason for _, event in _json_lines(path) if (reason := no_decision(event)))


def from_dsjson(event: Record) -> Record:
    """Convert an event of Vowpal Wabbit's decision service format. Its cost is the negative reward."""
    multi = event["c"]["_multi"]
    order, chances = event["a"], event["p"]
    if sorted(order) != list(range(1, len(multi) + 1)) or len(chances) != len(order):
        raise ValueError("a and p must name every action of _multi once")
    distribution = [0.0] * len(multi)
    for index, chance in zip(order, chances, strict=True):
        distribution[index - 1] = float(chance)
    chosen = int(event["_labelIndex"]) if "_labelIndex" in event else int(event["_label_Action"]) - 1
    names = [str(action.get("_tag") or action.get("id") or index + 1) for index, action in enumerate(multi)]
    exact = event.get("_loopwise", {})
    actions = [
        {"id": name, "features": {k: v for k, v in action.items() if k != "_tag"}}
        for name, action in zip(names, multi, strict=True)
    ]
    return {
        "decision_id": event.get("EventId"),
        "decided_at": event.get("Timestamp"),
        "unit_id": event.get("_unit"),
        "context": exact.get("context", {key: value for key, value in event["c"].items() if key != "_multi"}),
        "actions": exact.get("actions", actions),
        "distribution": distribution,
        "action": names[chosen],
        "propensity": float(event["_label_probability"]),
        "reward": -float(event["_label_cost"]),
    }


def to_dsjson(record: Record) -> Record:
    """Convert a record to an event. Values that Vowpal Wabbit cannot read are also stored under a name that it ignores."""
    actions = record["actions"]
    names = [action["id"] for action in actions]
    chosen = names.index(record["action"])
    multi = [{"_tag": action["id"], **_readable(action["features"])} for action in actions]
    order = [chosen, *(index for index in range(len(names)) if index != chosen)]
    context = _readable(record["context"])
    event = {
        "_label_cost": 0.0 - record["reward"],
        "_label_probability": record["propensity"],
        "_label_Action": chosen + 1,
        "_labelIndex": chosen,
        "_unit": record["unit_id"],
        "Timestamp": record["decided_at"],
        "Version": "1",
        "EventId": record["decision_id"],
        "a": [index + 1 for index in order],
        "c": {**context, "_multi": multi},
        "p": [record["distribution"][index] for index in order],
    }
    if from_dsjson(event)["context"] != record["context"] or from_dsjson(event)["actions"] != actions:
        event["_loopwise"] = {"context": record["context"], "actions": actions}
    return event


def _readable(features: Any) -> Record:
    """Convert features for Vowpal Wabbit's JSON reader, which accepts one object, with lists of numbers only."""
    if isinstance(features, dict):
        return {
            name.lstrip("_") or "-": _readable_value(value) for name, value in features.items() if value is not None
        }
    return {name: value for part in features for name, value in _readable(part).items()}


def _readable_value(value: Any) -> Any:
    if isinstance(value, dict):
        return _readable(value)
    if not isinstance(value, list) or all(type(item) in (int, float) for item in value):
        return value
    named = {item: True for item in value if isinstance(item, str)}
    return named | {str(n): _readable_value(item) for n, item in enumerate(value) if not isinstance(item, str | None)}


def _write_lines(file: IO[str], records: Iterable[Record], kind: str) -> int:
    count = 0
    for record in records:
        file.write(orjson.dumps(to_dsjson(record) if kind == "dsjson" else record).decode() + "\n")
        count += 1
    return count


def _flat(record: Record) -> Record:
    return {name: json.dumps(record[name]) if name in JSON_FIELDS else record[name] for name in FIELDS}


def _write_csv(file: IO[str], records: Iterable[Record]) -> int:
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    count = 0
    for record in records:
        writer.writerow(_flat(record))
        count += 1
    return count


def _write_parquet(path: Path, records: Iterable[Record]) -> int:
    types = dict.fromkeys(("arm_probability", "propensity", "reward"), pa.float64()) | {"policy_version": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in FIELDS])
    count, part = 0, []
    with pq.ParquetWriter(path, schema) as writer:
        for record in records:
            part.append(_flat(record))
            count += 1
            if len(part) == 5000:
                writer.write_table(pa.Table.from_pylist(part, schema))
                part = []
        writer.write_table(pa.Table.from_pylist(part, schema))
    return count
