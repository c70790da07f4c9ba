"""Watches running experiments: what each arm earns, whether rewards arrive, and whether an arm earns what its fallback earns.

The worker reads the outcomes that were settled since the last look, adds them to the watches (``experiments.monitoring.falls``),
and opens an incident when one is sure of a fall. All watches of an experiment together raise a false alarm once in
``BETWEEN`` observations, on the mean. A change of shares or of models is no fall: arms are watched one by one, and compared by
the chances that were logged.
"""

import time
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from app.design.experiment_config import ArmSpec, ExperimentConfig
from app.design.fallbacks import rule_of, trusted_policy
from app.foundation.isolation import each_due
from app.foundation.store import latest
from app.foundation.store.engine import transaction
from app.guardian import incidents, openings, streams
from app.guardian.documents import Point, Stream, WatchDocument, Watched
from app.guardian.incidents import Alarm
from app.guardian.store import outcomes, staleness
from app.guardian.store.outcomes import Row
from app.guardian.streams import Batch
from app.guardian.thresholds import LOST_MARGIN, USUALLY_REWARDED, threshold_of
from app.learning.examples import Configs
from app.learning.store import training
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment
from experiments.monitoring import falls
from experiments.monitoring.falls import Seen, Watch

KIND = "guardian"
EVERY_S = 5.0
FACTOR = 20.0  # at most one part in so many of a worker's time
FIRST = 20_000  # outcomes of the past that a new watch reads
MOST = 50_000  # outcomes of an arm at one look
POINTS = 200  # looks whose evidence is kept
ARM_AFTER = 300  # observations before a difference to the fallback is watched
LEARN_AGAIN = 600  # observations that an arm has to learn again after a fall, before it may fall back


class Look(NamedTuple):
    """What one look at an experiment works on."""

    connection: Connection
    experiment: StoredExperiment
    config: ExperimentConfig
    configs: Configs
    rows: dict[str, list[Row]]  # new outcomes, by arm
    threshold: float


def compute_due(engine: Engine) -> list[str]:
    """Look at every experiment with new outcomes; returns the experiments' keys."""
    return each_due(engine, KIND, lambda key: look(engine, key), every_s=EVERY_S, factor=FACTOR)


def stored(connection: Connection, experiment_id: int) -> Watched:
    """What is watched, as the last look left it."""
    document = latest.get(connection, experiment_id, KIND)
    return Watched(watches=[], cursors={}) if document is None else Watched.model_validate(document.body)


def look(engine: Engine, key: str) -> bool:
    """Add the new outcomes of an experiment to its watches, and open or close incidents.

    :returns: False if a round of one of its arms is running; the next look sees its outcomes.
    :raises NotFound: no such experiment.
    """
    began = time.monotonic()
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        config = ExperimentConfig.model_validate(experiment.config)
        arms = [arm for arm in config.arms if arm.share > 0]
        if not all(training.lock_lineage(connection, experiment.id, arm.key) for arm in arms):
            return False
        before = stored(connection, experiment.id)
        start = outcomes.start(connection, experiment.id, FIRST) or experiment.created_at
        rows, cursors = {}, {**before.cursors}
        for arm in arms:
            since = datetime.fromisoformat(cursors[arm.key]) if arm.key in cursors else start
            rows[arm.key] = outcomes.new(connection, experiment.id, arm.key, since, MOST)
            if rows[arm.key]:
                cursors[arm.key] = rows[arm.key][-1].settled_at.isoformat()
        at = Look(connection, experiment, config, Configs(connection, experiment.id), rows, threshold_of(len(arms)))
        watches = {(watch.arm, watch.stream): watch for watch in before.watches}
        alarms = []
        for arm in arms:
            alarms += watch_arm(at, arm, watches)
        incidents.settle(connection, experiment, config, alarms, _values(watches))
        openings.settle_stale(connection, experiment, staleness.why(connection, experiment.id))
        watched = Watched(watches=[*watches.values()], cursors=cursors)
        summary = incidents.summary(connection, experiment)
        latest.put(connection, experiment.id, KIND, summary.as_json(), watched.as_json(), time.monotonic() - began)
    return True


