"""Learn an arm's versions again without erased decisions, each in its place, so that an erasure leaves the arm its history.

A version keeps its number and its time. It gets the bytes that the same rounds give without these decisions. The version that
serves gets a copy with a new number, so that later decisions name a version with one content. Versions from before the first of
these decisions stay as they are.
"""

from typing import Final, NamedTuple

import structlog
from sqlalchemy import Connection

from app.foundation.fields import JsonObject
from app.foundation.settings import Settings
from app.foundation.store import platform
from app.learning import challenge, refit, warm
from app.learning.examples import Configs, examples_of
from app.learning.rebuild import rebuild_lineage
from app.learning.store import training
from app.learning.training import canaries, learner_part
from app.registry import signed_bytes as model_bytes
from app.registry.store import models
from app.registry.store.models import COPIED, STAGED, NewVersion, Serving, VersionInfo
from bandits.examples import Example, TrainingDataError
from bandits.learner.state import MOST_ROWS
from bandits.model import learn, learn_forward, learn_from_nothing
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy, parse_policy
from bandits.safety import check_model

MOST: Final = 1000  # newest versions of a line with refits; it is learned again from the refit before them

OWN_START: Final = (
    "refit",
    challenge.KIND,
    STAGED,
    COPIED,
    warm.KIND,
)  # versions that need no earlier one of their arm

log = structlog.get_logger()


class Relearned(NamedTuple):
    """What became of an arm's versions, by number."""

    tainted: list[int]  # that had learned from the decisions, themselves or through an ancestor
    relearned: list[int]  # of these: learned again; the bytes of the others are gone


class _Lesson(NamedTuple):
    plain: bytes
    examples: int  # with the ancestors'
    shown: list[Example]
    manifest: JsonObject  # what changes in it


def relearn(connection: Connection, settings: Settings, experiment_id: int, arm: str, tainted: set[int]) -> Relearned:
    """Learn versions again with the decisions that the ledger still has; serve a copy of the one that served.

    Versions whose bytes an earlier erasure removed are learned again, too.

    :param tainted: ids of the versions that learned from decisions which left the ledger, and of their descendants.
    :raises ModelRefused: a version from before these decisions does not match its signature.
    """
    serving = _serving(connection, experiment_id, arm)
    line = _Line(connection, settings, experiment_id, arm)
    numbers = {version.id: version.number for version in line.versions.values()}
    done = [version_id for version_id in line.due(tainted) if line.again(version_id)]
    if serving.version_id in tainted:
        _serve(connection, settings, line.versions[serving.version_id], done)
    return Relearned(
        sorted(numbers[version_id] for version_id in tainted), sorted(numbers[version_id] for version_id in done)
    )


def _serving(connection: Connection, experiment_id: int, arm: str) -> Serving:
    (serving,) = (row for row in models.serving(connection, experiment_id=experiment_id) if row.arm == arm)
    return serving


