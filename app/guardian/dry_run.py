"""What a rule of an arm would have done over the past log: how often it would have learned again, and fallen back.

The log is played through the watches, look by look, as the worker would have read it. The past stays as it was: after a fall,
the arm goes on with what it really did, so a rule that would have learned again in time may be shown to fall back all the same.
"""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from pydantic import Field
from sqlalchemy import Engine

from app.design import experiments
from app.design.experiment_config import ArmSpec, ExperimentConfig, FallbackSpec
from app.design.fallbacks import rule_of, trusted_policy
from app.foundation.errors import Conflict, NotFound
from app.foundation.fields import Document
from app.foundation.store.engine import transaction
from app.foundation.times import iso
from app.guardian import incidents, streams, watching
from app.guardian.documents import Stream, WatchDocument
from app.guardian.store import outcomes
from app.guardian.store.outcomes import Row
from app.guardian.thresholds import threshold_of
from app.guardian.watching import Look
from app.learning.examples import Configs
from app.registry.lookup import stored_experiment
from experiments.monitoring import falls
from experiments.monitoring.falls import Watch

MOST = 50_000  # newest outcomes of the experiment that are read
LIMIT_S = 8.0  # of playing; what comes later is left out
A_LOOK = 100  # outcomes that are read at once; whole rounds


class FellBack(Document):
    """A time in which the fallback would have decided."""

    at: str
    until: str | None  # when the learned policy was shown to be better again; null: it was not


class DryRun(Document):
    """What a rule would have done."""

    experiment: str
    arm: str
    since: str | None  # of the first decision that was read; null: there is none
    until: str | None
    decisions: int  # of the arm
    complete: bool = Field(
        description="False: the log was too long, and only its newest part, or not all of it, was played."
    )
    learned_again: list[str] = Field(
        description="When the arm's reward fell, and its model would have been learned again."
    )
    rewards_lost: list[str] = Field(description="When reward events stopped.")
    fell_back: list[FellBack]
    text: str