def watch_arm(at: Look, arm: ArmSpec, watches: dict[tuple[str, Stream], WatchDocument]) -> list[Alarm]:
    """Bring the watches of one arm up to date; returns what they noticed."""
    rows, most = at.rows.get(arm.key, []), at.config.reward.max
    alarms = []
    if rows:
        units = streams.by_unit(rows)
        rewarded, rewards = streams.rewarded(rows, units), streams.rewards(rows, units)
        lost, seen_lost = _observed(at, watches, (arm.key, "rewarded"), rewarded, LOST_MARGIN, 1.0)
        fell, seen = _observed(at, watches, (arm.key, "value"), rewards, rule_of(arm).margin, most)
        if lost and seen_lost.level is not None and seen_lost.level.mean >= USUALLY_REWARDED:
            alarms.append(_alarm("rewards_lost", arm, seen_lost, rewarded))
        elif fell:
            alarms.append(_alarm("value_fell", arm, seen, rewards))
        if alarms:
            watches |= {(arm.key, stream): _begun(arm.key, stream) for stream in ("rewarded", "value")}
        alarms += _watch_events(at, arm, watches, streams.once(rows, units))
    if trusted_policy(at.config, arm) is not None and not arm.apprentice:
        alarms += _watch_fallback(at, arm, watches, learns_again=bool(alarms))
    return alarms


def _watch_events(
    at: Look, arm: ArmSpec, watches: dict[tuple[str, Stream], WatchDocument], batch: Batch
) -> list[Alarm]:
    """Watch how many reward events a rewarded decision has: twice as many mean that the app reports them twice."""
    if not len(batch.values):
        return []
    doubled, seen = _observed(at, watches, (arm.key, "once"), batch, LOST_MARGIN / 2, 1.0)
    if not doubled:
        return []
    watches[arm.key, "once"] = _begun(arm.key, "once")
    return [_alarm("rewards_doubled", arm, seen, batch)]


def _watch_fallback(
    at: Look, arm: ArmSpec, watches: dict[tuple[str, Stream], WatchDocument], *, learns_again: bool
) -> list[Alarm]:
    """Compare the learned policy with the fallback: is it worse by the margin; or, while the fallback decides, better again?"""
    key: tuple[str, Stream] = (arm.key, "fallback")
    watch = watches.setdefault(key, _begun(arm.key, "fallback"))
    difference = _difference(at, arm, watches)
    if difference is None or not len(difference.gap.values):
        return []
    state = watch.state
    if learns_again:
        watch = watch.model_copy(update={"quiet_until": state.seen + LEARN_AGAIN})
    trusted = watch.trusted
    trusted = falls.observe(trusted, difference.trusted.values, difference.trusted.times).watch
    worth = _mean(trusted)
    margin = rule_of(arm).margin * abs(worth or 0.0)
    sign = -1.0 if arm.fallen_back else 1.0  # while it decides, the bet is that the learned policy is not better
    low = 0.0 if arm.fallen_back else -margin
    most = -difference.least if arm.fallen_back else difference.most
    seen = falls.observe(state, sign * difference.gap.values, difference.gap.times, low=low, most=most)
    gap = _mean(seen.watch)
    armed = watch.armed or (seen.watch.known.n >= ARM_AFTER and gap is not None and gap > -margin / 2)
    quiet = not armed or seen.watch.seen < watch.quiet_until
    if quiet and not arm.fallen_back:
        seen = seen._replace(watch=falls.without_evidence(seen.watch), strength=seen.strength * 0)
    sure = bool(
        len(seen.strength) and seen.strength.max() >= (incidents.RESTORE_AT if arm.fallen_back else at.threshold)
    )
    watches[key] = _kept(watch, seen, difference.gap, armed=armed).model_copy(update={"trusted": trusted})
    if not sure:
        return []
    watches[key] = _begun(arm.key, "fallback")
    return [_alarm("restored" if arm.fallen_back else "behind_fallback", arm, seen, difference.gap, worth)]


