"""The versions of a learning arm for people: what each learned, whether it passed its checks, who put it into service.

An experiment that learns for months has tens of thousands of versions; everything here reads a limited number of the newest.
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
ROLLBACKS = 200  # newest rollbacks that are read
CONTEXTS = 200
SCANNED = 50_000  # newest decisions among which an arm's contexts are looked for
COMPARING_S = 0.6  # seconds that the two models may choose
FAILURES = (ModelRefused, LookupError, ValueError)


class Line(NamedTuple):
    """One version in a list."""

    version: VersionInfo
    parent: int | None  # its number; null: the untrained version has no parent
    serves: bool
    passed: bool
    rollbacks: list[Change]  # that put it into service, newest first


class History(NamedTuple):
    """Part of an arm's lineage."""

    arms: list[str]  # that learn
    arm: str  # the arm that is shown; empty: no arm learns
    serving: Serving | None
    versions: int  # of the arm, in all
    lines: list[Line]  # newest first
    older: int | None  # the next page continues before this number; null: this is the last page


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
    documents: list[Difference]  # the differences of their manifests and checks
    contexts: int  # on which both chose; 0: see problem
    differ: float  # share of them in which the most likely action differs
    actions: list[Mean]  # the largest change first
    problem: str  # why they could not be compared


def history(engine: Engine, key: str, arm: str = "", before: int | None = None) -> History:
    """The newest versions of an arm, or those before a number; by default those of the first learning arm.

    :raises NotFound: no such experiment, or the arm does not learn.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        serving = {lineage.arm: lineage for lineage in models.serving(connection, experiment_id=experiment.id)}
        if not serving:
            return History([], "", None, 0, [], None)
        arms = ExperimentConfig.model_validate(experiment.config).arms
        wanted = arm or next((spec.key for spec in arms if spec.key in serving), min(serving))
        if wanted not in serving:
            raise NotFound("unknown_version", f"Arm {wanted!r} of {key!r} has no model versions.")
        versions = models.newest(connection, experiment.id, wanted, before=before, most=PAGE + 1)
        rollbacks = _rollbacks(connection, experiment.id, wanted)
        lines = [_line(connection, version, serving[wanted], rollbacks) for version in versions[:PAGE]]
        older = lines[-1].version.number if len(versions) > PAGE else None
        count = models.count(connection, experiment.id, wanted)
    return History(sorted(serving), wanted, serving[wanted], count, lines, older)


def version(engine: Engine, key: str, arm: str, number: int) -> Line:
    """One version.

    :raises NotFound: no such experiment, arm or version.
    """
    with transaction(engine) as connection:
        return _find(connection, key, arm, number)


def compare(engine: Engine, settings: Settings, key: str, arm: str, first: int, second: int) -> Comparison:
    """Compare two versions: their manifests, and how they choose in the arm's newest contexts.

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
            for model in loaded:
                if model.predictor is not None:
                    model.predictor.close()
    if not chosen:
        return Comparison(lines[0], lines[1], documents, 0, 0.0, [], "The arm's newest decisions give no context.")
    differ = np.mean([int(np.argmax(a)) != int(np.argmax(b)) for _, a, b in chosen])
    return Comparison(lines[0], lines[1], documents, len(chosen), float(differ), _means(chosen), "")


class _Loaded(NamedTuple):
    policy: BanditPolicy
    predictor: Predictor | None  # null: untrained


_Choice = tuple[list[str], FloatArray, FloatArray]  # eligible ids, and the distribution of each version over them


def _load(connection: Connection, secret: str, version: VersionInfo) -> _Loaded:
    policy = parse_policy(version.manifest["policy"])
    assert isinstance(policy, BanditPolicy), "only learning arms have versions"
    _, plain = model_bytes.load(connection, version.id, secret)
    return _Loaded(policy, Predictor(plain, policy) if version.examples else None)


def _choices(loaded: list[_Loaded], rows: list[ContextRow], configs: Configs) -> list[_Choice]:
    choices: list[_Choice] = []
    ends = time.monotonic() + COMPARING_S
    for row in rows:
        lines, shared = configs.lines(row.config_version, row.actions, row.eligible), encode_context(row.context)
        first, second = (distribution(model.policy, model.predictor, shared, lines, row.eligible) for model in loaded)
        choices.append((row.eligible, first, second))
        if time.monotonic() > ends:
            break
    return choices


def _means(chosen: list[_Choice]) -> list[Mean]:
    sums: dict[str, list[float]] = {}
    for eligible, first, second in chosen:
        for index, name in enumerate(eligible):
            total = sums.setdefault(name, [0.0, 0.0, 0])
            total[0] += float(first[index])
            total[1] += float(second[index])
            total[2] += 1
    means = [Mean(name, first / count, second / count, int(count)) for name, (first, second, count) in sums.items()]
    return sorted(means, key=lambda mean: -abs(mean.second - mean.first))


def _document(line: Line) -> dict[str, JsonValue]:
    """The parts of a version that are compared, without those that always differ."""
    version = line.version
    manifest = {
        name: value for name, value in version.manifest.items() if name not in ("parent_number", "parent_sha256")
    }
    plain: dict[str, JsonValue] = {
        "kind": version.kind,
        "parent": line.parent,
        "examples": version.examples,
        "sha256": version.sha256,
    }
    return plain | {"manifest": manifest, "checks": version.checks}


def _find(connection: Connection, key: str, arm: str, number: int) -> Line:
    experiment = stored_experiment(connection, key)
    serving = {lineage.arm: lineage for lineage in models.serving(connection, experiment_id=experiment.id)}.get(arm)
    version = models.find(connection, experiment.id, arm, number) if abs(number) < 2**31 else None
    if serving is None or version is None:
        raise NotFound("unknown_version", f"Arm {arm!r} of {key!r} has no model version {number}.")
    return _line(connection, version, serving, _rollbacks(connection, experiment.id, arm))


def _line(connection: Connection, version: VersionInfo, serving: Serving, rollbacks: list[Change]) -> Line:
    own_rollbacks = [change for change in rollbacks if (change.after or {}).get("serving") == version.number]
    parent = version.manifest.get("parent_number")
    if parent is None and version.parent_id is not None:
        parent = models.number_of(connection, version.parent_id)
    serves = version.id == serving.version_id
    return Line(version, parent, serves, version.checks.get("ok") is not False, own_rollbacks)


def _rollbacks(connection: Connection, experiment_id: int, arm: str) -> list[Change]:
    rollbacks = changes.newest(connection, experiment_id=experiment_id, kind="model_rollback", most=ROLLBACKS)
    return [change for change in rollbacks if (change.after or {}).get("arm") == arm]
