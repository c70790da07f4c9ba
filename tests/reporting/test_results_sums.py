"""Results: what the database sums equals what pandas computes from the raw rows, for every kind of metric."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bandits.rewards import RewardEvent, join
from experiments.arms.comparison import FIELLER_BELOW, ArmEstimate, fieller
from tests.lab import AB, Lab
from tests.service import query

KEY = "sums"
METRICS: list[dict[str, Any]] = [
    {"key": "reward", "role": "primary", "source": {"type": "reward"}},
    {"key": "spent", "source": {"type": "value", "metric": "spend"}},
    {"key": "spent_soon", "source": {"type": "value", "metric": "spend"}, "window_s": 60.0},
    {"key": "spent_unit", "source": {"type": "value", "metric": "spend", "per": "unit"}},
    {"key": "spent_cut", "source": {"type": "value", "metric": "spend", "per": "unit"}, "winsorize": 0.9},
    {"key": "buys", "source": {"type": "count", "metric": "spend"}},
    {"key": "buys_unit", "source": {"type": "count", "metric": "spend", "per": "unit"}},
    {
        "key": "ratio",
        "source": {"type": "ratio", "numerator": "spend", "denominator": "views"},
        "direction": "decrease",
    },
    {"key": "back", "source": {"type": "retention", "days": 1.0}},
    {"key": "visits", "source": {"type": "sessions", "gap_s": 1800.0}},
]
Frame = pd.DataFrame


@pytest.fixture(scope="module")
def log(lab: Lab) -> dict[str, Frame]:
    """600 units with up to six decisions each over three days, metrics reported now and then, some of them long after."""
    reward = {"window_s": 600.0, "min": 0.0, "max": 5.0, "aggregation": "sum"}
    lab.make(KEY, arms=AB, control_arm="control", metrics=METRICS, segments=["plan"], reward=reward)
    random = np.random.default_rng(5)
    bodies = []
    for unit in range(600):
        plan = {"plan": str(random.choice(["free", "pro"]))} if unit % 9 else {}
        bodies += [{"unit_id": f"u{unit}", "context": plan} for _ in range(random.integers(1, 7))]
    bodies = [bodies[place] for place in random.permutation(len(bodies))]
    answers = lab.play(KEY, bodies, lambda _, one: round(min(float(random.gamma(1.0)), 5.0), 3), settled=False)
    hour = timedelta(hours=1)
    times = query(
        lab.database_url, "SELECT id, decided_at FROM decisions WHERE id = ANY(%s)", [a["decision_id"] for a in answers]
    )
    decided = dict(times)
    events = []
    for one in answers:
        for number in range(int(random.poisson(0.8))):
            at = decided[one["decision_id"]] + timedelta(seconds=float(random.uniform(0, 120)))
            given = {"decision_id": one["decision_id"], "occurred_at": at.isoformat(), "reward_id": f"s{number}"}
            events.append(given | {"metric": "spend", "value": float(random.gamma(1.0, 10.0))})
        for number in range(int(random.poisson(1.5))):
            given = {"decision_id": one["decision_id"], "reward_id": f"v{number}", "metric": "views", "value": 1.0}
            events.append(given)
    lab.report(events)
    columns = (
        ("decisions", "decided_at", "id"),
        ("decision_ids", "decided_at", "decision_id"),
        ("awaiting_outcome", "closes_at", "decision_id"),
        ("rewards", "occurred_at", "decision_id"),
    )
    for index, one in enumerate(answers):  # as if they had been decided over three days; reports move with them
        hours_ago = float(random.uniform(1, 72))
        shift = hour if index % 3 else hour * hours_ago
        for table, column, name in columns:
            query(
                lab.database_url,
                f"UPDATE {table} SET {column} = {column} - %s WHERE {name} = %s",
                shift,
                one["decision_id"],
            )
    lab.settle(KEY)
    return {"outcomes": lab.outcomes(KEY), "events": lab.events(KEY)}


def per_unit(metric: dict[str, Any], outcomes: Frame, events: Frame, by: list[str]) -> Frame:
    """Numerator and denominator of each unit, by means of pandas."""
    source = metric["source"]
    rows = outcomes.copy()
    rows["num"], rows["den"] = rows["reward"], 1.0
    if source["type"] in ("value", "count", "ratio"):
        seen = events.merge(outcomes[["decision_id", "decided_at"]], on="decision_id")
        if metric.get("window_s"):
            seen = seen[seen.occurred_at <= seen.decided_at + pd.to_timedelta(metric["window_s"], unit="s")]
        name = source.get("metric") or source["numerator"]
        mine = seen[seen.metric == name].groupby("decision_id")["value"]
        rows["num"] = rows.decision_id.map(mine.count() if source["type"] == "count" else mine.sum()).fillna(0.0)
        if source["type"] == "ratio":
            base = seen[seen.metric == source["denominator"]].groupby("decision_id")["value"].sum()
            rows["den"] = rows.decision_id.map(base).fillna(0.0)
    grouped = rows.groupby(by, dropna=False)
    units = grouped[["num", "den"]].sum()
    if source.get("per") == "unit":
        units["den"] = 1.0
    if source["type"] == "retention":
        span = grouped.decided_at.agg(["min", "max"])
        day = pd.Timedelta(days=source["days"])
        since = rows.decided_at - rows.groupby("unit_id").decided_at.transform("min")
        back = rows.assign(back=(since >= day) & (since <= 2 * day)).groupby(by, dropna=False).back.any()
        units["num"], units["den"] = back.astype(float), 1.0
        units = units[span["min"] <= pd.Timestamp.now(tz="UTC") - 2 * day]
    if source["type"] == "sessions":
        gaps = rows.sort_values("decided_at").groupby("unit_id").decided_at.diff()
        new = gaps.isna() | (gaps > pd.Timedelta(seconds=source["gap_s"]))
        units["num"], units["den"] = rows.assign(new=new).groupby(by).new.sum().astype(float), 1.0
    if metric.get("winsorize"):
        low, high = np.quantile(units["num"], [1 - metric["winsorize"], metric["winsorize"]])
        units["num"] = units["num"].clip(low, high)
    return units.reset_index()


def linearised(units: Frame) -> tuple[float, np.ndarray]:
    """A ratio of sums and each unit's influence on it."""
    ratio = units.num.sum() / units.den.sum()
    return ratio, ((units.num - ratio * units.den) / units.den.mean()).to_numpy()