def _difference(at: Look, arm: ArmSpec, watches: dict[tuple[str, Stream], WatchDocument]) -> streams.Difference | None:
    rows, value = (
        streams.switched_on(at.rows.get(arm.key, []), arm.key, at.configs.get),
        watches.get((arm.key, "value")),
    )
    within = range_of(at.config, value.state if value else Watch())
    other = None if arm.fallen_back else streams.arm_of_fallback(at.config, arm)
    if other is None:
        return streams.within_arm(rows, at.configs.get, within) if rows else None
    theirs = streams.switched_on(at.rows.get(other, []), arm.key, at.configs.get)
    return streams.between_arms(rows, theirs, at.configs.get, within) if rows and theirs else None


def range_of(config: ExperimentConfig, past: Watch) -> streams.Range:
    """Where rewards lie: within the declared range, or, where it is wide, up to where the past says that outliers begin."""
    level, mean = falls.level_of(past.known, 0.0, config.reward.max), _mean(past)
    center = min(max(config.reward.default if mean is None else mean, config.reward.min), config.reward.max)
    return streams.Range(config.reward.min, center, config.reward.max if level is None else level.high)


def _observed(
    at: Look,
    watches: dict[tuple[str, Stream], WatchDocument],
    key: tuple[str, Stream],
    batch: Batch,
    margin: float,
    most: float,
) -> tuple[bool, Seen]:
    """Add a batch to a watch; returns whether it is sure of a fall now."""
    watch = watches.get(key) or _begun(*key)
    seen = falls.observe(watch.state, batch.values, batch.times, margin=margin, most=most)
    watches[key] = _kept(watch, seen, batch)
    return bool(len(seen.strength) and seen.strength.max() >= at.threshold), seen


def _begun(arm: str, stream: Stream) -> WatchDocument:
    now, state = datetime.now(UTC).isoformat(), Watch()
    return WatchDocument(arm=arm, stream=stream, state=state, armed=stream != "fallback", since=now, trusted=state)


def _kept(watch: WatchDocument, seen: Seen, batch: Batch, *, armed: bool = True) -> WatchDocument:
    level = None if seen.level is None else seen.level.low
    point = Point(at=datetime.now(UTC).isoformat(), strength=seen.watch.strength, mean=batch.mean, level=level)
    points = [*watch.points, point][-POINTS:]
    return watch.model_copy(update={"state": seen.watch, "armed": armed, "points": points})


def _alarm(kind: str, arm: ArmSpec, seen: Seen, batch: Batch, worth: float | None = None) -> Alarm:
    since = batch.values[batch.times >= seen.began]
    after = float(since.mean()) if len(since) else batch.mean
    before = seen.level.mean if seen.level is not None else None
    began = datetime.fromtimestamp(seen.began, UTC) if seen.began else datetime.now(UTC)
    return Alarm(kind, arm.key, began, float(seen.strength.max()), before, after, worth)


def _values(watches: dict[tuple[str, Stream], WatchDocument]) -> dict[tuple[str, str], float]:
    """The mean of the newest observations of each watch that saw enough of them since it began anew."""
    values: dict[tuple[str, str], float] = {}
    for key, watch in watches.items():
        n = sum(part.n for part in watch.state.recent)
        if n >= falls.LEAST:
            values[key] = sum(part.total for part in watch.state.recent) / n
    return values


def _mean(watch: Watch) -> float | None:
    """The mean of everything that a watch knows."""
    parts = [watch.known, *watch.recent]
    n = sum(part.n for part in parts)
    return None if n <= 0 else sum(part.total for part in parts) / n
