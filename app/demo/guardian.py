"""The guardian's demo: three things go wrong, through the HTTP API only, and a table says what was noticed and done, and when.

The best actions change places; one bot rewards what people do not want; the rewards of one arm stop. Each happens to an
experiment of its own, at the same time. Nothing here knows what the guardian will do: the table is what the platform's API says.
"""

import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import IO, Final, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from app.demo.client import Client, DemoFailed
from app.foundation.fields import JsonObject

ACTIONS: Final = ("a", "b", "c", "d")
BEST: Final = {"x": "a", "y": "b", "z": "c"}  # by a person's mood
TURNED: Final = {"x": "b", "y": "d", "z": "a"}
RIGHT, WRONG = 0.75, 0.1  # chances of a reward
WIDTH = 130  # where no terminal says how wide it is
BOT_WANTS = "d"  # the action that nobody else wants
ARMS: Final = (("control", 0.3, {"type": "fixed", "action": "a"}), ("learned", 0.7, {"type": "bandit"}))
DID: Final = {
    "relearn": "learned again",
    "fell_back": "its fallback decides",
    "told": "told, nothing changed",
    "restored": "learned policy decides again",
    "recovered": "over",
}


class Size(NamedTuple):
    """How much happens, and how fast."""

    calm: int = 2000  # decisions before it goes wrong
    calm_rate: float = 60.0  # a second
    wrong_s: float = 80.0  # that it stays wrong
    rate: float = 20.0  # decisions of people a second, then
    bot: int = 3000  # decisions of the bot
    bot_rate: float = 200.0


class Made(NamedTuple):
    """One decision for a person, with what came of it."""

    at: float  # seconds since it went wrong; before: negative
    arm: str
    right: bool  # the action that the person wants


@dataclass
class Course:
    """What happened to one experiment."""

    key: str
    title: str
    decisions: list[Made] = field(default_factory=list)
    incidents: list[JsonObject] = field(default_factory=list)  # in the order in which they were seen
    seen: list[tuple[float, int]] = field(
        default_factory=list
    )  # of each: seconds, and decisions of its arm, since it went wrong

    def share(self, low: float, high: float, newest: int | None = None) -> float | None:
        """The share of right actions of the learning arm between two times, or of the newest decisions among them."""
        right = [made.right for made in self.decisions if made.arm == "learned" and low <= made.at < high]
        right = right[-newest:] if newest else right
        return sum(right) / len(right) if right else None


def run(url: str, key: str, out: IO[str], *, size: Size | None = None) -> list[Course]:
    """Play, and print the table.

    :raises DemoFailed: the server does not answer, or refuses.
    """
    console, size = Console(file=out, highlight=False, width=None if out.isatty() else WIDTH), size or Size()
    about = (size.calm / size.calm_rate + size.wrong_s) / 60
    console.print(
        f"Three experiments for {about:.1f} minutes, through {url}/v1: people in three moods, four actions, one right for each.\n"
        f"After {size.calm:,} decisions each goes wrong in its way."
    )
    plays: tuple[Callable[[str, str, Size], Course], ...] = (_flip, _bot, _lost)
    with ThreadPoolExecutor(len(plays)) as pool:
        courses = [future.result() for future in [pool.submit(play, url, key, size) for play in plays]]
    console.print(table(courses, size))
    for course in courses:
        for incident in course.incidents:
            console.print(f"{course.key}: {incident['text']}")
    console.print(f"The experiments stay: {url}/admin/health")
    return courses


