"""The demo: replays real purchases through the HTTP API, as an app would, and shows what was learned.

It knows an address and a key, nothing else of the platform; the audit, which is not an HTTP call, is handed in.
"""

import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from app.demo.client import Client, DemoFailed
from app.demo.crackers import BEST_SELLER, BRANDS, Purchase, purchases
from experiments.estimators import logged_value
from experiments.intervals import normal, standard_error

EXPERIMENT_KEY = "crackers"
RATE = 55.0  # decisions a second: the replay lasts a minute, so that some ten training rounds happen while it runs
PERIODS = 12
TRAINING_WAIT_S = 30.0
ARMS = (("learned", 0.6), ("best_seller", 0.2), ("uniform", 0.2))
POLICIES: dict[str, dict[str, Any]] = {
    "learned": {
        "type": "bandit",
        "algorithm": "squarecb",
        "parameters": {
            "gamma_scale": 20,
            "learning_rate": 1.0,
            "interactions": ["context*action", "action*action"],
        },
        "exploration_floor": 0.01,
    },
    "best_seller": {"type": "fixed", "action": BEST_SELLER},
    "uniform": {"type": "uniform"},
}


class Played(NamedTuple):
    """One decision of the demo with its reward."""

    arm: str
    unit: str
    reward: float
    version: int


def run(url: str, key: str, out: IO[str], audit: Callable[[], Any] | None = None) -> None:
    """Play the demo and print its tables.

    :param audit: runs the audit of the demo's experiment, when it can be run from here.
    :raises DemoFailed: the server does not answer, or refuses.
    """
    console = Console(file=out, highlight=False)
    client = Client(url, key)
    _create(client)
    everything = list(purchases())
    console.print(
        f"The demo: {len(everything):,} real purchases of crackers, replayed through {url}/v1/decide and /v1/reward.\n"
        "For each, which brand to recommend? The reward is 1 when it is the brand that the household bought."
    )
    played = _replay(client, everything, console)
    versions = _wait_for_training(client)
    console.print(_arms_table(played))
    console.print(_time_table(played))
    console.print(f"Model versions trained while it ran: {versions}.")
    if audit is not None:
        for line in audit().lines():
            console.print(line)
    console.print(
        f"The experiment {EXPERIMENT_KEY!r} stays open: {url}/docs, GET /v1/experiments/{EXPERIMENT_KEY}/policy"
    )


def _create(client: Client) -> None:
    definition = {
        "key": EXPERIMENT_KEY,
        "name": "Which crackers to recommend",
        "hypothesis": "Recommending by a household's own history and today's offers beats the best seller.",
        "actions": [{"id": brand, "payload": {"label": brand.title()}} for brand in BRANDS],
        "arms": [{"key": name, "share": share, "policy": POLICIES[name]} for name, share in ARMS],
        "control_arm": "best_seller",
        "reward": {"window_s": 1, "default": 0, "aggregation": "max", "min": 0, "max": 1},
    }
    status, _ = client.call("GET", f"/v1/experiments/{EXPERIMENT_KEY}", allow=(404,))
    if status == 404:
        client.call("POST", "/v1/experiments", definition)
    client.call("POST", f"/v1/experiments/{EXPERIMENT_KEY}/start")


def _replay(client: Client, everything: list[Purchase], console: Console) -> list[Played]:
    """Decide and reward each purchase. An interrupted replay goes on where it was: the same ids, the same answers."""
    columns = (
        TextColumn("replaying"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(compact=True),
        TextColumn("left; learned arm, last 200: {task.fields[recent]}"),
    )
    played: list[Played] = []
    began = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(everything), rate=0.0, recent="-")
        for number, purchase in enumerate(everything, start=1):
            one, created = _one(client, purchase)
            played.append(one)
            if number % 10 == 0:
                rate = number / (time.monotonic() - began)
                progress.update(task, completed=number, rate=rate, recent=_recent(played))
            if created:
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        progress.update(task, completed=len(everything))
    return played


def _one(client: Client, purchase: Purchase) -> tuple[Played, bool]:
    unit = f"household-{purchase.household}"
    question = {
        "experiment": EXPERIMENT_KEY,
        "unit_id": unit,
        "decision_id": f"{EXPERIMENT_KEY}-{purchase.number}",
        "context": purchase.context,
        "actions": purchase.actions,
    }
    status, answer = client.call("POST", "/v1/decide", question)
    reward = float(answer["action"]["id"] == purchase.bought)
    client.call("POST", "/v1/reward", {"decision_id": answer["decision_id"], "value": reward})
    return Played(answer["arm"], unit, reward, answer["policy_version"]), status == 201


def _recent(played: list[Played]) -> str:
    rewards = [one.reward for one in played[-500:] if one.arm == "learned"][-200:]
    return f"{sum(rewards) / len(rewards):.2f}" if rewards else "-"


def _wait_for_training(client: Client) -> int:
    """Wait until every decision was learned from; returns the number of trained versions."""
    deadline = time.monotonic() + TRAINING_WAIT_S
    before = -1
    while True:
        _, policy = client.call("GET", f"/v1/experiments/{EXPERIMENT_KEY}/policy")
        (arm,) = policy["arms"]
        learned = arm["versions"][-1]["examples"]
        if learned == before or time.monotonic() > deadline:
            return len(arm["versions"]) - 1
        before = learned
        time.sleep(7)  # longer than one beat: no new version in that time means that nothing is left


def _arms_table(played: list[Played]) -> Table:
    title = "Mean reward by arm (what the arm earned on these decisions; intervals clustered by household)"
    table = Table("arm", "decisions", "households", "mean reward", "95% interval", "last third", title=title)
    for name, _ in ARMS:
        mine = [one for one in played if one.arm == name]
        last = [one.reward for one in played[len(played) * 2 // 3 :] if one.arm == name]
        if not mine:
            continue
        rewards = np.array([one.reward for one in mine])
        units = np.unique([one.unit for one in mine], return_inverse=True)[1]
        estimate = logged_value(rewards)
        interval = normal(estimate.value, standard_error(estimate.influence, units))
        ends = f"{interval.low:.3f} to {interval.high:.3f}" if interval.low is not None else str(interval.reason)
        third = f"{np.mean(last):.3f}" if last else "-"
        table.add_row(name, f"{len(mine):,}", str(units.max() + 1), f"{estimate.value:.3f}", ends, third)
    return table


def _time_table(played: list[Played]) -> Table:
    table = Table("decisions", "model version", "mean reward", "", title="The learned arm over time")
    mine = [one for one in played if one.arm == "learned"]
    for part in np.array_split(np.arange(len(mine)), PERIODS):
        rewards = [mine[i].reward for i in part]
        mean = float(np.mean(rewards))
        versions = f"{mine[part[0]].version}-{mine[part[-1]].version}"
        table.add_row(f"{part[0] + 1}-{part[-1] + 1}", versions, f"{mean:.3f}", "█" * round(mean * 25))
    return table


__all__ = ["EXPERIMENT_KEY", "DemoFailed", "run"]
