"""Plays a world against the real services: the same decisions, rewards, rounds and reports that HTTP reaches.

A real experiment is made, one for each run, and concluded at the end. Its log stays.
"""

import secrets
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from app.accounts.keys import SCOPES, Caller
from app.deciding import decide
from app.deciding.requests import DecideRequest, identify
from app.deciding.runtime import Runtime
from app.design import experiments
from app.foundation.fields import MAX_BATCH, JsonObject
from app.learning import rewards
from app.learning.reward_request import RewardRequest
from app.learning.training import train_round
from app.reporting import health_checks, results
from app.reporting.documents.health import ChoicesCheck, HeavyUnitsCheck
from app.simulation.course import Course, course_of, definition, is_reward
from app.simulation.people import Log, draw_visits
from app.simulation.player import Look, Truth
from app.simulation.values import draw_worth
from app.simulation.world import MetricTruth, World
from app.simulation.world_files import WorldRefused
from experiments.validation import FloatArray, IntArray

ACTOR = "simulate"
MAX_UNITS = 20_000
Close = Callable[[int], None]


class Stack(NamedTuple):
    """What a live run needs."""

    runtime: Runtime
    window_s: float  # of the reward
    close: Close  # returns when all windows of an experiment are closed


class _Reported(NamedTuple):
    """The values of some decisions."""

    in_time: list[JsonObject]
    late: list[JsonObject]


def check(world: World) -> None:
    """:raises WorldRefused: the world cannot be played live."""
    if world.units > MAX_UNITS:
        raise WorldRefused(f"{world.units} units are too many for a live run: give at most {MAX_UNITS}.")
    if any(world.lost.choices.values()) or any(world.learning.actions.values()):
        raise WorldRefused(
            "a live run cannot lose choices or make actions differ: leave out lost.choices, set actions to 0."
        )


def play_live(stack: Stack, world: World, name: str, random: Generator, key: str | None = None) -> Iterator[Look]:
    """Play one run; the looks are in order. Concludes the experiment at the end."""
    check(world)
    run = _LiveRun(stack, course_of(world), key or f"simulated-{name}-{secrets.token_hex(3)}"[:100], random)
    yield from (run.look(number) for number in range(len(run.course.ends)))
    experiments.move(stack.runtime.engine, run.key, "conclude", ACTOR, "the simulation is over")


