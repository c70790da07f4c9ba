"""Files as people have them: codes, times, marks, and what is no file at all. Every refusal is one sentence."""

import contextlib
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.files import streams
from app.files.context_columns import Mapping
from app.files.file_comparison import CompareRequest, compare_file
from app.files.file_evaluation import EvaluateRequest, Evaluation, evaluate_file
from app.files.log_files import format_of
from app.files.records import AS_EXPORTED, LoggedDecision, read_decisions
from app.files.refused import FileRefused
from app.files.values import id_of, number_of, time_of
from tests.files.test_dsjson import event, saved

TABLE = EvaluateRequest("p", "t", "r")
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def read(path: Path, mapping: Mapping = AS_EXPORTED) -> list[LoggedDecision]:
    return [decision for _, decision in read_decisions(path, format_of(path, None), mapping)]


@pytest.mark.parametrize("text", ["1", "-0.5", "+3", ".5", "1.", "1e5", "2E-3", " 7 "])
def test_numbers_are_read(text: str) -> None:
    assert number_of(text) == float(text)


@pytest.mark.parametrize(
    "text",
    ["1_000", "nan", "inf", "-Infinity", "１２", "٣", "0x10", "1e", "1,5", "1 000", "", "--1", "1d", "½", "True"],
)
def test_what_is_no_number_is_none(text: str) -> None:
    assert number_of(text) is None


def test_a_decimal_comma_is_read_if_it_is_declared_and_then_a_point_is_not() -> None:
    assert (number_of("0,25", ","), number_of("1.000", ","), number_of("0,25")) == (0.25, None, None)


def test_an_id_is_one_text_however_the_file_writes_it() -> None:
    assert [id_of(value) for value in (7, 7.0, "7", 7.5, True, None, [7])] == ["7", "7", "7", "7.5", "true", None, None]


@pytest.mark.parametrize(
    "value",
    ["2026-01-31T12:00:00Z", "2026-01-31 12:00:00", "2026-01-31T14:00:00+02:00", "2026-01-31T12:00:00.0000000", 1769860800,
     1769860800.0, "1769860800", 1769860800000, "1769860800000", 1769860800000000,
     1769860800000000000, datetime(2026, 1, 31, 12)],
)  # fmt: skip
def test_a_time_is_read_and_is_utc_unless_it_says_otherwise(value: Any) -> None:
    assert time_of(value) == NOON


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "20260131",
        20260131,
        0,
        -1,
        "2026-13-01",
        "0001-01-01T00:00:00+14:00",
        1e30,
        "nan",
        True,
        [],
        "2026-W05-1",
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert time_of(value) is None


