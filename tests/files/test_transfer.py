"""Export and import of logs: exact round trips in every format, files for other tools, and errors that name the line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vowpalwabbit

from app.files import dsjson, log_files, transfer
from app.files.context_columns import Mapping
from app.files.exporting import export_log
from app.files.log_files import FORMATS
from app.files.records import AS_EXPORTED, read_decisions
from app.files.refused import FileRefused
from app.foundation.errors import Conflict, NotFound
from app.off_policy import evaluations
from app.off_policy.evaluation_request import EvaluationRequest
from app.verification.audit import audit_experiment
from tests.lab import Lab, arm, sound
from tests.service import counts, query

REFERENCE = Path(__file__).resolve().parents[1] / "experiments" / "reference"
BANDIT = {"type": "bandit", "algorithm": "squarecb", "parameters": {"bits": 12}, "exploration_floor": 0.1}
CONTEXTS: list[dict[str, Any]] = [
    {"age": 31.5, "plan": "pro", "tags": ["a", "b"], "nested": {"deep": {"x": 1}}, "member": True, "none": None},
    {"name": 'quotes " and, commas\nand lines; Zürich 北京 🙂', "empty": "", "zero": 0, "tiny": 1e-300},
    {},
]


@pytest.fixture(scope="module")
def log(lab: Lab) -> str:
    """Make the log of a learning arm with nested contexts, actions in calls, exclusions, and rewards with many digits."""
    reward = {"window_s": 600.0, "min": -2.0, "max": 3.0, "default": 0.1}
    lab.make("source", arms=[arm("learned", 0.6, BANDIT), arm("control", 0.4)], control_arm="control", reward=reward)
    for turn in range(2):
        bodies: list[dict[str, Any]] = []
        for n in range(90):
            body: dict[str, Any] = {"unit_id": f"u{turn}/{n % 40}", "context": CONTEXTS[n % 3]}
            if n % 4 == 1:
                body["actions"] = [{"id": f"z{k}", "features": {"k": k / 3, "name": 'é,"'}} for k in range(n % 5 + 2)]
            if n % 4 == 2:
                body["excluded_actions"] = ["b"]
            bodies.append(body)
        lab.play(
            "source", bodies, lambda _, row: (len(row["decision_id"]) * 7919 % 1000) / 300 - 1.1 if row["arm"] else None
        )
    return "source"


def records(path: Path, kind: str) -> list[dict[str, Any]]:
    return [record for _, record in log_files.read(path, kind)]


@pytest.mark.parametrize("kind", FORMATS)
def test_export_import_export_gives_the_same_log(lab: Lab, log: str, tmp_path: Path, kind: str) -> None:
    engine = lab.runtime.engine
    first, second = tmp_path / f"first.{kind}", tmp_path / f"second.{kind}"
    assert export_log(engine, lab.settings, log, first) == 180
    done = transfer.import_log(engine, first, f"copy-{kind}", reward_range=(-2.0, 3.0))
    assert (done.decisions, done.actions) == (180, 9)
    assert export_log(engine, lab.settings, f"copy-{kind}", second) == 180
    before, after = records(first, kind), records(second, kind)
    for old, new in zip(before, after, strict=True):
        assert new["decision_id"].endswith(str(old["decision_id"]))
        assert float(old["arm_probability"]) == {"learned": 0.6, "control": 0.4}[old["arm"]]
        renamed = ("decision_id", "policy_version")
        assert {k: v for k, v in new.items() if k not in renamed} == {k: v for k, v in old.items() if k not in renamed}
    source, copy = lab.outcomes(log), lab.outcomes(f"copy-{kind}")
    for column in ("unit_id", "reward", "propensity", "decided_at", "context"):
        assert list(copy[column]) == list(source[column]), column
    audit = audit_experiment(engine, lab.settings, f"copy-{kind}")
    assert audit.ok and audit.decisions == 0


def _evaluated(lab: Lab, key: str) -> dict[str, Any]:
    request = EvaluationRequest(candidates=[], train_share=0.3)
    evaluation = evaluations.ask(lab.runtime.engine, key, request, "test")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    document = sound(evaluations.get(lab.runtime.engine, key, evaluation.id).as_json())
    assert document["status"] == "done", document["error"]
    return dict(document["result"])


def _numbers(value: Any, path: str = "") -> dict[str, float]:
    if isinstance(value, dict):
        return {name: number for key, item in value.items() for name, number in _numbers(item, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {name: n for index, item in enumerate(value) for name, n in _numbers(item, f"{path}/{index}").items()}
    return {path: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_exported_log_is_evaluated_as_its_source_is(lab: Lab, log: str, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"log.{kind}"
    export_log(lab.runtime.engine, lab.settings, log, path)
    transfer.import_log(lab.runtime.engine, path, f"valued-{kind}")
    source, copy = _evaluated(lab, log), _evaluated(lab, f"valued-{kind}")
    assert [line["policy"] for line in copy["policies"]] == [line["policy"] for line in source["policies"]]
    assert {"running", "uniform", "control"} <= {line["policy"] for line in copy["policies"]}
    before, after = _numbers(source), _numbers(copy)
    assert len(before) > 50 and after == pytest.approx(before, rel=1e-9, abs=1e-9)
    results, again = (_numbers(lab.results(key)["metrics"]) for key in (log, f"valued-{kind}"))
    assert again == pytest.approx(results, rel=1e-9, abs=1e-9)


def test_a_propensity_that_is_exported_is_the_platforms(lab: Lab, log: str, tmp_path: Path) -> None:
    export_log(lab.runtime.engine, lab.settings, log, tmp_path / "log.jsonl")
    rows = records(tmp_path / "log.jsonl", "jsonl")
    for row in rows:
        chosen = [action["id"] for action in row["actions"]].index(row["action"])
        shares = {arm["key"]: arm["share"] for arm in row["experiment"]["arms"]}
        over_arms = sum(shares[arm] * chances[chosen] for arm, chances in row["arm_distributions"].items())
        assert row["propensity"] == pytest.approx(over_arms, abs=1e-12) == row["distribution"][chosen]
        assert row["arm_propensity"] == row["arm_distributions"][row["arm"]][chosen]
    assert any(row["propensity"] != row["arm_propensity"] for row in rows)
    weights = [1 / len(row["actions"]) / row["propensity"] for row in rows]
    assert sum(weights) / len(weights) == pytest.approx(1, abs=0.3)


def test_a_distribution_that_the_file_does_not_hold_stays_unknown(lab: Lab, tmp_path: Path) -> None:
    path, back = tmp_path / "log.csv", tmp_path / "back.jsonl"
    path.write_text("action,propensity,reward\n" + "a,0.5,1\nb,0.25,0\n" * 60, encoding="utf-8")
    transfer.import_log(lab.runtime.engine, path, "unknown")
    stored = query(lab.database_url, "SELECT DISTINCT distribution FROM decisions d JOIN experiments e ON"
                   " e.id = d.experiment_id WHERE e.key = 'unknown'")  # fmt: skip
    assert sorted(map(repr, stored)) == ["([0.5, None],)", "([None, 0.25],)"]
    assert _evaluated(lab, "unknown")["logged_value"] == pytest.approx(0.5, abs=0.01)
    export_log(lab.runtime.engine, lab.settings, "unknown", back)
    assert {(row["distribution"], row["propensity"]) for row in records(back, "jsonl")} == {(None, 0.5), (None, 0.25)}
    again = transfer.import_log(lab.runtime.engine, back, "unknown-again")
    assert again.decisions == 120


@pytest.mark.parametrize("kind", FORMATS)
def test_a_propensity_that_cannot_be_computed_is_not_made_up(lab: Lab, tmp_path: Path, kind: str) -> None:
    key, path = f"gone-{kind}", tmp_path / f"log.{kind}"
    lab.make(key, arms=[arm("learned", 0.5, BANDIT), arm("control", 0.5)])
    for turn in range(2):
        bodies = [{"unit_id": f"{turn}/{n}"} for n in range(150)]
        lab.play(key, bodies, lambda _, row: float(row["action"]["id"] == "b"))
    query(
        lab.database_url,
        "WITH gone AS (UPDATE model_versions v SET erased_at = now() FROM experiments e WHERE e.id = v.experiment_id"
        " AND e.key = %s AND v.number >= 1 RETURNING 1) SELECT count(*) FROM gone",
        key,
    )
    assert export_log(lab.runtime.engine, lab.settings, key, path) == 300
    rows = records(path, kind)
    unknown = [row for row in rows if row["propensity"] in (None, "")]
    assert 100 <= len(unknown) < 300 and all(row["distribution"] in (None, "") for row in unknown)
    assert all(float(row["arm_propensity"]) > 0 for row in rows)
    done = transfer.import_log(lab.runtime.engine, path, f"{key}-copy")
    assert done.decisions == 300 - len(unknown) and list(done.skipped.values()) == [len(unknown)]


def test_dsjson_has_the_negative_reward_as_cost_and_vowpal_wabbit_learns_from_it(
    lab: Lab, log: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.dsjson"
    export_log(lab.runtime.engine, lab.settings, log, path)
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rewards = lab.outcomes(log).reward
    assert [event["_label_cost"] for event in events] == [-reward for reward in rewards]
    for event in events:
        assert event["a"][0] == event["_labelIndex"] + 1 == event["_label_Action"]
        assert event["p"][0] == event["_label_probability"] and sum(event["p"]) == pytest.approx(1)
    files = ["-d", str(path), "-p", str(tmp_path / "predictions"), "-f", str(tmp_path / "model")]
    reader = vowpalwabbit.Workspace(
        arg_list=["--cb_explore_adf", "--dsjson", "--strict_parse", "--no_stdin", "--quiet", *files]
    )
    examples = reader.get_weighted_examples()
    reader.finish()
    shown = [line.split(",") for line in (tmp_path / "predictions").read_text().splitlines() if line]
    assert [len(chances) for chances in shown] == [len(event["a"]) for event in events]
    assert examples == len(events)
    assert any(
        max(float(pair.partition(":")[2]) for pair in chances) > 0.9 for chances in shown
    )  # it came to prefer some
    assert (tmp_path / "model").stat().st_size > 300


def test_an_event_that_vowpal_wabbit_wrote_is_read() -> None:
    event = {
        "_label_cost": -0.75,
        "_label_probability": 0.2,
        "_label_Action": 2,
        "_labelIndex": 1,
        "a": [2, 1, 3],
        "p": [0.2, 0.5, 0.3],
        "c": {"user": {"age": 3}, "_multi": [{"_tag": "x", "f": 1}, {"f": 2}, {"id": "named"}]},
        "EventId": "e1",
    }
    (record,) = dsjson.records(event)
    assert (record["reward"], record["propensity"], record["action"]) == (0.75, 0.2, "2")
    assert record["distribution"] == [0.5, 0.2, 0.3]
    assert [action["id"] for action in record["actions"]] == ["x", "2", "named"]


HEADER = "decision_id,unit_id,actions,distribution,action,propensity,reward\n"
GOOD = 'd{n},u,"[""a"",""b""]","[0.25,0.75]",a,0.25,1\n'


def csv(*lines: str, good: int = 3) -> bytes:
    return (HEADER + "".join(GOOD.format(n=n) for n in range(good)) + "".join(lines)).encode()


def line(**changed: str) -> str:
    fields = {
        "decision_id": "d9",
        "unit_id": "u",
        "actions": '"[""a"",""b""]"',
        "distribution": '"[0.25,0.75]"',
        "action": "a",
        "propensity": "0.25",
        "reward": "1",
    }
    return ",".join((fields | changed).values()) + "\n"


PLAIN = b"action,propensity,reward\na,0.5,1\n"
BAD: dict[str, tuple[str, bytes, str]] = {
    "propensity 0": ("csv", csv(line(propensity="0")), "line 5: propensity is 0;"),
    "negative propensity": ("csv", csv(line(propensity="-0.25")), "line 5: propensity is -0.25;"),
    "propensity over 1": ("csv", csv(line(propensity="1.5")), "line 5: propensity is 1.5;"),
    "propensity NaN": ("csv", csv(line(propensity="NaN")), "line 5: propensity is 'NaN'; give a finite number"),
    "no propensity": ("csv", csv(line(propensity="")), "line 5: propensity is nothing"),
    "a word as reward": ("csv", csv(line(reward="much")), "line 5: reward is 'much'; give a number"),
    "infinite reward": ("csv", csv(line(reward="inf")), "line 5: reward is 'inf'"),
    "a sum that is not 1": ("csv", csv(line(distribution='"[0.25,0.74]"')), "line 5: distribution sums to 0.99"),
    "a negative chance": (
        "csv",
        csv(line(distribution='"[0.25,-0.75]"')),
        "line 5: distribution needs one probability",
    ),
    "too few chances": ("csv", csv(line(distribution='"[1.0]"')), "line 5: distribution needs one probability"),
    "another propensity": ("csv", csv(line(propensity="0.3")), "line 5: propensity differs"),
    "a foreign action": ("csv", csv(line(action="z")), "line 5: action 'z' must be among the actions"),
    "an action twice": (
        "csv",
        csv(line(actions='"[""a"",""a""]"')),
        "line 5: action 'a' must be among the actions, and no id may be repeated",
    ),
    "no action": ("csv", csv(line(action="")), "line 5: there is no action"),
    "an id twice": ("csv", csv(line(decision_id="d1")), "line 5: decision_id 'd1' is repeated"),
    "no JSON": ("csv", csv(line(actions="[a")), "line 5: actions is not JSON"),
    "too few fields": ("csv", csv("d9,u\n"), "line 5: the line does not have as many fields as the header"),
    "too many fields": ("csv", csv(line(reward="1,2")), "line 5: the line does not have as many fields as the header"),
    "a broken quote": ("csv", csv('d9,"u,x\n', line(decision_id="d10")), "line 5: "),
    "text after a quote": ("csv", csv(line(unit_id='"u"x')), "line 5: "),
    "not UTF-8": ("csv", csv() + "d9,Zürich".encode("latin-1"), "line 5: not UTF-8"),
    "a wrong column": (
        "csv",
        b"action,pscore,reward\na,0.5,1\n",
        "line 2: propensity is nothing; give a number, or name",
    ),
    "empty": ("csv", b"", "has no rows"),
    "a header alone": ("csv", HEADER.encode(), "has no rows"),
    "a time that is none": (
        "csv",
        b"decided_at,action,propensity,reward\nsoon,a,0.5,1\n",
        "line 2: decided_at is 'soon'",
    ),
    "text that PostgreSQL cannot keep": (
        "jsonl",
        b'{"action":"a","unit_id":"u\\u0000","propensity":1,"reward":1}\n',
        "line 1: ",
    ),
    "a context PostgreSQL cannot keep": (
        "jsonl",
        b'{"action":"a","context":{"x":"\\u0000"},"propensity":1,"reward":1}\n',
        "line 1: ",
    ),
    "an id that is too long": (
        "csv",
        b"decision_id,action,propensity,reward\n" + b"x" * 3000 + b",a,0.5,1\n",
        "line 2: ",
    ),
    "huge number": (
        "jsonl",
        b'{"action":"a","context":{"x":1e300},"propensity":1,"reward":1}\n',
        "line 1: /x: beyond 1e9",
    ),
    "a line that is no JSON": ("jsonl", b'{"action":"a","propensity":1,"reward":1}\nnonsense\n', "line 2: not JSON"),
    "a list": ("jsonl", b"[1]\n", "line 1: give one JSON object per line"),
    "JSON not UTF-8": ("jsonl", b'{"action":"\xff"}\n', "line 1: not JSON"),
    "no event": ("dsjson", b'{"_label_cost": 1}\n', "line 1: not a dsjson event"),
    "an event without its actions": (
        "dsjson",
        b'{"c":{"_multi":[{}]},"a":[1,2],"p":[1,0],"_label_cost":1}\n',
        "line 1: not a dsjson event",
    ),
    "no Parquet": ("parquet", b"PAR1 not really", "cannot be read"),
}


@pytest.fixture
def untouched(lab: Lab) -> Iterator[None]:
    before = counts(lab.database_url)
    yield
    assert counts(lab.database_url) == before


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("untouched")
def test_a_bad_file_is_refused_with_its_line_and_nothing_is_stored(lab: Lab, tmp_path: Path, name: str) -> None:
    kind, content, words = BAD[name]
    path = tmp_path / f"bad.{kind}"
    path.write_bytes(content)
    with pytest.raises(FileRefused) as refused:
        transfer.import_log(lab.runtime.engine, path, "bad")
    assert words in str(refused.value), str(refused.value)
    assert "bad." in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.usefixtures("untouched")
def test_wrong_mappings_ranges_formats_and_keys_are_refused(lab: Lab, log: str, tmp_path: Path) -> None:
    path, engine = tmp_path / "log.csv", lab.runtime.engine
    path.write_bytes(PLAIN)
    with pytest.raises(FileRefused, match="line 2: there is no column 'pscore'; there are action, propensity, reward"):
        transfer.import_log(engine, path, "k", mapping=Mapping({"propensity": "pscore"}, ()))
    with pytest.raises(FileRefused, match="line 2: there is no column 'age'"):
        transfer.import_log(engine, path, "k", mapping=Mapping({}, ("age",)))
    with pytest.raises(FileRefused, match=r"rewards go from 1 to 1, outside of 0 to 0\.5"):
        transfer.import_log(engine, path, "k", reward_range=(0.0, 0.5))
    with pytest.raises(FileRefused, match="name the format"):
        transfer.import_log(engine, tmp_path / "log.txt", "k")
    with pytest.raises(FileRefused, match="there is no file"):
        transfer.import_log(engine, tmp_path / "none.csv", "k")
    with pytest.raises(FileRefused, match="cannot be written: No such file"):
        export_log(engine, lab.settings, log, tmp_path / "no folder" / "out.csv")
    with pytest.raises(NotFound):
        export_log(engine, lab.settings, "nobody", tmp_path / "out.csv")
    assert list(tmp_path.iterdir()) == [path]


def test_an_import_under_the_key_of_an_existing_experiment_is_refused(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(PLAIN)
    transfer.import_log(lab.runtime.engine, path, "taken")
    before = counts(lab.database_url)
    with pytest.raises(Conflict):
        transfer.import_log(lab.runtime.engine, path, "taken")
    assert counts(lab.database_url) == before


def test_a_parquet_file_with_mixed_columns_is_read(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    table = {"a": ["x", "y"] * 3, "p": [0.5] * 6, "r": [0, 1] * 3, "age": [1.5, 2.5] * 3, "who": ["u1", "u2", "u3"] * 2}
    pq.write_table(pa.table(table), path)
    mapping = Mapping({"action": "a", "propensity": "p", "reward": "r", "unit_id": "who"}, ("age",))
    seen: list[tuple[int, int]] = []
    done = transfer.import_log(
        lab.runtime.engine, path, "columns", mapping=mapping, progress=lambda *done: seen.append(done)
    )
    assert (done.decisions, done.actions, seen[-1]) == (6, 2, (6, 6))
    rows = lab.outcomes("columns")
    assert list(rows.context) == [{"age": 1.5}, {"age": 2.5}] * 3 and list(rows.unit_id) == ["u1", "u2", "u3"] * 2


def test_the_open_bandit_sample_is_imported_and_evaluated(lab: Lab) -> None:
    path = REFERENCE / "obd_rows_men_random_to_bts.csv"
    mapping = Mapping({"propensity": "pscore"}, ("position",))
    done = transfer.import_log(lab.runtime.engine, path, "obd", mapping=mapping, reward_range=(0.0, 1.0))
    assert (done.decisions, done.actions) == (10_000, 34)
    request = EvaluationRequest(candidates=[], train_share=0.3)
    evaluation = evaluations.ask(lab.runtime.engine, "obd", request, "test")
    evaluations.run_waiting(lab.runtime.engine, lab.settings)
    document = sound(evaluations.get(lab.runtime.engine, "obd", evaluation.id).as_json())
    assert document["status"] == "done", document["error"]
    lines = {line["policy"]: line for line in document["result"]["policies"]}
    clicks = pd.read_csv(path).reward
    later = float(clicks.iloc[3000:].mean())
    assert document["result"]["logged_value"] == pytest.approx(later)
    uniform = lines["uniform"]
    assert uniform["value"] == pytest.approx(later, rel=0.05)  # it was a uniform log
    assert uniform["mean_weight"] == pytest.approx(1.0)
    assert uniform["interval"]["low"] < later < uniform["interval"]["high"]
    report = lab.results("obd")
    assert report["window"]["decisions"] == 10_000 and report["metrics"][0]["comparisons"] == []
    assert report["metrics"][0]["arms"][0]["value"] == pytest.approx(float(clicks.mean()))


def _event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "_label_cost": -float(number % 2), "_label_probability": 0.5, "_label_Action": 1 + number % 2,
        "_labelIndex": number % 2, "Timestamp": f"2026-01-01T00:00:{number:02d}Z", "Version": "1",
        "EventId": f"e{number}", "a": [1, 2], "p": [0.5, 0.5], "c": {"_multi": [{"_tag": "A"}, {"_tag": "B"}]},
    } | more  # fmt: skip


def _dsjson(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def test_events_that_are_no_decisions_are_left_out_and_counted(lab: Lab, tmp_path: Path) -> None:
    late = {"RewardValue": 1.0, "EnqueuedTimeUtc": "2026-01-01T00:00:05Z", "EventId": "e0"}
    never = [_event(number, DeferredAction=True, _skipLearn=True) for number in range(4, 7)]
    path = _dsjson(tmp_path / "log.dsjson", [*map(_event, range(4)), late, *never])
    done = transfer.import_log(lab.runtime.engine, path, "with-others")
    assert done.decisions == 4 and sorted(done.skipped.values()) == [1, 3]
    assert any("never shown" in reason for reason in done.skipped)


def test_codes_in_a_csv_stay_different_and_numbers_stay_numbers(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = ["01234,12e4,1.50,-1e-05", "1234,120000,,2E+3", "AB1,1_000,3,0.", "AB2,1000,-0.5,7"]
    lines = [f"{'ab'[n % 2]},0.5,{n % 2},{row}" for n, row in enumerate(rows)]
    path.write_text("action,propensity,reward,zip,sku,age,tiny\n" + "\n".join(lines) + "\n", encoding="utf-8")
    mapping = Mapping({}, ("zip", "sku", "age", "tiny"))
    seen = [decision.context for _, decision in read_decisions(path, "csv", mapping)]
    assert [one["zip"] for one in seen] == ["01234", "1234", "AB1", "AB2"]
    assert [one["sku"] for one in seen] == ["12e4", "120000", "1_000", "1000"]
    assert [one["age"] for one in seen] == [1.5, None, 3.0, -0.5]
    assert [one["tiny"] for one in seen] == [-1e-05, 2000.0, 0.0, 7.0]


def test_times_in_nanoseconds_are_read(lab: Lab, tmp_path: Path) -> None:
    times = pa.array([1735689600000000000 + n * 1001 for n in range(3)], pa.timestamp("ns", "UTC"))
    columns = {"action": ["a", "b", "a"], "propensity": [0.5] * 3, "reward": [1.0, 0.0, 1.0], "decided_at": times}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    moments = [decision.decided_at for _, decision in read_decisions(tmp_path / "log.parquet", "parquet", AS_EXPORTED)]
    assert [moment and moment.microsecond for moment in moments] == [0, 1, 2]