def table(courses: list[Course], size: Size) -> Table:
    """What was noticed, after how many decisions, and what was done; and the right actions before, after, and at the end."""
    drawn = Table(title="What the guardian did", box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("what goes wrong", "noticed", "after", "done", "right before", "right at first", "right at the end"):
        drawn.add_column(name)
    for course in courses:
        first, last = size.wrong_s / 4, size.wrong_s * 0.75
        shares = (course.share(-inf, 0.0, size.calm // 5), course.share(0.0, first), course.share(last, inf))
        shown = ["-" if share is None else f"{share:.0%}" for share in shares]
        rows = [
            (
                f"{incident['arm'] or 'all arms'}: {incident['kind']}",
                f"{count:,} decisions, {at:.0f} s",
                _done(incident),
            )
            for incident, (at, count) in zip(course.incidents, course.seen, strict=True)
        ] or [("nothing", "-", "-")]
        for index, row in enumerate(rows):
            drawn.add_row(course.title if index == 0 else "", *row, *(shown if index == 0 else ("", "", "")))
    return drawn


def _done(incident: JsonObject) -> str:
    return ", ".join(DID.get(action["code"], action["code"]) for action in incident["actions"])


class _Play:
    """Plays one experiment."""

    def __init__(self, url: str, key: str, name: str, title: str) -> None:
        self.client, self.random = Client(url, key), Random(name)
        self.course = Course(f"guardian-{name}-{secrets.token_hex(3)}", title)
        self.best, self.went_wrong = BEST, inf
        self.silent_arm: str | None = None  # whose rewards do not arrive
        self._people = self._tried = 0
        self._bot: str | None = None
        arms = [{"key": arm, "share": share, "policy": policy} for arm, share, policy in ARMS]
        definition = {
            "key": self.course.key,
            "name": f"The guardian's demo: {title}",
            "actions": [{"id": action} for action in ACTIONS],
            "arms": arms,
            "control_arm": "control",
            "reward": {"window_s": 1, "aggregation": "max"},
        }
        self.client.call("POST", "/v1/experiments", definition)
        self.client.call("POST", f"/v1/experiments/{self.course.key}/start")

    def people(self, count: int, rate: float) -> None:
        """So many people come, about so many a second, in batches of a quarter of a second."""
        began, done = time.monotonic(), 0
        while done < count:
            batch = min(max(1, round(rate / 4)), count - done)
            self._batch([f"p{self._people + number}" for number in range(batch)], bot=False)
            self._people, done = self._people + batch, done + batch
            time.sleep(max(0.0, began + done / rate - time.monotonic()))

    def bot(self, count: int, rate: float) -> None:
        """One unit of the learning arm decides again and again, and rewards what nobody else wants."""
        began, done = time.monotonic(), 0
        while self._bot is None:
            self._tried += 1
            asked = {"experiment": self.course.key, "unit_id": f"bot{self._tried}", "context": {"mood": "x"}}
            if self.client.call("POST", "/v1/decide", asked)[1]["arm"] == "learned":
                self._bot = f"bot{self._tried}"
        while done < count:
            batch = min(max(1, round(rate / 4)), count - done)
            self._batch([self._bot] * batch, bot=True)
            done += batch
            time.sleep(max(0.0, began + done / rate - time.monotonic()))

    def goes_wrong(self) -> None:
        """From now on decisions are counted."""
        self.went_wrong = time.monotonic()

    def watch(self) -> None:
        """Look for incidents: note when each is seen first, and what was done about it."""
        _, guarded = self.client.call("GET", f"/v1/experiments/{self.course.key}/guardian")
        known = [incident["id"] for incident in self.course.incidents]
        for incident in reversed(guarded["incidents"]):
            if incident["id"] in known:
                self.course.incidents[known.index(incident["id"])] = incident
                continue
            at = time.monotonic() - self.went_wrong
            arms = {incident["arm"]} if incident["arm"] else {made.arm for made in self.course.decisions}
            count = sum(made.at >= 0 and made.arm in arms for made in self.course.decisions)
            self.course.incidents.append(incident)
            self.course.seen.append((at, count))

    def _batch(self, units: list[str], *, bot: bool) -> None:
        moods = [self.random.choice([*BEST]) for _ in units]
        asked = [
            {"experiment": self.course.key, "unit_id": unit, "context": {"mood": mood}}
            for unit, mood in zip(units, moods, strict=True)
        ]
        _, answered = self.client.call("POST", "/v1/decide/batch", {"decisions": asked})
        now, rewards = time.monotonic() - self.went_wrong, []
        for mood, answer in zip(moods, answered["decisions"], strict=True):
            action = answer["action"]["id"]
            right = action == (BOT_WANTS if bot else self.best[mood])
            if not bot:
                self.course.decisions.append(Made(now, answer["arm"], right))
            if answer["arm"] != self.silent_arm:
                chance = float(right) if bot else RIGHT if right else WRONG
                rewards.append({"decision_id": answer["decision_id"], "value": float(self.random.random() < chance)})
        if rewards:
            self.client.call("POST", "/v1/rewards/batch", {"rewards": rewards})


def _flip(url: str, key: str, size: Size) -> Course:
    play = _Play(url, key, "flip", "the best actions change places")
    play.people(size.calm, size.calm_rate)
    play.goes_wrong()
    play.best = TURNED
    return _to_the_end(play, size)


def _bot(url: str, key: str, size: Size) -> Course:
    play = _Play(url, key, "bot", f"a bot decides {size.bot:,} times")
    play.people(size.calm, size.calm_rate)
    play.goes_wrong()
    for done in range(0, size.bot, round(size.bot_rate)):
        play.bot(min(round(size.bot_rate), size.bot - done), size.bot_rate)
        play.people(max(1, round(size.rate)), size.rate)
        play.watch()
    return _to_the_end(play, size)


def _lost(url: str, key: str, size: Size) -> Course:
    play = _Play(url, key, "lost", "the rewards of an arm stop")
    play.people(size.calm, size.calm_rate)
    play.goes_wrong()
    play.silent_arm = "learned"
    return _to_the_end(play, size)


def _to_the_end(play: _Play, size: Size) -> Course:
    while time.monotonic() - play.went_wrong < size.wrong_s:
        play.people(max(1, round(size.rate)), size.rate)
        play.watch()
    return play.course


__all__ = ["Course", "DemoFailed", "Size", "run"]
