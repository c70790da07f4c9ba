"""The demo of fairness: a policy that narrows is seen on the curve and cured by a bound, at a price that the log predicted.

Through the HTTP API only. The same people come again and again. Each likes one of three topics more than the others, so an arm
that learns shows each person more and more of one topic: a filter bubble. A second arm learns the same within a bound, and a
third shows every topic alike. The table is what the platform's report says of each; the price is what an evaluation of the first
arm's log says of that bound, beside what the two arms earned.
"""

import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field
from math import log
from random import Random
from typing import IO, Final, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from app.demo.client import Client, DemoFailed
from app.foundation.fields import JsonObject

TOPICS: Final = ("news", "sport", "music")
LIKED, OTHER = 0.6, 0.35  # chances of a reward
LEAST = 0.3  # share of every decision that each topic gets in the bounded arm
ARMS: Final = (
    ("even", 0.34, {"type": "uniform"}),
    ("learned", 0.33, {"type": "bandit"}),
    ("bounded", 0.33, {"type": "bandit", "exposure": {"by": "topic", "least": LEAST}}),
)
WIDTH = 130  # where no terminal says how wide it is
PATIENCE_S = 300.0  # longest wait for a report of the worker
POLL_S = 1.0


class Size(NamedTuple):
    """How much happens, and how fast."""

    people: int = 420  # the report compares arms from 100 people on
    visits: int = 25  # of each of them
    rate: float = 100.0  # decisions a second


@dataclass
class Course:
    """What happened."""

    key: str
    earned: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by arm, in the second half
    report: JsonObject = field(default_factory=dict)
    price: JsonObject = field(default_factory=dict)  # of the bound

    def path(self, arm: str) -> JsonObject:
        """The filter-bubble curve of an arm, by topic."""
        return next(path for path in self.report["paths"] if (path["arm"], path["by"]) == (arm, "topic"))

    def mean(self, arm: str) -> float:
        """What an arm earned per decision, once it had learned."""
        return sum(self.earned[arm]) / max(len(self.earned[arm]), 1)