class _Line:
    """The versions of one arm while they are learned again, parents first."""

    def __init__(self, connection: Connection, settings: Settings, experiment_id: int, arm: str) -> None:
        self.versions = {version.id: version for version in models.of_experiment(connection, experiment_id, arm)}
        self._connection = connection
        self._secret = settings.secret_key
        self._configs = Configs(connection, experiment_id)
        self._newest: tuple[int, bytes] = (0, b"")  # most versions are learned from the one before

    def due(self, tainted: set[int]) -> list[int]:
        """Ids of the versions to learn again, in the order of learning."""
        due = [id_ for id_, version in sorted(self.versions.items()) if id_ in tainted or version.forgotten]
        own_start = [index for index, id_ in enumerate(due) if self.versions[id_].kind in OWN_START]
        first = max((index for index in own_start if index <= len(due) - MOST), default=0)
        for id_ in due[:first]:
            self._forget(id_)
        return due[first:]

    def again(self, version_id: int) -> bool:
        """Learn a version again in its place. False: that is not possible, and its bytes are removed."""
        version = self.versions[version_id]
        policy = parse_policy(version.manifest["policy"])
        assert isinstance(policy, BanditPolicy), "only learning arms have versions"
        try:
            lesson = self._learned(version, policy)
        except (ModelError, TrainingDataError, _Gone) as error:
            log.warning("version_forgotten", arm=version.arm, version=version.number, error=error)
            self._forget(version_id)
            return False
        self._replace(version, policy, lesson)
        return True

    def _forget(self, version_id: int) -> None:
        if not self.versions[version_id].forgotten:
            models.forget(self._connection, version_id)
            self.versions[version_id] = models.by_id(self._connection, version_id)

    def _replace(self, version: VersionInfo, policy: BanditPolicy, lesson: _Lesson) -> None:
        packed = model_bytes.pack(lesson.plain, self._secret, version.experiment_id, version.arm, version.number)
        shown = canaries(lesson.shown)
        report = check_model(lesson.plain, policy, shown, trained=lesson.examples > 0)
        manifest = version.manifest | lesson.manifest | learner_part(lesson.plain, policy) | {"relearned": True}
        again = NewVersion(
            version.experiment_id, version.arm, version.number, version.parent_id, version.kind, lesson.examples,
            manifest, report._asdict() | {"canaries": len(shown)},
        )  # fmt: skip
        models.replace(self._connection, version.id, again, packed._asdict())
        self.versions[version.id] = models.by_id(self._connection, version.id)
        self._newest = (version.id, lesson.plain)

    def _learned(self, version: VersionInfo, policy: BanditPolicy) -> _Lesson:
        parent = self._parent(version)
        changed: JsonObject = {"parent_sha256": parent.sha256}
        if version.kind in ("relearned", COPIED):
            return _Lesson(self._bytes(parent), parent.examples, [], changed)
        if version.kind == "refit":
            return self._refitted(version, parent, policy, changed)
        if version.kind == challenge.KIND:
            return self._challenged(version, parent, policy, changed)
        if version.kind == warm.KIND:
            lessons_of_other = warm.examples_of_arm(self._connection, version.experiment_id, version.arm, policy)
            changed |= {"decisions": len(lessons_of_other), warm.KIND: len(lessons_of_other)}
            plain = warm.learned(self._bytes(parent), policy, lessons_of_other)
            return _Lesson(plain, len(lessons_of_other), lessons_of_other, changed)
        return self._in_rounds(version, parent, policy, changed)

    def _in_rounds(
        self, version: VersionInfo, parent: VersionInfo, policy: BanditPolicy, changed: JsonObject
    ) -> _Lesson:
        """What stands in the arm's ledger, after what a warm start had learned if it is a rebuild."""
        # Positions keep their gaps, so the borders of a rebuild's rounds stay.
        rounds = [
            [(due, reward) for reward, due in part if due.unit_id]
            for part in training.rounds_of(self._connection, version.id, version.manifest.get("rounds"))
        ]
        lessons = [examples_of(policy, part, self._configs) for part in rounds]
        examples = [example for part in lessons for example in part]
        changed["decisions"] = len(examples)
        if "first" in version.manifest:
            ids = [due.id for part in rounds for due, _ in part] or [""]
            changed |= {"first": ids[0], "last": ids[-1]}
        before = warm.examples_before(self._connection, version, policy)
        changed |= {warm.KIND: len(before)} if before else {}
        if version.kind == STAGED:
            plain = learn_forward(self._bytes(parent), policy, examples, [len(part) for part in lessons])
        elif policy.rebuilds and version.kind == "rebuild" and before + examples:
            examples = before + examples
            pinned, newest = version.manifest.get("pinned", ""), examples[-MOST_ROWS:]
            plain = learn_from_nothing(policy, newest, "", len(examples) - len(newest), pinned)
            return _Lesson(plain, len(examples), examples, changed)
        else:
            plain = warm.learned(self._bytes(parent), policy, before) if before else self._bytes(parent)
            for part in filter(None, lessons):
                plain = learn(plain, policy, part)
        earlier = 0 if version.kind == "rebuild" else parent.examples
        return _Lesson(plain, earlier + len(before) + len(examples), examples, changed)

    def _parent(self, version: VersionInfo) -> VersionInfo:
        """The version that it was learned from; of a copy it is another arm's."""
        parent_id = version.parent_id or 0
        return self.versions.get(parent_id) or models.by_id(self._connection, parent_id)

    def _refitted(
        self, version: VersionInfo, parent: VersionInfo, policy: BanditPolicy, changed: JsonObject
    ) -> _Lesson:
        examples = refit.examples_before(self._connection, parent, policy)
        if not examples:
            raise _Gone("it has no decision left")
        changed |= {"decisions": len(examples), "earlier": parent.examples - len(examples)}
        changed["incumbent"] = parent.manifest["learner"]["served"] or ""
        plain = refit.relearned(version.manifest | changed, policy, examples)
        return _Lesson(plain, parent.examples, examples, changed)

    def _challenged(
        self, version: VersionInfo, parent: VersionInfo, policy: BanditPolicy, changed: JsonObject
    ) -> _Lesson:
        since = challenge.since_of(version.manifest)
        examples = [example for _, example in challenge.lessons(self._connection, parent, policy, since)]
        if not examples:
            raise _Gone("it has no decision left")
        changed |= {"decisions": len(examples), "earlier": 0 if since else max(parent.examples - len(examples), 0)}
        root = challenge.untrained(self._connection, parent, self._secret)
        plain = challenge.relearned(root, version.manifest | changed, policy, examples)
        return _Lesson(plain, changed["earlier"] + len(examples), examples, changed)

    def _bytes(self, version: VersionInfo) -> bytes:
        if version.forgotten:
            raise _Gone(f"version {version.number}, from which it was learned, is gone")
        if version.id != self._newest[0]:
            self._newest = (version.id, model_bytes.load(self._connection, version.id, self._secret)[1])
        return self._newest[1]


class _Gone(Exception):
    """What a version was learned from is not there any more."""


def _serve(connection: Connection, settings: Settings, old: VersionInfo, done: list[int]) -> None:
    """Serve a copy of a version that was learned again, or what can be learned of its decisions now."""
    if old.id not in done or old.checks.get("ok") is False:
        rebuilt = rebuild_lineage(connection, settings, old.experiment_id, old.arm, reason="erasure of a unit")
        if not rebuilt.promoted:  # an untrained model is better than a model that knows the unit
            root = models.root_of(connection, old.id)
            models.serve(connection, old.experiment_id, old.arm, root.id, platform.next_revision(connection))
        return
    _, plain = model_bytes.load(connection, old.id, settings.secret_key)
    revision = platform.next_revision(connection)
    number = models.next_number(connection, old.experiment_id, old.arm)
    manifest: JsonObject = {name: old.manifest[name] for name in _KEPT if name in old.manifest}
    manifest |= {"kind": "relearned", "parent_number": old.number, "parent_sha256": old.sha256, "decisions": 0}
    version = NewVersion(old.experiment_id, old.arm, number, old.id, "relearned", old.examples, manifest, old.checks)
    version_id, _ = model_bytes.store(connection, plain, settings.secret_key, version)
    models.serve(connection, old.experiment_id, old.arm, version_id, revision)


_KEPT = ("generation", "feedback_version", "encoding_version", "policy", "learner", "pinned")