def effective(units: Frame) -> float:
    """Kish's number of units: a unit with more decisions weighs more."""
    return float(units.den.sum() ** 2 / (units.den**2).sum())


def welch(va: float, vb: float, n: float, m: float) -> tuple[float, float, float]:
    """Standard error, half width of the interval, Satterthwaite's degrees of freedom."""
    df = (va + vb) ** 2 / (va**2 / (n - 1) + vb**2 / (m - 1))
    se = float(np.sqrt(va + vb))
    return se, float(stats.t.ppf(0.975, df)) * se, df


def expected(units: Frame) -> dict[str, Any]:
    """Welch on the linearised values."""
    (a, e), (b, f) = (linearised(units[units.arm == name]) for name in ("control", "treated"))
    va, vb = e.var(ddof=1) / len(e), f.var(ddof=1) / len(f)
    n, m = (effective(units[units.arm == name]) for name in ("control", "treated"))
    se, half, df = welch(va, vb, n, m)
    lift = np.log(b / a) + np.array([-1, 1]) * welch(va / a**2, vb / b**2, n, m)[1]
    known = {"relative_low": np.expm1(lift[0]), "relative_high": np.expm1(lift[1])}
    if a * a < FIELLER_BELOW**2 * va:  # the control may be near 0
        interval = fieller(*(ArmEstimate(*arm) for arm in ((a, va, 0, n - 1), (b, vb, 0, m - 1))))
        known = {"relative_low": interval.low, "relative_high": interval.high}
    return known | {
        "difference": b - a,
        "std_error": se,
        "p_value": 2 * stats.t.sf(abs(b - a) / se, df),
        "low": b - a - half,
        "high": b - a + half,
        "relative_lift": b / a - 1,
    }


def flat(line: dict[str, Any]) -> dict[str, Any]:
    ends = {"low": line["interval"]["low"], "high": line["interval"]["high"]}
    relative = {f"relative_{end}": line["relative_interval"][end] for end in ("low", "high")}
    return {name: line[name] for name in ("difference", "std_error", "p_value", "relative_lift")} | ends | relative


@pytest.mark.parametrize("metric", METRICS, ids=[metric["key"] for metric in METRICS])
def test_sums_and_comparisons_equal_those_of_pandas(lab: Lab, log: dict[str, Frame], metric: dict[str, Any]) -> None:
    report = lab.results(KEY, method="fixed")
    (found,) = (one for one in report["metrics"] if one["metric"] == metric["key"])
    units = per_unit(metric, log["outcomes"], log["events"], ["arm", "unit_id"])
    assert units.num.std() > 0
    for row in found["arms"]:
        mine = units[units.arm == row["arm"]]
        value, influence = linearised(mine)
        assert row["units"] == len(mine)
        assert row["value"] == pytest.approx(value, rel=1e-12)
        assert row["std_error"] == pytest.approx(np.sqrt(influence.var(ddof=1) / len(mine)), rel=1e-9)
    (line,) = found["comparisons"]
    assert flat(line) == pytest.approx(expected(units), rel=1e-6, abs=1e-12)
    assert line["headline"] == {"interval": line["interval"], "p_value": line["adjusted_p_value"]}


