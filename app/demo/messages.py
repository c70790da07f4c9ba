"""The messages' demo: a course speaks to its learners, through the HTTP API only, and checks the results.

Learners stall and reach milestones, rate messages, mute some, revoke consent, and one group asks to be forgotten; headlines
are composed, lessons are listed, reminders are capped. Time is compressed: a "day" lasts a few seconds.
"""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any

from rich.console import Console

from app.demo import course, messages_setup, tables
from app.demo.client import Client, DemoFailed
from app.demo.course import somebody, worth_under_cap
from app.demo.messages_days import Days, Size
from app.demo.messages_setup import CAPS, HEADLINES, LISTS, MILESTONE, NUDGE, ONCE, STALLED
from app.foundation.fields import JsonObject

WAIT_S = 120.0


def run(
    url: str,
    key: str,
    out: IO[str],
    *,
    size: Size | None = None,
    disturb: Callable[[], str] | None = None,
    audit: Callable[[str], Any] | None = None,
) -> None:
    """Play the course and print the results.

    :param disturb: kills the worker in the middle and returns a report of that; None: not possible from here.
    :param audit: audits one experiment; None: not possible from here.
    :raises DemoFailed: the server does not answer, or a promise of the platform is broken.
    """
    Play(url, key, Console(file=out, highlight=False), size or Size()).run(disturb, audit)


class Play(Days):
    """Plays the course, then checks the results."""

    def run(self, disturb: Callable[[], str] | None, audit: Callable[[str], Any] | None) -> None:
        """Play, then check the results."""
        messages_setup.create(self.client, self.size.day_s)
        self.console.print(
            f"The course: {self.size.days} days of {self.size.day_s:g} s, through {self.url}/v1. Headlines are composed, lessons"
            " are listed, reminders are capped;\nlearners stall, answer, mute, revoke consent and ask to be forgotten."
        )
        killed = self.play(disturb)
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

    def _triggers(self) -> None:
        """Check that every milestone and every silence fired once, although events came twice and the worker was killed."""
        reached_units = {
            MILESTONE: self.milestones,
            STALLED: {learner.unit for learner in self.learners if learner.stops < self.size.days},
        }
        rows = []
        for trigger, units in reached_units.items():
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
            own = [firing for firing in page["firings"] if f"-{self.run_id}-" in firing["unit_id"]]
            fired += [(firing["unit_id"], firing["cause"]) for firing in own if firing["status"] != "waiting"]
            if page["next"] is None:
                return fired if units <= {unit for unit, _ in fired} else None
            after = f"&after={page['next']}"

    def _caps_at_once(self) -> None:
        """Check a cap with fifty decisions at once for a unit that may get one message."""
        unit = f"crowded-{self.run_id}"

        def ask(_: int) -> bool:
            body = {"experiment": ONCE, "unit_id": unit}
            return Client(self.url, self.key).call("POST", "/v1/messages/decide", body)[1]["message"] is not None

        with ThreadPoolExecutor(50) as pool:
            messages = sum(pool.map(ask, range(50)))
        self.console.print(f"50 decisions at once for one unit under a cap of one: {messages} said something.")
        if messages != 1:
            raise DemoFailed("demo_failed", f"a cap of one let {messages} messages through")
        most = max(self.said.values())
        self.console.print(f"Reminders under a cap of three a week: nobody of {len(self.said):,} got more than {most}.")

    def _consent(self) -> None:
        """Check that units get the control's answer, and no message, from their revocation on."""
        (unit, *_), after = self.revoked, 0
        for unit in self.revoked:
            (decision,) = self._decide(NUDGE, [(unit, somebody(self.chance))])
            if decision["arm"] != messages_setup.CONTROL or decision["action"]["id"] != "nothing":
                raise DemoFailed(
                    "demo_failed", f"{unit} revoked consent and got {decision['action']['id']} of arm {decision['arm']}"
                )
            after += 1
        _, stored = self.client.call("GET", f"/v1/units/{unit}")
        newest = stored["decisions"][0]
        self.console.print(
            f"{len(self.revoked)} learners revoked consent. Since then each of {after} decisions is the control's silence; of the"
            f" newest the context {newest['context']} is stored, withheld: {', '.join(newest['withheld'])}."
        )

    def _earned(self) -> None:
        """Compare the earnings of contextual learning with those of learning without context."""
        half = {HEADLINES: self.headlines[len(self.headlines) // 2 :], LISTS: self.lists[len(self.lists) // 2 :]}
        for name, title in ((HEADLINES, "Composed headlines: followed"), (LISTS, "Lists of three: lessons begun")):
            self.console.print(tables.arms(half[name], ["learned", "same_for_all"], f"{title} (second half)"))
        by_kind = {kind: [stars for liked, stars in self.stars if liked == kind] for kind in (True, False)}
        if all(by_kind.values()):
            mean_stars = {kind: sum(rows) / len(rows) for kind, rows in by_kind.items()}
            self.console.print(
                f"{len(self.stars)} ratings: {mean_stars[True]:.1f} stars for messages that suit, "
                f"{mean_stars[False]:.1f} for others."
            )

    def _cap_question(self) -> None:
        """Ask for the value of two messages a week instead of three, and compare the estimate with the truth."""
        question = {"cap": {"limit": 2, "window_s": messages_setup.WEEK_S, "across": "experiment"}}
        path = f"/v1/experiments/{CAPS}/cap-evaluations"
        decisions_to_settle = self.size.reminded * course.WEEK

        def answered() -> JsonObject | None:
            status, evaluation = self.client.call("POST", path, question, allow=(422,))
            return evaluation if status == 200 and evaluation["decisions"] >= decisions_to_settle else None

        evaluation, truth = self._wait(answered, "the reminders' outcomes"), worth_under_cap(2)
        self.cap_answer = evaluation
        self.console.print(tables.cap(evaluation, truth))

    def _forget(self) -> None:
        """Let the learner whom the platform learned from first ask for erasure."""
        learned: dict[str, str] = {}
        for learner in self.learners[12:]:
            _, stored = self.client.call("GET", f"/v1/units/{learner.unit}")
            learned |= {
                decision["decided_at"]: learner.unit for decision in stored["decisions"] if decision["arm"] == "learned"
            }
        forgotten = learned[min(learned)]
        _, erasure = self.client.call("POST", "/v1/erasure", {"unit_id": forgotten})
        path = f"/v1/erasure/{erasure['erasure_id']}"

        def receipt() -> JsonObject | None:
            document: JsonObject | None = self.client.call("GET", path)[1]["receipt"]
            return document

        done = self._wait(receipt, "the erasure")
        _, stored = self.client.call("GET", f"/v1/units/{forgotten}")
        if any(stored[kind] for kind in ("decisions", "rewards", "feedback", "events", "messages", "ledger")):
            raise DemoFailed("demo_failed", "rows of an erased learner are left")
        self.receipt = done
        for line in tables.receipt(forgotten, done):
            self.console.print(line)

    def _wait(self, condition: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + WAIT_S
        while not (result := condition()):
            if time.monotonic() > end:
                raise DemoFailed("demo_failed", f"{what} did not come within {WAIT_S:g} s; does the worker run?")
            time.sleep(0.5)
        return result
