"""`loopwise evaluate`: reference values through the command, and one sentence with a line number for every bad file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from app.commands.files import evaluate
from tests.experiments.commands.evaluate_support import COLUMNS, refused, run, write

MODEL = ("--q", "q_logged", "--v", "v_dm")


@pytest.fixture
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = 200
    return pd.DataFrame(
        {
            "pscore": rng.uniform(0.2, 1, n),
            "p_eval": rng.uniform(0, 1, n),
            "reward": rng.integers(0, 2, n).astype(float),
            "user": [f"u{i % 40}" for i in range(n)],
        }
    )


@pytest.mark.parametrize(
    ("name", "wmax"),
    [
        ("syn_binary", 41.02721937689551),
        ("obd_rows_men_random_to_bts", 10.68858),
        ("obd_rows_men_bts_to_random", 178.2531194295897),
    ],
)
def test_reference_intervals_come_through_the_command(name: str, wmax: float, reference: Path, expected: Any) -> None:
    options = ("--max-weight", repr(wmax), "--reward-range", "0", "1")
    result = run(reference / f"{name}.csv", *COLUMNS, *MODEL, *options)
    known = expected[name]["vw_known_wmax"]
    ips, snips = result["estimators"]["ips"], result["estimators"]["snips"]
    assert ips["value"] == pytest.approx(known["point"]["ips"], rel=1e-9)
    assert snips["value"] == pytest.approx(known["point"]["snips"], rel=1e-9)
    assert ips["intervals"]["normal"] == pytest.approx(known["interval_alpha0.05"]["gaussian"], rel=1e-9)
    for line in (ips, snips):
        assert line["intervals"]["cressie_read"] == pytest.approx(known["interval_alpha0.05"]["cressieread"], rel=1e-9)
        # Capped where vw-estimators is not: see the test of the pure function.
        assert line["intervals"]["confidence_sequence"] == pytest.approx(known["interval_alpha0.05"]["cs"], rel=2e-4)


def test_every_estimator_comes_through_the_command_with_its_error(reference: Path, expected: Any) -> None:
    options = ("--switch-tau", "10", "--shrinkage-lambda", "100", "--clip", "10")
    result = run(reference / "syn_binary.csv", *COLUMNS, *MODEL, *options)
    obp, closed = expected["syn_binary"]["obp"], expected["syn_binary"]["closed_form"]
    keys = {
        "ips": "ips",
        "dm": "dm",
        "dr": "dr",
        "switch_dr": "switch_dr_10",
        "dr_os": "dros_100",
        "clipped_ips": "ips_clip10",
        "snips": "snips",
        "sndr": "sndr",
    }
    for name, key in keys.items():
        line = result["estimators"][name]
        assert line["value"] == pytest.approx(obp[key]["value"], rel=1e-9)
        error = closed[name]["se"] if name in ("snips", "sndr") else obp[key]["se_round"]
        assert line["std_error"] == pytest.approx(error, rel=1e-9), name
        if name not in ("dm", "snips", "sndr"):
            assert line["intervals"]["normal"] == pytest.approx(obp[key]["normal_ci"], rel=1e-9)
    assert result["estimators"]["dm"]["intervals"] == {}
    assert result["rows"] == 20000
    assert result["mean_weight"] == pytest.approx(expected["syn_binary"]["diagnostics"]["w_mean"], rel=1e-9)
    assert result["effective_sample_size"] == pytest.approx(expected["syn_binary"]["diagnostics"]["ess_kish"], rel=1e-9)
    assert result["max_weight"] == pytest.approx(expected["syn_binary"]["diagnostics"]["w_max"], rel=1e-12)
    assert result["verdict"] == {"status": "identified", "reasons": [], "codes": [], "params": []}


def test_likelihood_intervals_come_through_the_command(reference: Path, expected: Any, tmp_path: Path) -> None:
    for key, name, n in (
        ("syn_binary_first3000", "syn_binary", 3000),
        ("obd_men_random_to_bts", "obd_rows_men_random_to_bts", 10_000),
    ):
        lines = (reference / f"{name}.csv").read_text().splitlines(keepends=True)[: n + 1]
        (tmp_path / "first.csv").write_text("".join(lines))
        known = expected["empirical_likelihood"][key]
        result = run(tmp_path / "first.csv", *COLUMNS, "--max-weight", repr(known["wmax"]))
        interval = result["estimators"]["ips"]["intervals"]["empirical_likelihood"]
        assert interval == pytest.approx(known["el_ci95"], rel=1e-5)


def test_parquet_and_csv_give_the_same_report_to_the_last_bit(reference: Path, tmp_path: Path) -> None:
    pd.read_csv(reference / "syn_binary.csv").to_parquet(tmp_path / "rows.parquet")
    a = run(reference / "syn_binary.csv", *COLUMNS, *MODEL)
    assert a == run(tmp_path / "rows.parquet", *COLUMNS, *MODEL)


def test_without_a_model_the_estimators_that_need_one_are_null_with_a_reason(
    rows: pd.DataFrame, tmp_path: Path
) -> None:
    result = run(write(rows, tmp_path / "a.csv"), *COLUMNS)
    for name in ("dm", "dr", "sndr", "switch_dr", "dr_os"):
        line = result["estimators"][name]
        assert line["value"] is None
        assert line["std_error"] is None
        assert "q and v" in line["reason"]
    for line in result["estimators"].values():
        assert all(line["not_available"].values())


def test_units_widen_the_errors_of_dependent_rows(rows: pd.DataFrame, tmp_path: Path) -> None:
    doubled = pd.concat([rows, rows], ignore_index=True)
    doubled["user"] = [f"row{i % len(rows)}" for i in range(len(doubled))]
    path = write(doubled, tmp_path / "a.csv")
    plain, clustered = run(path, *COLUMNS), run(path, *COLUMNS, "--unit", "user")
    once = run(write(rows, tmp_path / "b.csv"), *COLUMNS)
    for name in ("ips", "snips"):
        assert clustered["estimators"][name]["std_error"] == pytest.approx(
            once["estimators"][name]["std_error"], rel=1e-9
        )
        assert plain["estimators"][name]["std_error"] < 0.75 * once["estimators"][name]["std_error"]
    assert clustered["units"] == 200
    assert "one unit" in clustered["estimators"]["ips"]["not_available"]["cressie_read"]


def test_the_smallest_lift_that_the_log_could_show_follows_from_its_error(rows: pd.DataFrame, tmp_path: Path) -> None:
    result = run(write(rows, tmp_path / "a.csv"), *COLUMNS)
    factor = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert result["detectable_lift"] == pytest.approx(factor * result["lift"]["std_error"], rel=1e-9)
    text = CliRunner().invoke(evaluate, [str(tmp_path / "a.csv"), *COLUMNS]).stdout
    assert f"in 4 of 5 cases: {result['detectable_lift']:.3g}" in text


def test_the_readable_report_names_verdict_estimators_and_assumptions(reference: Path) -> None:
    result = CliRunner().invoke(evaluate, [str(reference / "syn_binary.csv"), *COLUMNS, *MODEL])
    assert result.exit_code == 0
    for word in ("Verdict: identified", "snips", "cressie_read", "Lift over", "no --max-weight was declared"):
        assert word in result.stdout


def test_the_report_of_a_log_that_cannot_answer_begins_with_that(tmp_path: Path) -> None:
    n = 1000
    rows = pd.DataFrame({"pscore": 0.5, "p_eval": [1.0] * 5 + [0.0] * (n - 5), "reward": 1.0})
    path = write(rows, tmp_path / "a.csv")
    result = run(path, *COLUMNS)
    assert result["verdict"]["status"] == "not_identified"
    assert {"mean_weight", "effective_sample_size", "row_dominance"} <= set(result["verdict"]["codes"])
    text = CliRunner().invoke(evaluate, [str(path), *COLUMNS]).stdout
    assert text.startswith("Verdict: not identified")
    assert "for debugging" in text
    never = write(rows.assign(p_eval=0.0), tmp_path / "never.csv")
    reasons = " ".join(run(never, *COLUMNS)["verdict"]["reasons"])
    assert "no row carries any weight" in reasons
    assert "one row carries" not in reasons


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("pscore", 0.0, "(column pscore) is 0"),
        ("pscore", -0.1, "(column pscore) is -0.1"),
        ("pscore", 1.5, "(column pscore) is 1.5"),
        ("pscore", "", "missing or not a finite"),
        ("pscore", "NaN", "missing or not a finite"),
        ("pscore", "inf", "missing or not a finite"),
        ("pscore", "x1", "'x1'"),
        ("p_eval", 1.01, "(column p_eval) is 1.01"),
        ("reward", 3.0, "(column reward) is 3"),
        ("user", "", "user is missing"),
    ],
)
def test_the_error_for_a_bad_value_names_its_line(
    column: str, value: object, words: str, rows: pd.DataFrame, tmp_path: Path
) -> None:
    broken = rows.astype(object)
    broken.loc[5, column] = value
    options = (*COLUMNS, "--reward-range", "0", "1", "--unit", "user")
    sentence = refused(write(broken, tmp_path / "a.csv"), *options)
    assert words in sentence
    assert "on line 7" in sentence


def test_empty_lines_do_not_shift_the_line_number_in_an_error(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.loc[5, "pscore"] = 0.0
    lines = rows.to_csv(index=False).splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*lines[:3], "", *lines[3:]]) + "\n\n")
    assert "on line 8" in refused(tmp_path / "a.csv", *COLUMNS)


def test_the_error_for_a_bad_value_in_a_parquet_file_names_its_row(rows: pd.DataFrame, tmp_path: Path) -> None:
    rows.loc[5, "pscore"] = 0.0
    rows.to_parquet(tmp_path / "a.parquet")
    assert "in row 6" in refused(tmp_path / "a.parquet", *COLUMNS)


def test_the_error_for_a_wrong_column_names_the_columns_that_exist(rows: pd.DataFrame, tmp_path: Path) -> None:
    sentence = refused(write(rows, tmp_path / "a.csv"), *COLUMNS[:-1], "revard")
    assert "no column revard" in sentence
    assert "pscore, p_eval, reward, user" in sentence
    rows.to_parquet(tmp_path / "a.parquet")
    assert "no column revard" in refused(tmp_path / "a.parquet", *COLUMNS[:-1], "revard")


def test_damaged_text_is_refused_with_its_line(rows: pd.DataFrame, tmp_path: Path) -> None:
    lines = rows.to_csv(index=False).splitlines()
    path = tmp_path / "a.csv"
    path.write_text("\n".join([*lines[:4], '"' + lines[4], *lines[5:]]))
    assert "quote" in refused(path, *COLUMNS)
    assert "on line 5" in refused(path, *COLUMNS)
    path.write_bytes("\n".join([*lines[:4], lines[4] + "\r", *lines[5:]]).encode())
    assert "mixes line ends" in refused(path, *COLUMNS)
    assert "on line 5" in refused(path, *COLUMNS)
    path.write_text("\n".join([*lines[:4], lines[4] + ",9", *lines[5:]]))
    assert "5 fields on line 5" in refused(path, *COLUMNS)
    path.write_bytes(b"pscore,p_eval,reward\n0.5,0.5,\xff\n")
    assert "UTF-8" in refused(path, *COLUMNS)
    path.write_bytes("\r".join(lines).encode())
    assert "carriage returns only" in refused(path, *COLUMNS)


def test_windows_line_ends_and_a_byte_order_mark_are_fine(rows: pd.DataFrame, tmp_path: Path) -> None:
    text = rows.to_csv(index=False)
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert run(tmp_path / "a.csv", *COLUMNS) == run(write(rows, tmp_path / "b.csv"), *COLUMNS)


def test_empty_files_missing_files_and_headers_without_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert "no file" in refused(path, *COLUMNS)
    path.write_text("")
    assert "is empty" in refused(path, *COLUMNS)
    path.write_text("pscore,p_eval,reward\n")
    assert "no rows" in refused(path, *COLUMNS)
    path.write_text("pscore,pscore,reward\n1,1,1\n")
    assert "two columns named pscore" in refused(path, *COLUMNS)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    assert "Parquet" in refused(tmp_path / "a.parquet", *COLUMNS)


def test_contradictory_options_are_refused_with_a_sentence(rows: pd.DataFrame, tmp_path: Path) -> None:
    path = write(rows, tmp_path / "a.csv")
    assert "only one of --q and --v" in refused(path, *COLUMNS, "--q", "reward").lower()
    assert "largest possible weight" in refused(path, *COLUMNS, "--max-weight", "1.5")
    assert "declare 1 or more" in refused(path, *COLUMNS, "--max-weight", "0.5")
    assert "range" in refused(path, *COLUMNS, "--reward-range", "1", "0")
    assert "alpha" in refused(path, *COLUMNS, "--alpha", "1.5")
    assert "clip" in refused(path, *COLUMNS, "--clip", "-1")


def test_degenerate_logs_give_reasons_and_never_nan(tmp_path: Path) -> None:
    cases = {
        "one row": pd.DataFrame({"pscore": [0.5], "p_eval": [0.5], "reward": [1.0]}),
        "never chosen": pd.DataFrame({"pscore": [0.5] * 30, "p_eval": [0.0] * 30, "reward": [1.0] * 30}),
        "same policy": pd.DataFrame({"pscore": [0.5] * 30, "p_eval": [0.5] * 30, "reward": [0.0, 1.0] * 15}),
        "constant": pd.DataFrame({"pscore": [0.5, 0.25] * 300, "p_eval": [0.5] * 600, "reward": [0.0] * 600}),
    }
    for name, frame in cases.items():
        frame["q"], frame["v"] = 0.5, 0.5
        result = run(write(frame, tmp_path / "a.csv"), *COLUMNS, "--q", "q", "--v", "v", "--reward-range", "0", "1")
        for key, line in result["estimators"].items():
            assert line["value"] is not None or line["reason"], (name, key)
            assert all(line["not_available"].values()), (name, key)
            for low, high in line["intervals"].values():
                assert low <= high, (name, key)


def test_a_propensity_too_small_to_compute_with_ends_in_one_sentence(tmp_path: Path) -> None:
    rows = pd.DataFrame({"p": [0.5] * 500 + [1e-200], "t": [0.5] * 500 + [1.0], "r": [0.0, 1.0] * 250 + [1.0]})
    options = ("--propensity", "p", "--target-probability", "t", "--reward", "r", "--json")
    result = CliRunner().invoke(evaluate, [str(write(rows, tmp_path / "log.csv")), *options])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("log.csv: propensity (column p) is 1e-200 on line 502: its weight exceeds 1e+75")


def test_the_report_leads_with_the_interval_for_every_look(rows: pd.DataFrame, tmp_path: Path) -> None:
    path = write(pd.concat([rows] * 5, ignore_index=True).assign(p_eval=0.4, pscore=0.4), tmp_path / "a.csv")
    lead = run(path, *COLUMNS)["headline"]
    assert lead["always_valid"][0] <= lead["one_look"][0] <= lead["value"] <= lead["one_look"][1]
    text = CliRunner().invoke(evaluate, [str(path), *COLUMNS]).output
    assert f"Value: {lead['value']:.6g} (snips), 95% interval at every look {lead['always_valid'][0]:.6g}" in text


def test_the_largest_possible_weight_may_differ_by_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rewards = (rng.random(2000) < 0.9).astype(float)
    target = rng.choice([0.2, 0.8], 2000)
    log = pd.DataFrame({"pscore": 0.5, "p_eval": target, "reward": rewards, "largest": 1.6})
    path = write(log, tmp_path / "a.csv")
    known, unknown = run(path, *COLUMNS, "--possible-weight", "largest"), run(path, *COLUMNS)
    assert known["settings"]["max_weight"] == 1.6
    ends = [found["estimators"]["snips"]["intervals"]["always_valid"] for found in (known, unknown)]
    assert ends[0][1] - ends[0][0] < 0.8 * (ends[1][1] - ends[1][0])
    assert "allows any weight" in unknown["estimators"]["snips"]["notes"]["always_valid"]
    log["largest"] = 1.5
    message = refused(write(log, tmp_path / "b.csv"), *COLUMNS, "--possible-weight", "largest")
    assert "the importance weight is 1.6 on line" in message
