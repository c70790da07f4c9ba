"""The messages' demo: a course speaks to its learners, through the HTTP API only, and shows what can be proven of it.

Learners stall and reach milestones, rate messages, mute some, revoke consent, and one group asks to be forgotten; headlines
are composed, lessons are listed, reminders are capped. Time is pressed together: a "day" lasts a few seconds.
"""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.demo import course, messages_setup, tables
from app.demo.client import Client, DemoFailed
from app.demo.course import BEGINS, NUDGES, RATES, Person, answers, opens, somebody, takes, worth_under_cap
from app.demo.messages_setup import CAPS, HEADLINES, LISTS, MILESTONE, NUDGE, ONCE, STALLED
from app.demo.tables import Played

WAIT_S = 120.0


class Size(NamedTuple):
    """How much is played."""

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


def run(
    url: str,
    key: str,
    out: IO[str],
    *,
    size: Size | None = None,
    disturb: Callable[[], str] | None = None,
    audit: Callable[[str], Any] | None = None,
) -> None:
    """Play the course and print what came of it.

    :param disturb: kills the worker in the middle and says what it did, when that can be done from here.
    :param audit: audits one experiment, when that can be done from here.
    :raises DemoFailed: the server does not answer, or something is not as it is promised.
    """
    Play(url, key, Console(file=out, highlight=False), size or Size()).run(disturb, audit)


