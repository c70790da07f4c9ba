"""The demo's tables, from its decisions and from the platform's own reports."""

from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from app.foundation.fields import JsonObject
from experiments.off_policy.estimators import logged_value
from experiments.off_policy.intervals import normal, standard_error

PERIODS = 12


class Played(NamedTuple):
    """One decision of the demo with its reward."""

    arm: str
    unit: str
    reward: float
    version: int


def arms(played: list[Played], names: list[str], title: str = "What each arm earned") -> Table:
    """Return the mean reward of each arm, with 95% intervals over visits."""
    table = _table("arm", "decisions", "mean reward", "95% interval", "last third", title=title)
    for name in names:
        of_arm = [decision for decision in played if decision.arm == name]
        last = [decision.reward for decision in played[len(played) * 2 // 3 :] if decision.arm == name]
        if not of_arm:
            continue
        estimate = logged_value(np.array([decision.reward for decision in of_arm]))
        interval = normal(estimate.value, standard_error(estimate.influence))
        third = f"{np.mean(last):.3f}" if last else "-"
        table.add_row(name, f"{len(of_arm):,}", f"{estimate.value:.3f}", _ends(interval._asdict()), third)
    return table


def over_time(played: list[Played]) -> Table:
    """Return the mean reward of the learned arm in each period."""
    table = _table("decisions", "model version", "mean reward", "", title="The learned arm over time")
    of_arm = [decision for decision in played if decision.arm == "learned"]
    for part in np.array_split(np.arange(len(of_arm)), min(PERIODS, max(len(of_arm), 1))):
        mean = float(np.mean([of_arm[i].reward for i in part]))
        versions = f"{of_arm[part[0]].version}-{of_arm[part[-1]].version}"
        table.add_row(f"{part[0] + 1}-{part[-1] + 1}", versions, f"{mean:.3f}", "█" * round(mean * 25))
    return table


def race(manifest: JsonObject) -> Table:
    """Return the race of the learned arm's candidates: whose predictions, made before it learned, were best."""
    learner = manifest["learner"]
    table = _table("candidate", "squared error", "", title="The race: predictions before they were learned")
    ranked = sorted(
        learner["candidates"], key=lambda candidate: candidate["loss"] if candidate["loss"] is not None else 9.0
    )
    for candidate in ranked:
        loss = "-" if candidate["loss"] is None else f"{candidate['loss']:.3f}"
        table.add_row(candidate["name"], loss, "decides" if candidate["name"] == learner["served"] else "")
    return table


def results(report: JsonObject) -> Table:
    """Return the platform's comparison with the control, valid at any look."""
    (metric,) = report["metrics"]
    decision = report["decision"]
    shown = _table(
        "arm",
        "difference",
        "always-valid 95%",
        "always-valid p",
        "relative lift",
        title=f"Results against {report['control']}, on {metric['name']}",
        caption=f"The rule says: {decision['verdict'].replace('_', ' ')}. {' '.join(decision['reasons'])}",
    )
    for line in metric["comparisons"]:
        p = line["running_p"]
        shown.add_row(
            line["arm"],
            _number(line["difference"], sign=True),
            _ends(line["always_valid"]["interval"]),
            "-" if p is None else f"{p:.2g}",
            "-" if line["relative_lift"] is None else f"{line['relative_lift']:+.0%}",
        )
    return shown


def off_policy(report: JsonObject) -> Table:
    """Return the estimated values of policies, most of which never ran."""
    window = report["window"]
    title = f"Off-policy: values on {window['evaluated_on']:,} later decisions, out of sample"
    table = _table("policy", "value (DR)", "95%, every look", "against what ran", "ESS", "status", title=title)
    for line in report["policies"]:
        against = line["against_running"]
        table.add_row(
            line["policy"],
            _number(line["value"]),
            "-" if line["interval"] is None else _ends(line["interval"]),
            "" if against is None else _ends(against["interval"]),
            "-" if line["effective_sample_size"] is None else f"{line['effective_sample_size']:.0f}",
            line["status"].replace("_", " "),
        )
    table.caption = report["search"]["text"]
    return table


def realised(report: JsonObject) -> list[str]:
    """Compare the value predicted from the other arms with the realised value of the learned arm, in sentences."""
    lines = []
    for line in report["realised"]:
        if "reason" in line:
            lines.append(f"Predicted against realised, arm {line['arm']}: {line['reason']}.")
            continue
        words = "agree" if line["agrees"] else "DISAGREE"
        lines.append(
            f"The {line['arm']} arm, predicted from the other arms' rows alone: {line['predicted']:.3f} "
            f"({_ends(line['predicted_interval'])}); realised: {line['realised']:.3f} ({_ends(line['realised_interval'])}): "
            f"they {words}."
        )
    return lines


def firings(rows: list[tuple[str, int, int, int]]) -> Table:
    """Return for each trigger how many units it must reach, how many it reached, and how many it reached twice."""
    table = _table("trigger", "must fire for", "fired for", "fired twice", title="Triggers, each event sent twice")
    for name, expected, fired, twice in rows:
        table.add_row(name, f"{expected:,}", f"{fired:,}", f"{twice:,}")
    return table


def cap(report: JsonObject, truth: float) -> Table:
    """Compare the log's estimate for a tighter cap with the simulated truth."""
    low, high = report["interval"]
    table = _table("", "per person and week", "95% interval", title="Two reminders a week instead of three")
    table.add_row("logged, three a week", f"{report['logged']:.3f}", "")
    table.add_row("the log's answer for two", f"{report['value']:.3f}", f"{low:.3f} to {high:.3f}")
    table.add_row(
        "the truth for two", f"{truth:.3f}", "within it" if low <= truth <= high else "not within it, as 1 time in 20"
    )
    least, most = report["difference_interval"]
    table.caption = (
        f"difference {report['difference']:+.3f} ({least:+.3f} to {most:+.3f}), {report['units']:,} people, "
    )
    table.caption += f"effectively {report['effective_units']:.0f} where it hangs on fewest"
    return table


def receipt(unit: str, report: JsonObject) -> list[str]:
    """Return the sentences for the receipt of an erasure."""
    removed = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in report["removed"].items() if count)
    lines = [f"{unit} asked to be forgotten. Removed: {removed}."]
    for model in report["models"]:
        old, new = (f"version {model[when]['version']} {model[when]['sha256'][:12]}" for when in ("old", "new"))
        lines.append(f"  model of {model['experiment']}, arm {model['arm']}: {old} -> {new}, learned without that unit")
    return lines


def _table(*columns: str, title: str, caption: str | None = None) -> Table:
    return Table(*columns, title=title, caption=caption, box=box.SIMPLE_HEAD, pad_edge=False)


def _ends(interval: JsonObject) -> str:
    if interval["low"] is None or interval["high"] is None:
        return str(interval["reason"])
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" if sign else f"{value:.3f}"