def run(url: str, key: str, out: IO[str], *, size: Size | None = None) -> Course:
    """Play, and print the table.

    :raises DemoFailed: the server does not answer, or refuses, or its worker computes nothing.
    """
    console, size = Console(file=out, highlight=False, width=None if out.isatty() else WIDTH), size or Size()
    minutes = size.people * size.visits / size.rate / 60
    console.print(
        f"{size.people} people, {size.visits} visits each, for {minutes:.1f} minutes, through {url}/v1: three topics, each "
        f"person likes one of them.\nOne arm learns, one learns while every topic keeps {LEAST:.0%}, one shows all alike."
    )
    client, course = Client(url, key), Course(f"fairness-{secrets.token_hex(3)}")
    _make(client, course)
    began = time.monotonic()
    for visit in range(size.visits):
        _visit(client, course, size, late=visit >= size.visits // 2)
        time.sleep(max(0.0, began + (visit + 1) * size.people / size.rate - time.monotonic()))
    console.print("Asking the worker for the report, and for the price of the bound.")
    course.report = _reported(client, course, size.people * size.visits)
    course.price = _priced(client, course)
    console.print(table(course))
    for words in course.report["findings"]:
        console.print(words)
    console.print(told(course))
    console.print(f"The experiment stays: {url}/admin/experiments/{course.key}/fairness")
    return course


def table(course: Course) -> Table:
    """How varied each arm was, at first and at the end; what its rarest topic got; and what it earned."""
    drawn = Table(title="The filter-bubble curve", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("arm", "variety at first", "at the end", "change", "narrows", "rarest topic", "earned per decision"):
        drawn.add_column(name)
    for arm, *_ in ARMS:
        path, stages = course.path(arm), course.path(arm)["stages"]
        shares = next(one for one in course.report["exposure"] if (one["arm"], one["by"]) == (arm, "topic"))
        narrows = "compared with" if path["excess"] is None else "yes" if path["narrows"] else "no"
        first, last = (f"{stages[index]['entropy']:.2f}" for index in (0, -1))
        drawn.add_row(
            arm, first, last, f"{path['change']:+.2f}", narrows, f"{shares['smallest']:.0%}", f"{course.mean(arm):.3f}"
        )
    return drawn


def told(course: Course) -> str:
    """What the bound guarantees; and its price, as the log predicted it, and as it came."""
    shares = (1 - 2 * LEAST, LEAST, LEAST)
    floor = -sum(share * log(share) for share in shares) / log(len(shares))
    left = course.path("bounded")["change"] / course.path("learned")["change"]
    cured = (
        f"The bound leaves {left:.0%} of the narrowing: within it, variety cannot fall below {floor:.2f} of 1, whatever is "
        "learned."
    )
    came = course.mean("learned") - course.mean("bounded")
    interval, cost = course.price["cost_interval"], course.price["cost"]
    if cost is None or interval is None:
        return f"{cured}\nThe log cannot price it: {'; '.join(course.price['reasons'])}. It cost {came:.3f}."
    return (
        f"{cured}\nThe price of {LEAST:.0%} for each topic, by the log of the arm that learned freely: {cost:.3f} per decision "
        f"({interval['low']:.3f} to {interval['high']:.3f}). The arms' own difference, in the second half: {came:.3f}."
    )


def _make(client: Client, course: Course) -> None:
    definition = {
        "key": course.key,
        "name": "The demo of fairness: a filter bubble",
        "actions": [{"id": topic, "features": {"topic": topic}} for topic in TOPICS],
        "arms": [{"key": arm, "share": share, "policy": policy} for arm, share, policy in ARMS],
        "control_arm": ARMS[0][0],
        "reward": {"window_s": 1, "aggregation": "max"},
    }
    client.call("POST", "/v1/experiments", definition)
    client.call("POST", f"/v1/experiments/{course.key}/start")


def _visit(client: Client, course: Course, size: Size, *, late: bool) -> None:
    """Everybody comes once."""
    likes = [TOPICS[person % len(TOPICS)] for person in range(size.people)]
    asked = [
        {"experiment": course.key, "unit_id": f"person{person}", "context": {"likes": topic}}
        for person, topic in enumerate(likes)
    ]
    _, answered = client.call("POST", "/v1/decide/batch", {"decisions": asked})
    rewards = []
    for topic, answer in zip(likes, answered["decisions"], strict=True):
        chance = LIKED if answer["action"]["id"] == topic else OTHER
        value = float(Random(answer["decision_id"]).random() < chance)
        rewards.append({"decision_id": answer["decision_id"], "value": value})
        if late:
            course.earned[answer["arm"]].append(value)
    client.call("POST", "/v1/rewards/batch", {"rewards": rewards})


def _reported(client: Client, course: Course, decisions: int) -> JsonObject:
    """The first report of the worker that has every decision."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        _, report = client.call("GET", f"/v1/experiments/{course.key}/fairness")
        if sum(part["decisions"] for part in report["exposure"] if part["by"] == "topic") >= decisions:
            return dict(report)
        time.sleep(POLL_S)
    raise DemoFailed("demo_failed", f"The worker computed no report within {PATIENCE_S:.0f} s: is it running?")


def _priced(client: Client, course: Course) -> JsonObject:
    """What the bound would cost the arm that learned without one, by its log."""
    question = {"price": {"arm": "learned", "by": "topic", "bound": "least", "values": [LEAST]}}
    _, asked = client.call("POST", f"/v1/experiments/{course.key}/evaluations", question)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        _, answer = client.call("GET", f"/v1/experiments/{course.key}/evaluations/{asked['id']}")
        if answer["status"] == "failed":
            raise DemoFailed("demo_failed", f"The evaluation failed: {answer['error']}")
        if answer["status"] == "done":
            return dict(answer["result"]["price"]["points"][1])
        time.sleep(POLL_S)
    raise DemoFailed("demo_failed", f"The worker answered nothing within {PATIENCE_S:.0f} s: is it running?")


__all__ = ["Course", "DemoFailed", "Size", "run"]