class Play:
    """One run: what was sent, and what came back."""

    def __init__(self, url: str, key: str, console: Console, size: Size) -> None:
        self.url, self.key, self.console, self.size = url, key, console, size
        self.client = Client(url, key)
        self.run_id = uuid.uuid4().hex[:6]  # people of this run; the experiments stay
        self.chance = random.Random(self.run_id)  # another one in each run: their people stand side by side in the log
        self.headlines: list[Played] = []
        self.lists: list[Played] = []
        self.said: Counter[str] = Counter()  # reminders of this week, by person
        self.lessons: Counter[str] = Counter()
        self.milestones: set[str] = set()  # learners who must get a message for it
        self.received: Counter[tuple[str, str]] = Counter()  # (unit, decision) of messages that arrived
        self.cap_answer: dict[str, Any] = {}
        self.receipt: dict[str, Any] = {}
        self.stars: list[tuple[bool, int]] = []  # (liked kind of message, stars)
        self.learners = [
            Learner(f"learner-{self.run_id}-{n}", somebody(self.chance), size.days // 3 if n % 4 == 0 else size.days)
            for n in range(size.learners)
        ]
        self.muted = self.learners[1].unit
        self.revoked = [one.unit for one in self.learners[2:12]]

    def run(self, disturb: Callable[[], str] | None, audit: Callable[[str], Any] | None) -> None:
        """Play, then look at what came of it."""
        messages_setup.create(self.client, self.size.day_s)
        self.console.print(
            f"The course: {self.size.days} days of {self.size.day_s:g} s, through {self.url}/v1. Headlines are composed, lessons"
            " are listed, reminders are capped;\nlearners stall, answer, mute, revoke consent and ask to be forgotten."
        )
        killed = self._days(disturb)
        if killed:
            self.console.print(f"In the middle {killed}.")
        self._triggers()
        self._caps_at_once()
        self._consent()
        self._earned()
        self._cap_question()
        self._forget()
        if audit is not None:
            for name in (NUDGE, HEADLINES, LISTS, CAPS):
                self.console.print("\n".join(audit(name).lines()))
        self.console.print(f"The experiments stay: {self.url}/admin/")

    def _days(self, disturb: Callable[[], str] | None) -> str:
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

    def _decide(self, experiment: str, people: list[tuple[str, Person]], **fields: Any) -> list[dict[str, Any]]:
        asked = [
            {"experiment": experiment, "unit_id": unit, "context": person.context(), **fields}
            for unit, person in people
        ]
        _, answer = self.client.call("POST", "/v1/decide/batch", {"decisions": asked})
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
        for (unit, person), one in zip(people, self._decide(HEADLINES, people), strict=True):
            parts = {slot["slot"]: slot["part"] for slot in one["slots"]}
            if (parts["subject"], parts["tone"]) == messages_setup.FORBIDDEN:
                raise DemoFailed("demo_failed", f"a forbidden pair met in decision {one['decision_id']}")
            rewards[one["decision_id"]] = earned = self._happens(opens(person, parts))
            self.headlines.append(Played(one["arm"], unit, earned, one["policy_version"]))
        self._reward(rewards)

    def _lists(self) -> None:
        people = self._visitors(self.size.lists)
        rewards: dict[str, float] = {}
        for (unit, person), one in zip(people, self._decide(LISTS, people, slots=3), strict=True):
            chosen = [place["action"]["id"] for place in one["positions"]]
            if len(set(chosen)) != 3:
                raise DemoFailed("demo_failed", f"a list repeats itself: {chosen}")
            taken = [
                self._happens(takes(person, place["action"]["id"], place["position"])) for place in one["positions"]
            ]
            rewards |= {place["decision_id"]: value for place, value in zip(one["positions"], taken, strict=True)}
            self.lists.append(Played(one["arm"], unit, sum(taken), one["policy_version"]))
        self._reward(rewards)

    def _reminders(self) -> None:
        people = [(f"reminded-{self.run_id}-{n}", somebody(self.chance)) for n in range(self.size.reminded)]
        rewards = {}
        for (unit, _), one in zip(people, self._decide(CAPS, people), strict=True):
            says = one["action"]["id"] != "nothing"
            rewards[one["decision_id"]] = self._happens(answers(self.said[unit], says))
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
            for _ in range(2):  # an app that is not sure whether the first arrived sends it again
                self.client.call("POST", "/v1/events", {"events": events})

    def _answers(self) -> None:
        """Learners open the app, see what is held for them, begin a lesson or not, and some say what they think of it."""
        for learner in self.learners[:: 1 if self.size.learners < 60 else 3]:
            _, found = self.client.call("GET", f"/v1/messages/pending?unit_id={learner.unit}")
            for held in found["messages"]:
                self._answer(learner, held)

    def _answer(self, learner: Learner, held: dict[str, Any]) -> None:
        decision = held["decision_id"]
        self.received[learner.unit, decision] += 1
        self.client.call("POST", f"/v1/messages/{decision}/received")
        liked = held["message"]["title"] == messages_setup.TITLES[NUDGES[learner.person.persona]]
        if self._happens(BEGINS[liked]):
            self._reward({decision: 1.0})
        if learner.unit != self.muted and not self._happens(RATES):
            return
        stars = self.chance.choice((4, 5) if liked else (1, 2, 3))
        self.stars.append((liked, stars))
        said = {"decision_id": decision, "kind": "stars", "value": stars, "feedback_id": "rating"}
        self.client.call("POST", "/v1/feedback", said)
        if learner.unit == self.muted:
            self.client.call("POST", "/v1/feedback", {"decision_id": decision, "kind": "not_interested"})

    def _revoke(self) -> None:
        for unit in self.revoked:
            said = {"unit_id": unit, "purposes": {"personalise": "revoked", "message": "revoked"}}
            self.client.call("POST", "/v1/consent", said | {"text_version": "2026-11", "source": "course settings"})

    def _triggers(self) -> None:
        """Every milestone and every silence fired once, although events came twice and the worker was killed."""
        wanted = {
            MILESTONE: self.milestones,
            STALLED: {one.unit for one in self.learners if one.stops < self.size.days},
        }
        rows = []
        for trigger, units in wanted.items():
            fired = self._wait(partial(self._fired, trigger, units), f"the trigger {trigger}")
            twice = [cause for cause, count in Counter(fired).items() if count > 1]
            if twice:
                raise DemoFailed("demo_failed", f"{trigger} fired twice for {twice}")
            rows.append((trigger, len(units), len(units & {unit for unit, _ in fired}), len(twice)))
        self.console.print(tables.firings(rows))

    def _fired(self, trigger: str, units: set[str]) -> list[tuple[str, str]] | None:
        """(unit, cause) of this run's finished firings of a trigger; null while some unit is missing."""
        fired: list[tuple[str, str]] = []
        after = ""
        while True:
            _, page = self.client.call("GET", f"/v1/triggers/{trigger}/firings?limit=100{after}")
            mine = [one for one in page["firings"] if f"-{self.run_id}-" in one["unit_id"]]
            fired += [(one["unit_id"], one["cause"]) for one in mine if one["status"] != "waiting"]
            if page["next"] is None:
                return fired if units <= {unit for unit, _ in fired} else None
            after = f"&after={page['next']}"

    def _caps_at_once(self) -> None:
        """Fifty decisions at once for somebody who may get one message."""
        unit = f"crowded-{self.run_id}"

        def ask(_: int) -> bool:
            body = {"experiment": ONCE, "unit_id": unit}
            return Client(self.url, self.key).call("POST", "/v1/messages/decide", body)[1]["message"] is not None

        with ThreadPoolExecutor(50) as pool:
            said = sum(pool.map(ask, range(50)))
        self.console.print(f"50 decisions at once for one unit under a cap of one: {said} said something.")
        if said != 1:
            raise DemoFailed("demo_failed", f"a cap of one let {said} messages through")
        most = max(self.said.values())
        self.console.print(f"Reminders under a cap of three a week: nobody of {len(self.said):,} got more than {most}.")

    def _consent(self) -> None:
        """From the revocation on: the control's answer, nothing said, nothing learned from."""
        (unit, *_), after = self.revoked, 0
        for unit in self.revoked:
            (one,) = self._decide(NUDGE, [(unit, somebody(self.chance))])
            if one["arm"] != messages_setup.CONTROL or one["action"]["id"] != "nothing":
                raise DemoFailed(
                    "demo_failed", f"{unit} revoked consent and got {one['action']['id']} of arm {one['arm']}"
                )
            after += 1
        _, kept = self.client.call("GET", f"/v1/units/{unit}")
        newest = kept["decisions"][0]
        self.console.print(
            f"{len(self.revoked)} learners revoked consent. Since then each of {after} decisions is the control's silence; of the"
            f" newest the context {newest['context']} is stored, withheld: {', '.join(newest['withheld'])}."
        )

    def _earned(self) -> None:
        """What contextual learning earned against learning that does not look at the person."""
        half = {HEADLINES: self.headlines[len(self.headlines) // 2 :], LISTS: self.lists[len(self.lists) // 2 :]}
        for name, title in ((HEADLINES, "Composed headlines: followed"), (LISTS, "Lists of three: lessons begun")):
            self.console.print(tables.arms(half[name], ["learned", "same_for_all"], f"{title} (second half)"))
        by_kind = {kind: [stars for liked, stars in self.stars if liked == kind] for kind in (True, False)}
        if all(by_kind.values()):
            told = {kind: sum(rows) / len(rows) for kind, rows in by_kind.items()}
            self.console.print(
                f"{len(self.stars)} ratings: {told[True]:.1f} stars for messages that suit, {told[False]:.1f} for others."
            )

    def _cap_question(self) -> None:
        """Two a week instead of three: what the log says, and what is true."""
        question = {"cap": {"limit": 2, "window_s": messages_setup.WEEK_S, "across": "experiment"}}
        path = f"/v1/experiments/{CAPS}/cap-evaluations"
        wanted = self.size.reminded * course.WEEK

        def answered() -> dict[str, Any] | None:
            status, found = self.client.call("POST", path, question, allow=(422,))
            return found if status == 200 and found["decisions"] >= wanted else None

        found, truth = self._wait(answered, "the reminders' outcomes"), worth_under_cap(2)
        self.cap_answer = found
        self.console.print(tables.cap(found, truth))

    def _forget(self) -> None:
        """The learner from whom the platform learned first asks to be forgotten."""
        learned: dict[str, str] = {}
        for learner in self.learners[12:]:
            _, kept = self.client.call("GET", f"/v1/units/{learner.unit}")
            learned |= {one["decided_at"]: learner.unit for one in kept["decisions"] if one["arm"] == "learned"}
        forgotten = learned[min(learned)]
        _, asked = self.client.call("POST", "/v1/erasure", {"unit_id": forgotten})
        path = f"/v1/erasure/{asked['erasure_id']}"

        def receipt() -> dict[str, Any] | None:
            found: dict[str, Any] | None = self.client.call("GET", path)[1]["receipt"]
            return found

        done = self._wait(receipt, "the erasure")
        _, kept = self.client.call("GET", f"/v1/units/{forgotten}")
        if any(kept[kind] for kind in ("decisions", "rewards", "feedback", "events", "messages", "ledger")):
            raise DemoFailed("demo_failed", "something of an erased learner is left")
        self.receipt = done
        for line in tables.receipt(forgotten, done):
            self.console.print(line)

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WAIT_S
        while not (found := condition()):
            if time.monotonic() > end:
                raise DemoFailed("demo_failed", f"{what} did not come within {WAIT_S:g} s; does the worker run?")
            time.sleep(0.5)
        return found
