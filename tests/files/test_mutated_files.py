"""Files that were damaged or tampered with: each reader reads them or refuses them in one sentence, whatever they hold."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.files.dsjson_writing import to_dsjson
from app.files.file_comparison import CompareRequest, compare_file
from app.files.file_evaluation import EvaluateRequest, evaluate_file, evaluation_document
from app.files.log_files import FIELDS, FORMATS, write
from app.files.records import AS_EXPORTED
from app.files.refused import FileRefused
from app.files.transfer import _configs, _first_reading, _to_store
from app.foundation.errors import LoopwiseError
from tests.files.test_dsjson import SLOTS, event

TIMES = 200
ODD: list[Any] = [
    None, True, False, 0, -1, 0.5, 1e308, -1e308, 5e-324, 2**63, -(2**70), "", "x", "1_000", "nan", "\0", "🙂" * 400, "{", "[1",
    [], {}, [[]], [None], {"a": {"b": [{}]}}, "2026-01-01", 1769860800, [1, "a", None], {"id": []}, "-0", "１", {"": ""},
    "x" * 1500,
]  # fmt: skip


def record(number: int) -> dict[str, Any]:
    """A decision as `loopwise export` writes it."""
    chances, chosen = [0.5, 0.3, 0.2], number % 3
    arms = [{"key": "on", "share": 1.0, "policy": {"type": "uniform"}}]
    values = {
        "decision_id": f"d{number}", "decided_at": f"2026-01-01T00:00:{number:02d}+00:00", "unit_id": f"u{number % 5}",
        "arm": "on", "arm_probability": 1.0, "policy_version": 0, "context": {"age": 1.5, "plan": "p", "tags": ["a"]},
        "actions": [{"id": name, "features": {"f": index}} for index, name in enumerate("abc")], "distribution": chances,
        "action": "abc"[chosen], "propensity": chances[chosen], "arm_propensity": chances[chosen],
        "arm_distributions": {"on": chances}, "experiment": {"arms": arms, "control_arm": "on", "reward": {"min": 0, "max": 1}},
        "reward": float(number % 2), "stands_for": 1.0 + number % 2,
    }  # fmt: skip
    return {name: values[name] for name in FIELDS}


def tampered(document: Any, chance: random.Random) -> Any:
    """A copy with a value somewhere replaced, removed, or of another type."""
    result = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            places.append((value, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(result)
    for _ in range(chance.choice((1, 1, 1, 3))):
        holder, key = chance.choice(places)
        if chance.random() < 0.25 and isinstance(holder, dict):
            holder.pop(key, None)
        elif key in holder if isinstance(holder, dict) else key < len(holder):
            holder[key] = copy.deepcopy(chance.choice(ODD))
    return result


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The bytes with some of them changed, cut out, repeated or cut off."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 20))):
        at = chance.randrange(len(changed))
        kind = chance.random()
        if kind < 0.6:
            changed[at] = chance.randrange(256)
        elif kind < 0.75:
            del changed[at : at + chance.randrange(1, 30)]
        elif kind < 0.9:
            changed[at:at] = changed[at : at + 20]
        else:
            del changed[at:]
        if not changed:
            return b""
    return bytes(changed)


def files(kind: str, folder: Path, chance: random.Random) -> Iterator[Path]:
    """Files that were sound once."""
    rows = [record(number) for number in range(12)]
    path, base = folder / f"log.{kind}", folder / f"base.{kind}"
    write(base, kind, rows)
    sound = base.read_bytes()
    foreign = [event(EventId=f"e{number}", o=[{"v": 1.0}]) for number in range(4)] + [SLOTS]
    for number in range(TIMES):
        if number % 2 or (kind == "parquet" and number % 4):
            path.write_bytes(flipped(sound, chance))
        elif kind == "dsjson":
            events = [to_dsjson(row) for row in rows] if number % 4 else foreign
            path.write_text(
                "".join(json.dumps(tampered(one, chance) if chance.random() < 0.3 else one) + "\n" for one in events)
            )
        else:
            changed = [tampered(row, chance) if chance.random() < 0.3 else row for row in rows]
            _write(path, kind, changed)
        yield path


def _write(path: Path, kind: str, rows: list[dict[str, Any]]) -> None:
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return
    flat = [
        {name: value if isinstance(value, str) or value is None else json.dumps(value) for name, value in row.items()}
        for row in rows
    ]
    if kind == "parquet":
        pq.write_table(pa.table({name: [row.get(name) for row in flat] for name in FIELDS}), path)
        return
    lines = [
        ",".join(FIELDS),
        *(",".join('"' + str(row.get(name) or "").replace('"', '""') + '"' for name in FIELDS) for row in flat),
    ]
    path.write_text("\n".join(lines) + "\n")


def imported(path: Path, kind: str) -> None:
    """Everything of an import but the database."""
    summary = _first_reading(path, kind, AS_EXPORTED)
    _configs(path, "key", summary, None)
    for row in _to_store(path, kind, AS_EXPORTED, summary):
        assert b"\0" not in orjson.dumps(row._asdict())


TABLE = EvaluateRequest("propensity", "arm_propensity", "reward", unit="unit_id")
READERS: dict[str, Callable[[Path, str], object]] = {
    "import": imported,
    "evaluate a log": lambda path, _: evaluation_document(evaluate_file(path, EvaluateRequest(target="uniform"))),
    "evaluate a table": lambda path, kind: evaluation_document(
        evaluate_file(path.rename(path.with_suffix(".csv" if kind != "parquet" else ".parquet")), TABLE)
    ),
    "compare": lambda path, _: compare_file(path, CompareRequest("action", ("m=mean:reward",), ("propensity",))),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("reader", READERS)
def test_a_mutated_file_is_read_or_refused_in_one_sentence(tmp_path: Path, kind: str, reader: str) -> None:
    chance = random.Random(f"{kind} {reader}")
    refused = [text for path in files(kind, tmp_path, chance) if (text := _refusal(path, kind, reader)) is not None]
    assert 0 < len(refused) <= TIMES
    assert [text for text in refused if "\n" in text.strip() or len(text) > 2500] == []


def _refusal(path: Path, kind: str, reader: str) -> str | None:
    """The sentence with which a reader refuses a file; None: it reads it. Any other exception fails the test."""
    try:
        json.dumps(READERS[reader](path, kind), allow_nan=False)
    except FileRefused as error:
        return str(error)
    except LoopwiseError as error:  # what an export says of its arms is checked like any definition
        return str(error) if reader == "import" else f"\n{error}"
    return None