def test_a_segment_is_what_the_unit_was_when_it_was_first_seen(lab: Lab, log: dict[str, Frame]) -> None:
    report = lab.results(KEY, segment="plan")
    outcomes = log["outcomes"].copy()
    first = outcomes.groupby("unit_id").context.first().map(lambda context: context.get("plan", ""))
    outcomes["segment"] = outcomes.unit_id.map(first)
    for metric in METRICS:
        (found,) = (one for one in report["metrics"] if one["metric"] == metric["key"])
        units = per_unit(metric, outcomes, log["events"], ["arm", "unit_id", "segment"])
        strata = dict(list(units.groupby("segment")))
        lines = {line["segment"]: line for line in found["comparisons"]}
        assert set(lines) == {"", "free", "pro", None}
        for name, part in strata.items():
            if part.num.nunique() == 1:  # nobody of so few came back: no error, so no interval
                assert lines[name]["interval"]["low"] is None and lines[name]["interval"]["reason"]
                continue
            known, found_line = expected(part), flat(lines[name])
            bounded = [end for end, value in known.items() if value is not None]
            assert all(found_line[end] is None for end in known if end not in bounded)  # the control may be 0
            given = {end: found_line[end] for end in bounded}
            assert given == pytest.approx({end: known[end] for end in bounded}, rel=1e-6, abs=1e-12)
        assert lines[None]["difference"] == pytest.approx(stratified(strata), rel=1e-9, abs=1e-12)


def stratified(strata: dict[str, Frame]) -> float:
    """sum_h W_h N_h / sum_h W_h D_h of each arm, W_h the pooled shares of units."""
    total = sum(len(part) for part in strata.values())
    value = {}
    for name in ("control", "treated"):
        mine = {h: part[part.arm == name] for h, part in strata.items()}
        num, den = (sum(len(strata[h]) / total * mine[h][c].mean() for h in strata) for c in ("num", "den"))
        value[name] = num / den
    return float(value["treated"] - value["control"])


@pytest.mark.parametrize("aggregation", ["sum", "max", "mean", "first", "last"])
def test_the_reward_of_a_report_is_the_joined_one(lab: Lab, aggregation: str) -> None:
    key = f"joined-{aggregation}"
    reward = {"window_s": 600.0, "min": -1.0, "max": 2.0, "default": 0.25, "aggregation": aggregation}
    lab.make(key, arms=AB, reward=reward)
    answers = lab.play(key, [{} for _ in range(60)], settled=False)
    random = np.random.default_rng(3)
    at = "2026-01-01T00:00:0{}Z"
    events = [
        {
            "decision_id": one["decision_id"],
            "reward_id": f"r{number}",
            "value": float(random.uniform(-1, 2)),
            "occurred_at": at.format(random.integers(0, 3)),
        }
        for one in answers
        for number in range(int(random.integers(0, 4)))
    ]
    lab.report(events)
    lab.settle(key)
    seen = lab.events(key)
    rows = lab.outcomes(key)
    for one in rows.itertuples():
        mine = seen[seen.decision_id == one.decision_id]
        given = [RewardEvent(e.value, e.occurred_at, e.reward_id) for e in mine.itertuples()]
        assert one.reward == join(given, aggregation, 0.25, -1.0, 2.0)  # type: ignore[arg-type]
    (metric,) = lab.results(key)["metrics"]
    by_arm = rows.groupby("arm").reward.mean()
    assert {row["arm"]: row["value"] for row in metric["arms"]} == pytest.approx(by_arm.to_dict(), rel=1e-12)


def test_the_effect_of_each_day_is_that_of_its_decisions(lab: Lab, log: dict[str, Frame]) -> None:
    report = lab.results(KEY)
    (daily,) = report["daily"]
    outcomes = log["outcomes"]
    outcomes = outcomes.assign(day=outcomes.decided_at.dt.tz_convert("UTC").dt.strftime("%Y-%m-%d"))
    assert [day["day"] for day in daily["days"]] == sorted(outcomes.day.unique())
    for day in daily["days"]:
        of_day = outcomes[outcomes.day == day["day"]]
        means = of_day.groupby("arm").reward.mean()
        assert day["difference"] == pytest.approx(means["treated"] - means["control"], rel=1e-9)
    assert daily["change_interval"]["reason"] == "needs 5 days with an effect, now 4" or daily["change_per_day"] is None
