"""`loopwise compare`: reference values through the command, and one sentence for every bad file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from app.commands.files import compare

REVENUE = ("--metric", "rev=mean:revenue")
SHARES = ("--shares", "0=0.4,1=0.35,2=0.25")


def run(path: Path, *options: str) -> dict[str, Any]:
    result = CliRunner().invoke(
        compare, [str(path), "--variant", "variant", *options, "--json"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(path: Path, *options: str) -> str:
    result = CliRunner().invoke(compare, [str(path), "--variant", "variant", *options], catch_exceptions=False)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    return result.stderr


def line(result: dict[str, Any], metric: str, variant: str) -> dict[str, Any]:
    return next(m for m in result["metrics"] if m["metric"] == metric and m["variant"] == variant)


def test_reference_comparisons_come_through_the_command(reference: Path, expected: Any) -> None:
    metrics = (
        *REVENUE,
        "--metric",
        "conv=proportion:converted",
        "--metric",
        "ctr=ratio:clicks/impressions",
        "--metric",
        "p90=quantile(0.9):latency_ms",
    )
    result = run(reference / "ab_users.csv", *metrics, *SHARES)
    for variant in ("1", "2"):
        tea = expected["ab_users_tea_tasting"]["results"][f"0_vs_{variant}"]
        sm = expected["ab_users_statsmodels"][f"0_vs_{variant}"]
        for metric, known in (("rev", tea["revenue_welch_t"]), ("ctr", tea["ctr_ratio"])):
            row = line(result, metric, variant)
            assert row["difference"] == pytest.approx(known["effect_size"], rel=1e-9)
            assert row["p_value"] == pytest.approx(known["pvalue"], rel=1e-8)
            assert row["interval"] == pytest.approx([known["effect_size_ci_lower"], known["effect_size_ci_upper"]])
            lift = [known["rel_effect_size_ci_lower"], known["rel_effect_size_ci_upper"]]
            assert row["relative_interval"] == pytest.approx(lift)
        row = line(result, "conv", variant)
        assert row["p_value"] == pytest.approx(sm["converted"]["p_pooled"], rel=1e-9)
        assert row["interval"] == pytest.approx(sm["converted"]["ci_diff_newcomb"], rel=1e-8)
        assert line(result, "p90", variant)["treatment"] == pytest.approx(sm["latency_quantiles"]["q90"]["treatment"])
    assert result["srm"]["alert"] is False
    assert result["control"] == "0"


def test_holm_runs_over_all_metrics_and_variants(reference: Path, expected: Any) -> None:
    metrics = (*REVENUE, "--metric", "conv=proportion:converted", "--metric", "ctr=ratio:clicks/impressions")
    result = run(reference / "ab_users.csv", *metrics, *SHARES)
    known = expected["ab_users_statsmodels"]["multiple"]
    for name, p in zip(known["names"], known["adjusted"]["holm"], strict=True):
        metric, variant = name.split("_")
        row = line(result, {"revenue": "rev", "converted": "conv", "ctr": "ctr"}[metric], variant)
        # The reference takes ddof 0 in the ratio's p-value.
        assert row["p_adjusted"] == pytest.approx(p, rel=5e-3)


def test_cuped_comes_through_the_command_for_means_and_ratios(reference: Path, expected: Any) -> None:
    options = (
        *REVENUE,
        "--metric",
        "ctr=ratio:clicks/impressions",
        "--covariate",
        "rev=pre_revenue",
        "--covariate",
        "pre_clicks/pre_impressions",
        *SHARES,
    )
    result = run(reference / "ab_users.csv", *options)
    tea = expected["ab_users_tea_tasting"]["results"]["0_vs_1"]
    for metric, key in (("rev", "revenue_cuped"), ("ctr", "ctr_ratio_cuped")):
        row = line(result, metric, "1")
        assert row["difference"] == pytest.approx(tea[key]["effect_size"], rel=1e-9)
        assert row["p_value"] == pytest.approx(tea[key]["pvalue"], rel=1e-8)
        assert row["cuped"]["variance_ratio"] < 1
        assert row["unadjusted"]["difference"] != row["difference"]


def test_always_valid_intervals_are_wider_than_fixed_ones_and_open_with_enough_units(reference: Path) -> None:
    row = line(run(reference / "ab_users.csv", *REVENUE, *SHARES), "rev", "1")
    low, high = row["always_valid"]["interval"]
    assert low < row["interval"][0]
    assert high > row["interval"][1]
    assert row["always_valid"]["p_value"] >= row["p_value"]


def test_planned_looks_get_group_sequential_bounds(reference: Path) -> None:
    path = reference / "ab_users.csv"
    row = line(run(path, *REVENUE, *SHARES, "--looks", "0.2,0.4"), "rev", "1")
    look = row["planned_look"]
    assert look["bound"] == pytest.approx(3.357, abs=6e-4)  # Lan and DeMets, the second of five equal looks
    assert look["z"] == pytest.approx(row["difference"] / row["std_error"])
    half = look["bound"] * row["std_error"]
    assert look["interval"] == pytest.approx([row["difference"] - half, row["difference"] + half])
    assert look["reject"] == (abs(look["z"]) >= look["bound"])
    assert "planned_look" not in line(run(path, *REVENUE, *SHARES), "rev", "1")
    early = line(run(path, *REVENUE, *SHARES, "--looks", "0.001"), "rev", "1")["planned_look"]
    assert early["bound"] is None
    assert early["interval"] is None
    assert not early["reject"]
    options = [str(path), "--variant", "variant", *REVENUE, *SHARES, "--looks", "0.2,0.4"]
    assert "planned look, z" in CliRunner().invoke(compare, options).stdout


def test_equal_shares_are_the_default_and_a_mismatch_alerts(reference: Path) -> None:
    result = run(reference / "ab_users.csv", *REVENUE)
    assert result["srm"]["alert"] is True
    assert result["srm"]["p_value"] < 1e-40
    text = CliRunner().invoke(compare, [str(reference / "ab_users.csv"), "--variant", "variant", *REVENUE]).stdout
    assert "ALERT" in text


def test_bad_requests_are_answered_with_one_sentence(reference: Path) -> None:
    path = reference / "ab_users.csv"
    assert "not understood" in refused(path, "--metric", "rev=average:revenue")
    assert "no column nope" in refused(path, "--metric", "rev=mean:nope")
    assert "NUM/DEN" in refused(path, "--metric", "ctr=ratio:clicks")
    assert "quantile" in refused(path, "--metric", "p=quantile:latency_ms")
    assert "between 0 and 1" in refused(path, "--metric", "p=quantile(1.5):latency_ms")
    assert "on line 3" in refused(path, "--metric", "c=proportion:revenue")
    assert "covariate" in refused(path, *REVENUE, "--covariate", "other=pre_revenue")
    assert "does not fit" in refused(path, *REVENUE, "--covariate", "rev=a/b")
    assert "choose the control" in refused(path, *REVENUE, "--control", "z")
    assert "shares" in refused(path, *REVENUE, "--shares", "0=1,1=1")
    assert "shares" in refused(path, *REVENUE, "--shares", "nonsense")
    assert "same name" in refused(path, *REVENUE, *REVENUE)
    assert "looks 'soon' are not understood" in refused(path, *REVENUE, "--looks", "soon")
    assert "ascend" in refused(path, *REVENUE, "--looks", "0.5,0.4")


def test_arms_and_metrics_that_cannot_be_compared_get_reasons_and_do_not_hide_the_others(tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "variant": ["a"] * 300 + ["b"] * 300 + ["lonely"],
            "flat": 1.0,
            "half": [2.0] * 300 + [1.0, 3.0] * 150 + [1.0],
            "never": 0.0,
            "n": [0.0] * 300 + [1.0] * 301,
        }
    )
    rows.to_csv(tmp_path / "a.csv", index=False)
    options = (
        "--metric",
        "flat=mean:flat",
        "--metric",
        "half=mean:half",
        "--metric",
        "never=proportion:never",
        "--metric",
        "ratio=ratio:flat/n",
        "--shares",
        "a=300,b=300,lonely=1",
        "--covariate",
        "half=flat",
    )
    result = run(tmp_path / "a.csv", *options)
    assert line(result, "flat", "b")["interval"] is None
    assert "not vary" in line(result, "flat", "b")["interval_reason"]
    assert "covariate does not vary" in line(result, "half", "b")["reason"]
    assert line(result, "never", "b")["p_value"] is None
    assert line(result, "never", "b")["interval_reason"]
    assert "sums to 0" in line(result, "ratio", "b")["reason"]
    assert "fewer than two units" in line(result, "flat", "lonely")["reason"]
    plain = run(tmp_path / "a.csv", "--metric", "half=mean:half", "--shares", "a=300,b=300,lonely=1")
    assert line(plain, "half", "b")["interval"] is not None
    text = CliRunner().invoke(compare, [str(tmp_path / "a.csv"), "--variant", "variant", *options])
    assert text.exit_code == 0, text.output


def test_one_variant_and_missing_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("variant,revenue\na,1\na,2\n")
    assert "only one variant" in refused(tmp_path / "a.csv", *REVENUE)
    (tmp_path / "a.csv").write_text("variant,revenue,pre\na,1,1\nb,2,\n")
    assert "pre is missing" in refused(tmp_path / "a.csv", *REVENUE, "--covariate", "rev=pre")