def test_codes_are_texts_unless_they_are_declared_numbers(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = ["007,1234567890,1.5,Nan", "1234,1234567891,,Inf", "0,12,-2,Ann"]
    path.write_text("action,propensity,reward,zip,account,age,who\n" + "".join(f"a,1,0,{row}\n" for row in rows))
    mapping = Mapping({}, ("zip", "account", "age", "who"))
    assert [one.context["zip"] for one in read(path, mapping)] == ["007", "1234", "0"]
    assert [one.context["account"] for one in read(path, mapping)] == ["1234567890", "1234567891", "12"]
    assert [one.context["age"] for one in read(path, mapping)] == [1.5, None, -2.0]
    assert [one.context["who"] for one in read(path, mapping)] == ["Nan", "Inf", "Ann"]
    assert [one.context["zip"] for one in read(path, mapping._replace(number_columns=("zip",)))] == [7.0, 1234.0, 0.0]
    for columns, words in (
        (("who",), "line 4: who is 'Ann', which is not a number"),
        (("gone",), "name it in --context-columns"),
    ):
        with pytest.raises(FileRefused, match=words):
            read(path, mapping._replace(number_columns=columns))
    path.write_text("action,propensity,reward,age\na,1,0,5\na,1,0,nan\n")
    with pytest.raises(FileRefused, match="line 3: age holds numbers, but here a word for a missing one"):
        read(path, Mapping({}, ("age",)))


def test_semicolons_and_decimal_commas_are_read_when_they_are_declared(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("action;propensity;reward;age\na;0,5;1,25;3,5\n")
    with pytest.raises(FileRefused, match="give --delimiter ';'"):
        read(path)
    (one,) = read(path, Mapping({}, ("age",), (), ";", ","))
    assert (one.propensity, one.reward, one.context) == (0.5, 1.25, {"age": 3.5})
    path.write_text("p;t;r\n" + "0,5;1;1,5\n0,5;0;0\n" * 40)
    report = evaluate_file(path, TABLE._replace(delimiter=";", decimal=",")).report
    assert report.logged_value == pytest.approx(0.75)
    path.write_text("v;m\n" + "a;1,5\nb;2,5\n" * 20)
    compared = compare_file(path, CompareRequest("v", ("m=mean:m",), delimiter=";", decimal=","))
    assert compared["rows"] == 40


@pytest.mark.parametrize("field", ["unit_id", "decided_at"])
def test_a_value_that_some_rows_lack_is_refused(tmp_path: Path, field: str) -> None:
    rows = [
        {"action": "a", "propensity": 1, "reward": 0, field: "2026-01-01T00:00:00Z"},
        {"action": "a", "propensity": 1, "reward": 0},
    ]
    for lines in (rows, rows[::-1]):
        with pytest.raises(FileRefused, match=rf"line 2: {field} is .* give it on every row, or on none"):
            read(saved(tmp_path / "log.jsonl", *lines))


def test_a_field_that_does_not_exist_cannot_be_mapped(tmp_path: Path) -> None:
    path = saved(tmp_path / "log.jsonl", {"action": "a", "propensity": 1, "reward": 0, "user": "u"})
    with pytest.raises(FileRefused, match=r"There is no field 'unit' to fill; the fields are .*unit_id"):
        read(path, Mapping({"unit": "user"}, ()))
    with pytest.raises(FileRefused, match="there is no column 'usr'"):
        read(path, Mapping({"unit_id": "usr"}, ()))


def test_parquet_of_other_tools_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = {
        "action": pa.array(["a", "b"]).dictionary_encode(), "propensity": pa.array([0.1, 0.9], pa.float32()),
        "reward": pa.array([1, 0], pa.int8()), "unit_id": pa.array([1.0, 2.0]),
        "decided_at": pa.array([1769860800000000000 + 1] * 2, pa.timestamp("ns")),
        "distribution": ["[0.1, 0.9]", "[0.10000000149, 0.89999999851]"], "actions": ['["a", "b"]'] * 2,
    }  # fmt: skip
    pq.write_table(pa.table(table), path)
    first, second = read(path)
    assert (first.propensity, first.unit_id, first.decided_at) == (0.1, "1", NOON)
    assert second.action == "b" and sum(second.distribution or ()) == 1.0


def _evaluated(path: Path, **options: Any) -> Evaluation:
    return evaluate_file(path, EvaluateRequest(**options))


def test_a_log_is_evaluated_as_what_it_is(tmp_path: Path) -> None:
    tea = [event(EventId=f"t{n}", _label_cost=-(n % 2)) for n in range(80)]
    water = {"_label_Action": 2, "_labelIndex": 1, "_label_probability": 0.2}
    other = [event(EventId=f"w{n}", _label_cost=-1.0, **water) for n in range(20)]
    path = saved(tmp_path / "log.dsjson", *tea, *other)
    plain = _evaluated(path)
    ips = plain.report.estimators["ips"].value
    assert ips == pytest.approx((40 * 0.5 / 0.8 + 20 * 0.5 / 0.2) / 100)
    assert plain.actions is not None and set(plain.actions) == {"tea", "water"}
    assert _evaluated(path, target="fixed:water").report.estimators["ips"].value == pytest.approx(20 / 0.2 / 100)
    for options, words in (
        ({"target": "fixed:milk"}, "no decision could take the action 'milk'"),
        ({"target": "best"}, "write uniform or fixed:ACTION"),
        ({"target_probability": "t"}, "for which there is no --target-probability"),
    ):
        with pytest.raises(FileRefused, match=words):
            _evaluated(path, **options)


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that a test reaches quickly."""
    monkeypatch.setattr(streams, "LONGEST_LINE", 1 << 10)


NO_FILES: dict[str, bytes | None] = {
    "missing": None,
    "empty": b"",
    "a line end": b"\n",
    "blanks": b" \n \n",
    "a header alone": b"action,propensity,reward,p,t,r\n",
    "binary": bytes(range(256)) * 4,
    "NULs": b"\0" * 300,
    "a long line": b"p,t,r,action,propensity,reward\n" + b"x" * 5000,
    "a long first line": b"x" * 5000,
    "packed badly": gzip.compress(b"p,t,r\n1,1,1\n" * 50)[:-12],
    "packed nothing": gzip.compress(b""),
    "zip": b"PK\x03\x04" + b"x" * 50,
    "UTF-16": "p,t,r\n1,1,1\n".encode("utf-16"),
    "latin-1": "p,t,r,Zürich\n1,1,1,ü\n".encode("latin-1"),
    "the same column twice": b"p,p,t,r,action,propensity,reward,reward\n1,1,1,1,a,1,1,1\n",
    "ragged": b"p,t,r,action,propensity,reward\n1,1,1,a,1,1\n1,1\n",
    "a quote": b'p,t,r,action,propensity,reward\n1,1,1,"a,1,1\n',
    "PAR1 alone": b"PAR1",
    "JSON": json.dumps({"a": [1]}).encode(),
}  # fmt: skip


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("name", NO_FILES)
@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "dsjson", "csv.gz"])
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path: Path, name: str, ending: str) -> None:
    path, content = tmp_path / f"log.{ending}", NO_FILES[name]
    if content is not None:
        path.write_bytes(content)
    commands = [
        lambda: evaluate_file(path, TABLE),
        lambda: evaluate_file(path, EvaluateRequest(target="uniform")),
        lambda: compare_file(path, CompareRequest("t", ("m=mean:r",))),
    ]
    for command in commands:
        with pytest.raises(FileRefused) as refused:
            command()
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 600
    with contextlib.suppress(FileRefused):  # any other exception fails
        assert read(path) == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    for command in (
        lambda: evaluate_file(tmp_path, TABLE),
        lambda: compare_file(tmp_path, CompareRequest("t", ("m=mean:r",))),
    ):
        with pytest.raises(FileRefused, match="is a folder; give one file"):
            command()
