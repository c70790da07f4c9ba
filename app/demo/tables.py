"""The demo's tables, from what was played and from the platform's own reports."""

from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from app.foundation.fields import JsonObject
from experiments.estimators import logged_value
from experiments.intervals import normal, standard_error

PERIODS = 12


class Played(NamedTuple):
    """One decision of the demo with its reward."""

    arm: str
    unit: str
    reward: float
    version: int


def arms(played: list[Played], names: list[str], title: str = "What each arm earned") -> Table:
    """What each arm earned, with 95% intervals over visits."""
    table = _table("arm", "decisions", "mean reward", "95% interval", "last third", title=title)
    for name in names:
        mine = [one for one in played if one.arm == name]
        last = [one.reward for one in played[len(played) * 2 // 3 :] if one.arm == name]
        if not mine:
            continue
        estimate = logged_value(np.array([one.reward for one in mine]))
        interval = normal(estimate.value, standard_error(estimate.influence))
        third = f"{np.mean(last):.3f}" if last else "-"
        table.add_row(name, f"{len(mine):,}", f"{estimate.value:.3f}", _ends(interval._asdict()), third)
    return table


def over_time(played: list[Played]) -> Table:
    """The learned arm's mean reward, period by period."""
    table = _table("decisions", "model version", "mean reward", "", title="The learned arm over time")
    mine = [one for one in played if one.arm == "learned"]
    for part in np.array_split(np.arange(len(mine)), min(PERIODS, max(len(mine), 1))):
        mean = float(np.mean([mine[i].reward for i in part]))
        versions = f"{mine[part[0]].version}-{mine[part[-1]].version}"
        table.add_row(f"{part[0] + 1}-{part[-1] + 1}", versions, f"{mean:.3f}", "█" * round(mean * 25))
    return table


def results(found: JsonObject) -> Table:
    """The platform's comparison with the control, valid at any look."""
    (metric,) = found["metrics"]
    decision = found["decision"]
    shown = _table(
        "arm",
        "difference",
        "always-valid 95%",
        "always-valid p",
        "relative lift",
        title=f"Results against {found['control']}, on {metric['name']}",
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


def off_policy(found: JsonObject) -> Table:
    """The value of policies, most of which never ran."""
    window = found["window"]
    title = f"Off-policy: values on {window['evaluated_on']:,} later decisions (trained on {window['trained_on']:,})"
    table = _table("policy", "value (DR)", "95% interval", "against running", "ESS", "status", title=title)
    for line in found["policies"]:
        against = line["against_running"]
        table.add_row(
            line["policy"],
            _number(line["value"]),
            "-" if line["interval"] is None else _ends(line["interval"]),
            "" if against is None else _ends(against["interval"]),
            "-" if line["effective_sample_size"] is None else f"{line['effective_sample_size']:.0f}",
            line["status"].replace("_", " "),
        )
    table.caption = found["search"]["text"]
    return table


def realised(found: JsonObject) -> list[str]:
    """Predicted from the other arms, against what the learned arm then earned."""
    lines = []
    for one in found["realised"]:
        if "reason" in one:
            lines.append(f"Predicted against realised, arm {one['arm']}: {one['reason']}.")
            continue
        words = "agree" if one["agrees"] else "DISAGREE"
        lines.append(
            f"The {one['arm']} arm, predicted from the other arms' rows alone: {one['predicted']:.3f} "
            f"({_ends(one['predicted_interval'])}); realised: {one['realised']:.3f} ({_ends(one['realised_interval'])}): "
            f"they {words}."
        )
    return lines


def firings(rows: list[tuple[str, int, int, int]]) -> Table:
    """Per trigger: units that it must reach, that it reached, and that it reached twice."""
    table = _table("trigger", "must fire for", "fired for", "fired twice", title="Triggers, each event sent twice")
    for name, wanted, fired, twice in rows:
        table.add_row(name, f"{wanted:,}", f"{fired:,}", f"{twice:,}")
    return table


def cap(found: JsonObject, truth: float) -> Table:
    """A tighter cap: what the log says, against the simulated truth."""
    low, high = found["interval"]
    table = _table("", "per person and week", "95% interval", title="Two reminders a week instead of three")
    table.add_row("logged, three a week", f"{found['logged']:.3f}", "")
    table.add_row("the log's answer for two", f"{found['value']:.3f}", f"{low:.3f} to {high:.3f}")
    table.add_row(
        "the truth for two", f"{truth:.3f}", "within it" if low <= truth <= high else "not within it, as 1 time in 20"
    )
    least, most = found["difference_interval"]
    table.caption = f"difference {found['difference']:+.3f} ({least:+.3f} to {most:+.3f}), {found['units']:,} people, "
    table.caption += f"effectively {found['effective_units']:.0f} where it hangs on fewest"
    return table


def receipt(unit: str, found: JsonObject) -> list[str]:
    """An erasure's receipt in words."""
    removed = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in found["removed"].items() if count)
    lines = [f"{unit} asked to be forgotten. Removed: {removed}."]
    for model in found["models"]:
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