def try_rule(engine: Engine, key: str, arm: str, rule: FallbackSpec | None = None, days: float = 30.0) -> DryRun:
    """Play the newest part of an experiment's log through a rule. Nothing is changed.

    :param rule: null: the arm's own.
    :param days: of the past, at most.
    :raises NotFound: no such experiment or arm.
    :raises Conflict: the arm has no fallback.
    :raises Unprocessable: the rule is not possible.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        if rule is not None:
            plain = rule.model_dump(mode="json")
            arms = [each | ({"fallback": plain} if each["key"] == arm else {}) for each in experiment.config["arms"]]
            config = experiments.changed(experiment, {"arms": arms})
        spec = next((each for each in config.arms if each.key == arm), None)
        if spec is None:
            raise NotFound("unknown_arm", f"Experiment {key!r} has no arm {arm!r}.")
        if trusted_policy(config, spec) is None:
            raise Conflict("no_fallback", f"Arm {arm!r} has no fallback: name one in its definition.")
        if spec.apprentice:
            raise Conflict(
                "apprentice_decides", f"Arm {arm!r} is an apprentice: the first action of each call is shown."
            )
        spec.fallen_back = False
        other = streams.arm_of_fallback(config, spec)
        since = datetime.now(UTC) - timedelta(days=days)
        start, cut = outcomes.reach(connection, experiment.id, since, MOST)
        rows = [
            row
            for name in (arm, other)
            if name is not None and start is not None
            for row in outcomes.new(connection, experiment.id, name, start - timedelta(microseconds=1), MOST)
        ]
        configs = Configs(connection, experiment.id)
        at = Look(connection, experiment, config, configs, {}, threshold_of(len(config.arms)))
        played = _Played(at, spec, other)
        complete = played.play(rows) and not cut
    return played.told(days, complete=complete)


class _Played:
    """The watches of one arm while the log is played."""

    def __init__(self, at: Look, arm: ArmSpec, other: str | None) -> None:
        self._at, self._arm, self._other = at, arm, other
        self._watches: dict[tuple[str, Stream], WatchDocument] = {}
        self._fallen: Watch | None = None  # while the fallback would decide: the bet that the arm is not better
        self._rows: list[Row] = []
        self.fell_back: list[tuple[datetime, datetime | None]] = []
        self.alarms: dict[str, list[datetime]] = {"value_fell": [], "rewards_lost": [], "rewards_doubled": []}

    def play(self, rows: Sequence[Row]) -> bool:
        """Play everything, look by look; False: the time was over before the log."""
        self._rows = sorted(rows, key=attrgetter("settled_at", "decided_at"))
        end = time.monotonic() + LIMIT_S
        played = 0
        for look in _looks(self._rows):
            if time.monotonic() > end:
                self._rows = self._rows[:played]
                return False
            played += len(look)
            self._look(look)
        return True

    def _look(self, rows: list[Row]) -> None:
        by_arm = {name: [row for row in rows if row.arm == name] for name in {row.arm for row in rows}}
        at, now = self._at._replace(rows=by_arm), rows[-1].decided_at
        if self._fallen is not None:
            self._measure(at, now)
            return
        for alarm in watching.watch_arm(at, self._arm, self._watches):
            if alarm.kind == "behind_fallback":
                self._fallen = Watch()
                self.fell_back.append((now, None))
            else:
                self.alarms[alarm.kind].append(now)

    def _measure(self, at: Look, now: datetime) -> None:
        """While the fallback would decide: is the learned policy shown to be better again?"""
        mine, theirs = (
            streams.switched_on(at.rows.get(name or "", []), self._arm.key, at.configs.get)
            for name in (self._arm.key, self._other)
        )
        if not mine or self._fallen is None:
            return
        value = self._watches.get((self._arm.key, "value"))
        within = watching.range_of(at.config, value.state if value else Watch())
        if theirs and not any(self._really_fallen(row) for row in mine):
            gap = streams.between_arms(mine, theirs, at.configs.get, within).gap
        else:
            gap = streams.within_arm(mine, at.configs.get, within).gap
        seen = falls.observe(self._fallen, -gap.values, gap.times, low=0.0)
        self._fallen = seen.watch
        if len(seen.strength) and seen.strength.max() >= incidents.RESTORE_AT:
            self._fallen = None
            self._watches.pop((self._arm.key, "fallback"), None)
            self.fell_back[-1] = (self.fell_back[-1][0], now)

    def _really_fallen(self, row: Row) -> bool:
        return any(arm.key == row.arm and arm.fallen_back for arm in self._at.configs.get(row.config_version).arms)

    def told(self, days: float, *, complete: bool) -> DryRun:
        """What came out."""
        mine = [row for row in self._rows if row.arm == self._arm.key]
        fell = [FellBack(at=iso(at), until=None if until is None else iso(until)) for at, until in self.fell_back]
        acts = rule_of(self._arm).act
        return DryRun(
            experiment=self._at.experiment.key,
            arm=self._arm.key,
            since=iso(mine[0].decided_at) if mine else None,
            until=iso(mine[-1].decided_at) if mine else None,
            decisions=len(mine),
            complete=complete,
            learned_again=[iso(at) for at in self.alarms["value_fell"]],
            rewards_lost=[iso(at) for at in self.alarms["rewards_lost"]],
            fell_back=fell,
            text=_text(days, len(mine), len(fell), len(self.alarms["value_fell"]), acts=acts),
        )


def _looks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows in the order of settling, at least `A_LOOK` at once, whole rounds."""
    look: list[Row] = []
    for row in rows:
        if len(look) >= A_LOOK and row.settled_at != look[-1].settled_at:
            yield look
            look = []
        look.append(row)
    if look:
        yield look


def _text(days: float, decisions: int, fell: int, learned: int, *, acts: bool) -> str:
    if not decisions:
        return f"The arm has no settled decision of the last {days:g} days."
    did = "would have fallen back" if acts else "would have told, without falling back,"
    again = "would have learned again" if acts else "would have told of a fall"
    return (
        f"In the last {days:g} days ({decisions:,} decisions of the arm) this rule {did} {_times(fell)}, "
        f"and {again} {_times(learned)}."
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
