"""The versions of a learning arm for people: what each learned, whether it passed its checks, who put it into service.

An experiment that learns for months has tens of thousands of versions; everything here looks at so many of the newest.
"""

import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from sqlalchemy import Connection, Engine

from app.design.experiment_config import ExperimentConfig
from app.design.history import Difference, differences
from app.design.store import changes
from app.design.store.changes import Change
from app.foundation.errors import NotFound
from app.foundation.settings import Settings
from app.foundation.store.engine import transaction
from app.learning.examples import Configs
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.signed_bytes import ModelRefused
from app.registry.store import models
from app.registry.store.models import Serving, VersionInfo
from app.verification.store import browse
from app.verification.store.browse import ContextRow
from bandits.encoding import encode_context
from bandits.model import Predictor, distribution
from bandits.policy import BanditPolicy, parse_policy

FloatArray = NDArray[np.float64]
PAGE = 30
ROLLBACKS = 200  # newest rollbacks that are looked at
CONTEXTS = 200
SCANNED = 50_000  # newest decisions among which an arm's contexts are looked for
COMPARING_S = 0.6  # both models choose for so long at most
FAILURES = (ModelRefused, LookupError, ValueError)


class Line(NamedTuple):
    """One version in a list."""

    version: VersionInfo
    parent: int | None  # its number; null: the untrained one has none
    serves: bool
    passed: bool
    rollbacks: list[Change]  # that put it into service, newest first


class History(NamedTuple):
    """Part of an arm's lineage."""

    arms: list[str]  # that learn
    arm: str  # the one shown; empty: none learns
    serving: Serving | None
    versions: int  # of the arm, in all
    lines: list[Line]  # newest first
    older: int | None  # number to continue before; null: that was all


class Mean(NamedTuple):
    """How two versions choose one action."""

    action: str
    first: float  # mean probability over the contexts in which it was eligible
    second: float
    contexts: int


class Comparison(NamedTuple):
    """Two versions of one arm."""

    first: Line
    second: Line
    documents: list[Difference]  # what differs between their manifests and checks
    contexts: int  # on which both chose; 0: see problem
    differ: float  # share of them in which the most likely action differs
    actions: list[Mean]  # the largest change first
    problem: str  # why they could not be compared