class _LiveRun:
    def __init__(self, stack: Stack, course: Course, key: str, random: Generator) -> None:
        self.stack, self.course, self.key, self.random = stack, course, key, random
        engine, settings = stack.runtime.engine, stack.runtime.settings
        made = experiments.create(engine, settings, definition(course.world, 0, key, stack.window_s), ACTOR)
        self.id = int(made.id)
        experiments.move(engine, key, "start", ACTOR)
        stack.runtime.refresh()
        self.caller = Caller(ACTOR, frozenset(SCOPES), None)
        self.visits = draw_visits(course, random)
        self.stretch = 0
        self.sent = 0

    def look(self, number: int) -> Look:
        """Play until a look, settle everything, and read what the pages show."""
        self._change(int(self.course.stretch_of_look[number]))
        late: list[JsonObject] = []
        now = np.flatnonzero(self.visits.look == number)
        for start in range(0, len(now), MAX_BATCH):
            late += self._batch(now[start : start + MAX_BATCH])
        self.stack.close(self.id)
        self._report(late)
        self._settle()
        results.compute(self.stack.runtime.engine, self.key)
        health = health_checks.get(self.stack.runtime.engine, self.key)
        chosen = [check.alert for check in health.checks if isinstance(check, ChoicesCheck)]
        heavy = [check.alert for check in health.checks if isinstance(check, HeavyUnitsCheck)]
        last = number == len(self.course.ends) - 1
        return Look(
            results.get(self.stack.runtime.engine, self.key),
            self._truths(number),
            any(chosen) if self.course.world.learning.arms else None,
            any(heavy) if last else None,
        )

    def _change(self, stretch: int) -> None:
        if stretch == self.stretch:
            return
        runtime, self.stretch = self.stack.runtime, stretch
        wanted = definition(self.course.world, stretch)
        changes = {name: wanted[name] for name in ("arms", "actions")}
        experiments.change(runtime.engine, runtime.settings, self.key, changes, ACTOR)
        runtime.refresh()

    def _batch(self, index: IntArray) -> list[JsonObject]:
        """Decide and report in time; returns the late reports."""
        asked = []
        lossy = any(self.course.world.lost.exposures.values())
        for unit in self.visits.unit[index].tolist():
            body: JsonObject = {"experiment": self.key, "unit_id": f"u{unit}", "decision_id": f"{self.key}-{self.sent}"}
            body |= {"defer_activation": True} if lossy else {}
            asked.append(identify(DecideRequest.model_validate(body), body))
            self.sent += 1
        answers = [dict(answered.answer) for answered in decide.decide(self.stack.runtime, self.caller, asked)]
        arm = np.array([self.course.arms.index(str(answer["arm"])) for answer in answers])
        if lossy:
            kept = self._activate(arm, [str(answer["decision_id"]) for answer in answers])
            index, arm, answers = index[kept], arm[kept], [answers[position] for position in kept.tolist()]
        reported = self._values(index, arm, [str(answer["decision_id"]) for answer in answers])
        self._report(reported.in_time)
        return reported.late

    def _activate(self, arm: IntArray, ids: list[str]) -> IntArray:
        """A decision that is never activated was never shown: its exposure is lost. Returns those that were not lost."""
        chances = np.array([self.course.world.lost.exposures.get(name, 0.0) for name in self.course.arms])
        kept = np.flatnonzero(self.random.random(len(arm)) >= chances[arm])
        for position in kept.tolist():
            rewards.activate(self.stack.runtime, self.caller, ids[position], self.key)
        return kept

    def _values(self, index: IntArray, arm: IntArray, ids: list[str]) -> _Reported:
        lost = self.course.world.lost
        log: Log = self.visits.only(index)._replace(arm=arm)
        chances = np.array([lost.rewards.get(name, 0.0) for name in self.course.arms])
        in_time: list[JsonObject] = []
        late: list[JsonObject] = []
        for metric in self.course.world.metrics:
            worth = draw_worth(self.course, metric, log, None, self.random)
            arrives = self.random.random(len(worth)) >= chances[arm]
            is_late = self.random.random(len(worth)) < lost.late_rewards
            for position in np.flatnonzero(arrives & (worth != 0)).tolist():
                (late if is_late[position] else in_time).append(
                    self._event(metric, ids[position], float(worth[position]))
                )
        return _Reported(in_time, late)

    def _event(self, metric: MetricTruth, decision_id: str, value: float) -> JsonObject:
        event: JsonObject = {"decision_id": decision_id, "value": value}
        return event if is_reward(self.course.world, metric) else event | {"metric": metric.key}

    def _report(self, events: list[JsonObject]) -> None:
        for start in range(0, len(events), MAX_BATCH):
            batch = [RewardRequest.model_validate(event) for event in events[start : start + MAX_BATCH]]
            rewards.reward(self.stack.runtime, self.caller, batch)

    def _settle(self) -> None:
        runtime = self.stack.runtime
        for arm in self.course.arms:
            while train_round(runtime.engine, runtime.settings, self.id, arm):
                pass
        runtime.refresh()

    def _truths(self, number: int) -> dict[tuple[str, str], Truth]:
        """As far as they follow from the world alone: a lift is known only where the level is constant."""
        seen = self.visits.look <= number
        visits = float(seen.sum()) / len(np.unique(self.visits.unit[seen]))
        factors: FloatArray = self.visits.factor[seen]
        constant = float(factors.min()) == float(factors.max())
        truths = {}
        for metric in self.course.world.metrics:
            summed = metric.per == "unit" and not is_reward(self.course.world, metric)
            base = metric.level * float(factors[0])
            for arm in self.course.world.treatments:
                effect = metric.effect(arm) * self.course.world.lost.kept(self.course.world.control)
                lift = metric.effect(arm) / base if constant and base > 0 else None
                truths[metric.key, arm] = Truth(effect * (visits if summed else 1.0), lift)
        return truths
