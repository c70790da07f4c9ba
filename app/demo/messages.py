"""The messages' demo: a course speaks to its learners, through the HTTP API only, and shows what can be proven of it.

Learners stall and reach milestones, rate messages, mute some, revoke consent, and one group asks to be forgotten; headlines
are composed, lessons are listed, reminders are capped. Time is pressed together: a "day" lasts a few seconds.
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
    """Play the course and print what came of it.

    :param disturb: kills the worker in the middle and says what it did, when that can be done from here.
    :param audit: audits one experiment, when that can be done from here.
    :raises DemoFailed: the server does not answer, or something is not as it is promised.
    """
    Play(url, key, Console(file=out, highlight=False), size or Size()).run(disturb, audit)


class Play(Days):
    """Plays the course, then looks at what came of it."""

    def run(self, disturb: Callable[[], str] | None, audit: Callable[[str], Any] | None) -> None:
        """Play, then look at what came of it."""
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

        def answered() -> JsonObject | None:
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

        def receipt() -> JsonObject | None:
            found: JsonObject | None = self.client.call("GET", path)[1]["receipt"]
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