def history(engine: Engine, key: str, arm: str = "", before: int | None = None) -> History:
    """The newest versions of an arm, or those before a number; of the first learning arm when none is named.

    :raises NotFound: no such experiment, or the arm does not learn.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        serving = {one.arm: one for one in models.serving(connection, experiment_id=experiment.id)}
        if not serving:
            return History([], "", None, 0, [], None)
        arms = ExperimentConfig.model_validate(experiment.config).arms
        wanted = arm or next((spec.key for spec in arms if spec.key in serving), min(serving))
        if wanted not in serving:
            raise NotFound("unknown_version", f"Arm {wanted!r} of {key!r} has no model versions.")
        found = models.newest(connection, experiment.id, wanted, before=before, most=PAGE + 1)
        rollbacks = _rollbacks(connection, experiment.id, wanted)
        lines = [_line(connection, one, serving[wanted], rollbacks) for one in found[:PAGE]]
        older = lines[-1].version.number if len(found) > PAGE else None
        count = models.count(connection, experiment.id, wanted)
    return History(sorted(serving), wanted, serving[wanted], count, lines, older)


def version(engine: Engine, key: str, arm: str, number: int) -> Line:
    """One version.

    :raises NotFound: there is none.
    """
    with transaction(engine) as connection:
        return _find(connection, key, arm, number)


def compare(engine: Engine, settings: Settings, key: str, arm: str, first: int, second: int) -> Comparison:
    """Two versions: what they were made of, and how they choose on the arm's newest contexts.

    :raises NotFound: no such experiment, or one of the versions.
    """
    with transaction(engine) as connection:
        lines = [_find(connection, key, arm, number) for number in (first, second)]
        experiment = stored_experiment(connection, key)
        documents = differences(_document(lines[0]), _document(lines[1]))
        rows = browse.newest_of_arm(connection, experiment.id, arm, most=CONTEXTS, scanned=SCANNED)
        configs = Configs(connection, experiment.id)
        loaded: list[_Loaded] = []
        try:
            for line in lines:
                loaded.append(_load(connection, settings.secret_key, line.version))
            chosen = _choices(loaded, rows, configs)
        except FAILURES as error:
            problem = f"What they would choose is not known: {error}."
            return Comparison(lines[0], lines[1], documents, 0, 0.0, [], problem)
        finally:
            for one in loaded:
                if one.predictor is not None:
                    one.predictor.close()
    if not chosen:
        return Comparison(lines[0], lines[1], documents, 0, 0.0, [], "The arm's newest decisions give no context.")
    differ = np.mean([int(np.argmax(a)) != int(np.argmax(b)) for _, a, b in chosen])
    return Comparison(lines[0], lines[1], documents, len(chosen), float(differ), _means(chosen), "")


class _Loaded(NamedTuple):
    policy: BanditPolicy
    predictor: Predictor | None  # null: untrained


_Choice = tuple[list[str], FloatArray, FloatArray]  # eligible ids, and what each version would do with them


def _load(connection: Connection, secret: str, version: VersionInfo) -> _Loaded:
    policy = parse_policy(version.manifest["policy"])
    assert isinstance(policy, BanditPolicy), "only learning arms have versions"
    _, plain = model_bytes.load(connection, version.id, secret)
    return _Loaded(policy, Predictor(plain, policy) if version.examples else None)


def _choices(loaded: list[_Loaded], rows: list[ContextRow], configs: Configs) -> list[_Choice]:
    found: list[_Choice] = []
    ends = time.monotonic() + COMPARING_S
    for row in rows:
        lines, shared = configs.lines(row.config_version, row.actions, row.eligible), encode_context(row.context)
        one, other = (distribution(each.policy, each.predictor, shared, lines, row.eligible) for each in loaded)
        found.append((row.eligible, one, other))
        if time.monotonic() > ends:
            break
    return found


def _means(chosen: list[_Choice]) -> list[Mean]:
    sums: dict[str, list[float]] = {}
    for eligible, one, other in chosen:
        for place, name in enumerate(eligible):
            total = sums.setdefault(name, [0.0, 0.0, 0])
            total[0] += float(one[place])
            total[1] += float(other[place])
            total[2] += 1
    means = [Mean(name, one / count, other / count, int(count)) for name, (one, other, count) in sums.items()]
    return sorted(means, key=lambda mean: -abs(mean.second - mean.first))


def _document(line: Line) -> dict[str, JsonValue]:
    """What is compared of a version, without what two versions never share."""
    one = line.version
    manifest = {name: value for name, value in one.manifest.items() if name not in ("parent_number", "parent_sha256")}
    plain: dict[str, JsonValue] = {
        "kind": one.kind,
        "parent": line.parent,
        "examples": one.examples,
        "sha256": one.sha256,
    }
    return plain | {"manifest": manifest, "checks": one.checks}


def _find(connection: Connection, key: str, arm: str, number: int) -> Line:
    experiment = stored_experiment(connection, key)
    serving = {one.arm: one for one in models.serving(connection, experiment_id=experiment.id)}.get(arm)
    found = models.find(connection, experiment.id, arm, number) if abs(number) < 2**31 else None
    if serving is None or found is None:
        raise NotFound("unknown_version", f"Arm {arm!r} of {key!r} has no model version {number}.")
    return _line(connection, found, serving, _rollbacks(connection, experiment.id, arm))


def _line(connection: Connection, version: VersionInfo, serving: Serving, rollbacks: list[Change]) -> Line:
    mine = [change for change in rollbacks if (change.after or {}).get("serving") == version.number]
    parent = version.manifest.get("parent_number")
    if parent is None and version.parent_id is not None:
        parent = models.number_of(connection, version.parent_id)
    serves = version.id == serving.version_id
    return Line(version, parent, serves, version.checks.get("ok") is not False, mine)


def _rollbacks(connection: Connection, experiment_id: int, arm: str) -> list[Change]:
    found = changes.newest(connection, experiment_id=experiment_id, kind="model_rollback", most=ROLLBACKS)
    return [one for one in found if (one.after or {}).get("arm") == arm]
