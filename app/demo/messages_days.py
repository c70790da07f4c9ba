"""The days of the messages' demo: learners and visitors come, get decisions, and respond."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.demo import course, messages_setup
from app.demo.client import Client, DemoFailed
from app.demo.course import BEGINS, NUDGES, RATES, Person, answers, opens, somebody, takes
from app.demo.messages_setup import CAPS, HEADLINES, LISTS
from app.demo.tables import Played
from app.foundation.fields import JsonObject


class Size(NamedTuple):
    """The size of a run."""

    days: int = 14
    day_s: float = 3.0
    headlines: int = 300  # a day
    lists: int = 120  # a day
    reminded: int = 800  # people, each once a day for a week
    learners: int = 120


class Learner(NamedTuple):
    """One learner of the course."""

    unit: str
    person: Person
    stops: int  # the day after which no lesson is done any more


class Days:
    """One run: the calls, and the answers to them."""

    def __init__(self, url: str, key: str, console: Console, size: Size) -> None:
        self.url, self.key, self.console, self.size = url, key, console, size
        self.client = Client(url, key)
        self.run_id = uuid.uuid4().hex[:6]  # names the people of this run, because the experiments stay
        self.chance = random.Random(self.run_id)  # another one in each run: their people stand side by side in the log
        self.headlines: list[Played] = []
        self.lists: list[Played] = []
        self.said: Counter[str] = Counter()  # reminders of this week, by person
        self.lessons: Counter[str] = Counter()
        self.milestones: set[str] = set()  # learners who must get a message for it
        self.received: Counter[tuple[str, str]] = Counter()  # (unit, decision) of messages that arrived
        self.cap_answer: JsonObject = {}
        self.receipt: JsonObject = {}
        self.stars: list[tuple[bool, int]] = []  # (liked kind of message, stars)
        self.learners = [
            Learner(f"learner-{self.run_id}-{n}", somebody(self.chance), size.days // 3 if n % 4 == 0 else size.days)
            for n in range(size.learners)
        ]
        self.muted = self.learners[1].unit
        self.revoked = [learner.unit for learner in self.learners[2:12]]

    def play(self, disturb: Callable[[], str] | None) -> str:
        killed = ""
        columns = (TextColumn("days of the course"), BarColumn(), MofNCompleteColumn())
        began = time.monotonic()
        with Progress(*columns, console=self.console) as progress:
            for day in progress.track(range(self.size.days)):
                if day < course.WEEK:
                    self._reminders()
                self._learners_day(day)
                if day == self.size.days // 2 and disturb is not None:
                    killed = disturb()
                self._headlines()
                self._lists()
                self._answers()
                if day == self.size.days // 2:
                    self._revoke()
                time.sleep(max(0.0, began + (day + 1) * self.size.day_s - time.monotonic()))
        return killed

    def _decide(self, experiment: str, people: list[tuple[str, Person]], **fields: object) -> list[JsonObject]:
        questions = [
            {"experiment": experiment, "unit_id": unit, "context": person.context(), **fields}
            for unit, person in people
        ]
        _, answer = self.client.call("POST", "/v1/decide/batch", {"decisions": questions})
        return list(answer["decisions"])

    def _reward(self, rewards: dict[str, float]) -> None:
        lines = [{"decision_id": decision, "value": value} for decision, value in rewards.items()]
        for first in range(0, len(lines), 1000):
            self.client.call("POST", "/v1/rewards/batch", {"rewards": lines[first : first + 1000]})

    def _happens(self, chance: float) -> float:
        return float(self.chance.random() < chance)

    def _visitors(self, count: int) -> list[tuple[str, Person]]:
        return [(f"visitor-{uuid.uuid4().hex[:12]}", somebody(self.chance)) for _ in range(count)]

    def _headlines(self) -> None:
        people = self._visitors(self.size.headlines)
        rewards = {}
        for (unit, person), decision in zip(people, self._decide(HEADLINES, people), strict=True):
            parts = {slot["slot"]: slot["part"] for slot in decision["slots"]}
            if (parts["subject"], parts["tone"]) == messages_setup.FORBIDDEN:
                raise DemoFailed("demo_failed", f"a forbidden pair met in decision {decision['decision_id']}")
            rewards[decision["decision_id"]] = earned = self._happens(opens(person, parts))
            self.headlines.append(Played(decision["arm"], unit, earned, decision["policy_version"]))
        self._reward(rewards)

    def _lists(self) -> None:
        people = self._visitors(self.size.lists)
        rewards: dict[str, float] = {}
        for (unit, person), decision in zip(people, self._decide(LISTS, people, slots=3), strict=True):
            chosen = [position["action"]["id"] for position in decision["positions"]]
            if len(set(chosen)) != 3:
                raise DemoFailed("demo_failed", f"a list repeats itself: {chosen}")
            taken = [
                self._happens(takes(person, position["action"]["id"], position["position"]))
                for position in decision["positions"]
            ]
            rewards |= {
                position["decision_id"]: value for position, value in zip(decision["positions"], taken, strict=True)
            }
            self.lists.append(Played(decision["arm"], unit, sum(taken), decision["policy_version"]))
        self._reward(rewards)

    def _reminders(self) -> None:
        people = [(f"reminded-{self.run_id}-{n}", somebody(self.chance)) for n in range(self.size.reminded)]
        rewards = {}
        for (unit, _), decision in zip(people, self._decide(CAPS, people), strict=True):
            says = decision["action"]["id"] != "nothing"
            rewards[decision["decision_id"]] = self._happens(answers(self.said[unit], says))
            self.said[unit] += says
        self._reward(rewards)

    def _learners_day(self, day: int) -> None:
        events = []
        for learner in self.learners:
            if day <= learner.stops and (day == learner.stops or self.chance.random() < 0.8):
                self.lessons[learner.unit] += 1
                done = self.lessons[learner.unit]
                self.milestones |= {learner.unit} if done >= messages_setup.LESSONS_OF_MILESTONE else set()
                properties = {"lessons": done, **learner.person.context()}
                event = {"unit_id": learner.unit, "name": "lesson_done", "properties": properties}
                events.append(event | {"event_id": f"{learner.unit}-{day}"})
        if events:
            for _ in range(2):  # as an app does that is not sure whether its first call arrived
                self.client.call("POST", "/v1/events", {"events": events})

    def _answers(self) -> None:
        """Learners open the app and see their held messages. Some begin a lesson, and some answer."""
        for learner in self.learners[:: 1 if self.size.learners < 60 else 3]:
            _, pending = self.client.call("GET", f"/v1/messages/pending?unit_id={learner.unit}")
            for message in pending["messages"]:
                self._answer(learner, message)

    def _answer(self, learner: Learner, pending: JsonObject) -> None:
        decision = pending["decision_id"]
        self.received[learner.unit, decision] += 1
        self.client.call("POST", f"/v1/messages/{decision}/received")
        liked = pending["message"]["title"] == messages_setup.TITLES[NUDGES[learner.person.persona]]
        if self._happens(BEGINS[liked]):
            self._reward({decision: 1.0})
        if learner.unit != self.muted and not self._happens(RATES):
            return
        stars = self.chance.choice((4, 5) if liked else (1, 2, 3))
        self.stars.append((liked, stars))
        answer = {"decision_id": decision, "kind": "stars", "value": stars, "feedback_id": "rating"}
        self.client.call("POST", "/v1/feedback", answer)
        if learner.unit == self.muted:
            self.client.call("POST", "/v1/feedback", {"decision_id": decision, "kind": "not_interested"})

    def _revoke(self) -> None:
        for unit in self.revoked:
            answer = {"unit_id": unit, "purposes": {"personalise": "revoked", "message": "revoked"}}
            self.client.call("POST", "/v1/consent", answer | {"text_version": "2026-11", "source": "course settings"})
