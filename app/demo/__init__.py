"""The demo: replay real purchases through the HTTP API, as an app would, and show what was learned.

It knows only an address and a key of the platform. The caller passes in the audit, which is not an HTTP call.
"""

import time
from collections.abc import Callable
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.demo import tables
from app.demo.client import Client, DemoFailed
from app.demo.crackers import BEST_SELLER, BRANDS, Purchase, purchases
from app.demo.tables import Played
from app.foundation.fields import JsonObject

EXPERIMENT_KEY = "crackers"
RATE = 70.0  # decisions per second: slow enough for about ten training rounds during the replay
TRAINING_WAIT_S = 30.0
REPORT_WAIT_S = 60.0
ARMS = (("learned", 0.6), ("best_seller", 0.2), ("uniform", 0.2))
POLICIES: dict[str, JsonObject] = {
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


CANDIDATES: dict[str, JsonObject] = {
    "greedy": {"policy": POLICIES["learned"] | {"algorithm": "epsilon_greedy", "parameters": {"epsilon": 0.01}}},
    "no_household": {"policy": POLICIES["learned"], "features_off": ["purchases", "last", "favourite", "share"]},
}


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
    versions = _wait_for_training(client, sum(decision.arm == "learned" for decision in played))
    console.print(tables.arms(played, [name for name, _ in ARMS]))
    console.print(tables.over_time(played))
    console.print(f"Model versions trained while it ran: {versions}.")
    console.print(tables.results(_results(client, len(everything))))
    evaluation = _evaluation(client, console)
    console.print(tables.off_policy(evaluation))
    for line in tables.realised(evaluation):
        console.print(line)
    if audit is not None:
        for line in audit().lines():
            console.print(line)
    console.print(
        f"The experiment {EXPERIMENT_KEY!r} stays open. Look at it in a browser: {url}/admin/experiments/{EXPERIMENT_KEY}/"
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
        "segments": ["last"],
    }
    status, _ = client.call("GET", f"/v1/experiments/{EXPERIMENT_KEY}", allow=(404,))
    if status == 404:
        client.call("POST", "/v1/experiments", definition)
    client.call("POST", f"/v1/experiments/{EXPERIMENT_KEY}/start")


def _replay(client: Client, everything: list[Purchase], console: Console) -> list[Played]:
    """Decide and reward each purchase. An interrupted replay continues where it stopped: the same ids get the same answers."""
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
            decision, created = _decide_and_reward(client, purchase)
            played.append(decision)
            if number % 10 == 0:
                rate = number / (time.monotonic() - began)
                progress.update(task, completed=number, rate=rate, recent=_recent(played))
            if created:
                time.sleep(max(0.0, began + number / RATE - time.monotonic()))
        progress.update(task, completed=len(everything))
    return played


def _decide_and_reward(client: Client, purchase: Purchase) -> tuple[Played, bool]:
    unit = f"visit-{purchase.number}"  # each visit is a unit, assigned to an arm independently
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
    rewards = [decision.reward for decision in played[-500:] if decision.arm == "learned"][-200:]
    return f"{sum(rewards) / len(rewards):.2f}" if rewards else "-"


def _wait_for_training(client: Client, decisions: int) -> int:
    """Wait until the learned arm has learned from all its decisions; returns the number of trained versions."""
    deadline = time.monotonic() + TRAINING_WAIT_S
    while True:
        _, policy = client.call("GET", f"/v1/experiments/{EXPERIMENT_KEY}/policy")
        (arm,) = policy["arms"]
        if arm["versions"][-1]["examples"] >= decisions or time.monotonic() > deadline:
            return len(arm["versions"]) - 1
        time.sleep(0.5)


def _results(client: Client, decisions: int) -> JsonObject:
    """Wait until every decision is settled, and return the platform's results."""
    deadline = time.monotonic() + REPORT_WAIT_S
    while True:
        _, results = client.call("GET", f"/v1/experiments/{EXPERIMENT_KEY}/results?max_age_s=0")
        if results["window"]["decisions"] >= decisions or time.monotonic() > deadline:
            return dict(results)
        time.sleep(1)


def _evaluation(client: Client, console: Console) -> JsonObject:
    """Store two candidate policies, evaluate them on the log, and wait for the result."""
    path = f"/v1/experiments/{EXPERIMENT_KEY}"
    for key, spec in CANDIDATES.items():
        client.call("POST", f"{path}/candidates", {"key": key, **spec})
    _, request = client.call("POST", f"{path}/evaluations", {})
    deadline = time.monotonic() + REPORT_WAIT_S
    with Progress(TextColumn("evaluating policies that never ran"), BarColumn(), console=console) as progress:
        task = progress.add_task("", total=1.0)
        while True:
            _, evaluation = client.call("GET", f"{path}/evaluations/{request['id']}")
            progress.update(task, completed=evaluation["progress"])
            if evaluation["status"] == "failed" or time.monotonic() > deadline:
                raise DemoFailed(
                    "demo_failed", f"the evaluation is {evaluation['status']}: {evaluation['error'] or 'no answer'}"
                )
            if evaluation["status"] == "done":
                return dict(evaluation["result"])
            time.sleep(0.5)


__all__ = ["EXPERIMENT_KEY", "DemoFailed", "run"]
