"""The audit: recompute everything that the log claims, and report each difference.

For each decision: the seal; the arm and the draw from the ids; the distribution from the logged model version, context and
actions; the propensity. For each outcome: its rewards, joined again. For each model version: the parent's bytes and the
ledger give the same SHA-256 again. For each arm: every decision whose window opened is settled exactly once or waits for
it, and learned from when the arm learns. For each commit batch: its link in the chain counts the same rows, with the same hash.
"""

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, Engine

from app.deciding.store.decisions import StoredDecision
from app.design.experiment_config import ExperimentConfig
from app.foundation.settings import Settings
from app.foundation.store import chain
from app.foundation.store.engine import transaction
from app.learning import challenge, refit, warm
from app.learning.examples import Configs, examples_of, joined_reward
from app.learning.store import rebuilds, training
from app.learning.store import warm as warm_store
from app.people import receipts
from app.registry import signed_bytes as model_bytes
from app.registry.lookup import stored_experiment
from app.registry.store import holdouts, models
from app.registry.store.experiments import StoredExperiment
from app.registry.store.models import COPIED, STAGED, VersionInfo
from app.verification.audit_report import SHOWN, AuditReport
from app.verification.chain import check_chain, check_links
from app.verification.recompute import (
    FAILURES,
    Check,
    check_choice,
    check_drawn,
    check_holdout,
    check_identity,
    check_named,
    check_seal,
    load_model,
    needs_model,
    offered,
    policy_of,
)
from app.verification.store import audit as store
from bandits.examples import Example
from bandits.learner.state import MOST_ROWS
from bandits.model import Predictor, learn, learn_forward, learn_from_nothing
from bandits.policy import BanditPolicy, Policy, parse_policy


def audit_experiment(
    engine: Engine,
    settings: Settings,
    experiment_key: str,
    progress: Callable[[int, int], None] | None = None,
    *,
    since: datetime | None = None,
) -> AuditReport:
    """Check the whole log of an experiment.

    :param progress: called with (done, of) now and then.
    :param since: check only decisions, outcomes and versions since then.
    :raises NotFound: no such experiment.
    """
    report = AuditReport(experiment_key)
    with transaction(engine) as connection:
        store.hold_still(connection)
        experiment = stored_experiment(connection, experiment_key)
        auditor = _Auditor(connection, settings, experiment, report)
        new_versions = [
            version for version in auditor.versions.values() if since is None or version.created_at >= since
        ]
        total = store.count_decisions(connection, experiment.id, since) + len(new_versions)
        for row in store.each_decision(connection, experiment.id, since):
            auditor.check_decision(row)
            report.decisions += 1
            if progress is not None and report.decisions % 200 == 0:
                progress(report.decisions, total)
        for version in new_versions:
            auditor.replay(version)
            if progress is not None:
                progress(report.decisions + report.versions, total)
        auditor.check_dropped()
        auditor.check_outcomes(since)
        learning = sorted({arm for arm, _ in auditor.versions})
        missing = store.unaccounted(connection, experiment.id, learning, since)
        report.unaccounted = len(missing)
        for decision_id in missing[:SHOWN]:
            report.add(f"decision {decision_id!r} is not settled (and learned from, if the arm learns) exactly once")
        check_links(connection, experiment.id, since, report)
        if since is None:
            check_chain(connection, report)
        report.ledger_rows = training.ledger_size(connection, experiment.id)
    return report


class _Auditor:
    def __init__(
        self, connection: Connection, settings: Settings, experiment: StoredExperiment, report: AuditReport
    ) -> None:
        self._connection = connection
        self._secret = settings.secret_key
        self._experiment = experiment
        self._report = report
        self._configs = Configs(connection, experiment.id)
        self._predictor: tuple[tuple[str, int], Predictor | None] | None = (
            None  # the predictor in use: rows are grouped by model
        )
        self._receipted = receipts.forgotten(connection, settings.secret_key, experiment.key)
        self._dropped = chain.dropped(connection, experiment.id)
        self._missing_lessons = 0  # of all replayed versions
        self._holdouts = {version.version: version for version in holdouts.versions(connection)}
        self.versions = {(v.arm, v.number): v for v in models.of_experiment(connection, experiment.id)}

    def check_decision(self, row: StoredDecision) -> None:
        """Recompute one decision and compare it with its row."""
        try:
            differences = [check.difference for check in self._checks(row) if not check.same]
        except FAILURES as error:
            differences = [f"cannot be recomputed: {error}"]
        if differences:
            self._report.decisions_differ += 1
            self._report.add(f"decision {row.id!r}: {'; '.join(differences)}")

    def _checks(self, row: StoredDecision) -> list[Check]:
        config = self._configs.get(row.config_version)
        salt = bytes(self._experiment.salt)
        if row.erased_at is not None:
            self._report.decisions_erased += 1
            return [check_seal(self._secret, row)]
        if self._is_forgotten(row):
            self._report.decisions_erased += 1
            return [*self._identity(salt, config, row), *check_drawn(row)]
        policy = policy_of(config, row)
        actions = offered(self._configs, row)
        predictor = self._model(row, policy)
        _, of_choice = check_choice(salt, policy, predictor, actions, row)
        return self._identity(salt, config, row) + of_choice

    def _identity(self, salt: bytes, config: ExperimentConfig, row: StoredDecision) -> list[Check]:
        return [
            *check_identity(self._secret, salt, config, row),
            check_holdout(self._secret, self._holdouts, row),
        ]

    def _model(self, row: StoredDecision, policy: Policy) -> Predictor | None:
        if not isinstance(policy, BanditPolicy) or not needs_model(policy, row):
            return None
        name = (row.arm, row.policy_version)
        version = self.versions[name]
        check_named(version, row)
        if self._predictor is None or self._predictor[0] != name:
            self._predictor = (name, load_model(self._connection, self._secret, policy, version, row))
        return self._predictor[1]

    def _is_forgotten(self, row: StoredDecision) -> bool:
        version = self.versions.get((row.arm, row.policy_version))
        return version is not None and version.erased_at is not None and row.policy_sha256 not in (None, "")

    def check_outcomes(self, since: datetime | None) -> None:
        """Join the rewards of every settled decision again."""
        for reward, feedback_version, due in training.each_outcome(self._connection, self._experiment.id, since):
            self._report.outcomes += 1
            expected = joined_reward(due, self._configs, feedback_version)
            if expected != reward:
                self._report.outcomes_differ += 1
                self._report.add(f"decision {due.id!r}: the outcome is {reward!r}, its rewards give {expected!r}")
        misplaced = store.misplaced(self._connection, self._experiment.id, since)
        self._report.outcomes_differ += len(misplaced)
        for decision_id in misplaced[:SHOWN]:
            self._report.add(
                f"decision {decision_id!r}: its outcome is in results, or not, against what the global holdout says"
            )

    def replay(self, version: VersionInfo) -> None:
        """Learn a version again from its parent and compare the hash."""
        self._report.versions += 1
        try:
            problem = self._replayed(version)
        except FAILURES as error:
            problem = f"cannot be replayed: {error}"
        if problem:
            self._report.versions_differ += 1
            self._report.add(f"version {version.number} of arm {version.arm!r}: {problem}")

    def _replayed(self, version: VersionInfo) -> str | None:
        if self._lacks_receipt(version):
            return "it was erased, but no receipt says so"
        if version.forgotten or self._has_erased(version) or self._has_dropped(version):
            self._report.versions_erased += 1
            return None
        _, plain = model_bytes.load(self._connection, version.id, self._secret)
        if version.parent_id is None:
            return None  # the untrained model has only a signature and a hash to check
        policy = parse_policy(version.manifest["policy"])
        assert isinstance(policy, BanditPolicy), "only learning arms have versions"
        if version.kind == "refit":
            return self._refitted(version, policy, plain)
        if version.kind == challenge.KIND:
            return self._challenged(version, policy, plain)
        _, parent = model_bytes.load(self._connection, version.parent_id, self._secret)
        if version.kind == COPIED:
            return None if parent == plain else "it is a copy of a version, and has other bytes than that one"
        learned = self._warmed if version.kind == warm.KIND else self._learned
        return learned(version, policy, parent, plain)

    def _has_dropped(self, version: VersionInfo) -> bool:
        """Whether lessons of the version were dropped with their months. In all, no more may be missing than were dropped."""
        if self._dropped.until is None:
            return False
        if version.kind not in training.LEARNED_KINDS:
            return version.kind == warm.KIND
        missing = int(version.manifest["decisions"]) - training.lessons(self._connection, version.id)
        self._missing_lessons += max(0, missing)
        return missing > 0

    def check_dropped(self) -> None:
        """Compare the lessons that are missing, of all versions, with what was dropped."""
        if self._missing_lessons > self._dropped.lessons:
            self._report.versions_differ += 1
            self._report.add(
                f"the ledger lacks {self._missing_lessons} decisions of its versions; {self._dropped.lessons} were dropped"
            )

    def _line_has_erased(self, version_id: int) -> bool:
        return self._dropped.until is not None or rebuilds.line_has_erased(self._connection, version_id)

    def _has_erased(self, version: VersionInfo) -> bool:
        if training.has_erased(self._connection, version.id):
            return True
        began = bool(version.manifest.get(warm.KIND))
        return began and warm_store.has_erased(self._connection, version.experiment_id, version.arm)

    def _warmed(self, version: VersionInfo, policy: BanditPolicy, untrained: bytes, plain: bytes) -> str | None:
        examples = warm.examples_of_arm(self._connection, version.experiment_id, version.arm, policy)
        if len(examples) != version.manifest["decisions"]:
            return f"its ledger has {len(examples)} decisions, the manifest says {version.manifest['decisions']}"
        same = warm.learned(untrained, policy, examples) == plain
        return None if same else "learning the other log again gives other bytes"

    def _learned(self, version: VersionInfo, policy: BanditPolicy, parent: bytes, plain: bytes) -> str | None:
        before = warm.examples_before(self._connection, version, policy)
        relearned, count = warm.learned(parent, policy, before) if before and not policy.rebuilds else parent, 0
        forward: list[list[Example]] = []  # of a staged candidate, round by round
        feedback_version = version.manifest.get("feedback_version", 0)
        for rows in training.rounds_of(self._connection, version.id, version.manifest.get("rounds")):
            for reward, due in rows:
                expected = joined_reward(due, self._configs, feedback_version)
                if expected != reward:
                    return f"decision {due.id!r} was learned with reward {reward!r}, the log gives {expected!r}"
            examples = examples_of(policy, [(due, reward) for reward, due in rows], self._configs)
            if version.kind == STAGED:
                forward.append(examples)
            elif policy.rebuilds and version.kind == "rebuild":
                whole = before + examples
                newest = whole[-MOST_ROWS:]
                pinned = version.manifest.get("pinned", "")
                relearned = learn_from_nothing(policy, newest, "", len(whole) - len(newest), pinned)
            elif examples:
                relearned = learn(relearned, policy, examples)
            count += len(rows)
        if forward:
            relearned = learn_forward(
                parent, policy, [row for part in forward for row in part], [len(part) for part in forward]
            )
        if count != version.manifest["decisions"]:
            return f"the ledger has {count} decisions, the manifest says {version.manifest['decisions']}"
        return None if relearned == plain else "replaying the ledger gives other bytes"

    def _lacks_receipt(self, version: VersionInfo) -> bool:
        return version.erased_at is not None and (version.arm, version.number) not in self._receipted

    def _refitted(self, version: VersionInfo, policy: BanditPolicy, plain: bytes) -> str | None:
        parent = models.find(self._connection, version.experiment_id, version.arm, version.manifest["parent_number"])
        assert parent is not None, "a version's parent is never deleted"
        examples = refit.examples_before(self._connection, parent, policy)
        if len(examples) < version.manifest["decisions"] and self._line_has_erased(parent.id):
            self._report.versions_erased += 1
            return None
        if len(examples) != version.manifest["decisions"]:
            return f"the ledger has {len(examples)} decisions, the manifest says {version.manifest['decisions']}"
        same = refit.relearned(version.manifest, policy, examples) == plain
        return None if same else "learning the ledger again gives other bytes"

    def _challenged(self, version: VersionInfo, policy: BanditPolicy, plain: bytes) -> str | None:
        parent = models.by_id(self._connection, version.parent_id or 0)
        since = challenge.since_of(version.manifest)
        examples = [example for _, example in challenge.lessons(self._connection, parent, policy, since)]
        if len(examples) < version.manifest["decisions"] and self._line_has_erased(parent.id):
            self._report.versions_erased += 1
            return None
        if len(examples) != version.manifest["decisions"]:
            return f"the ledger has {len(examples)} decisions, the manifest says {version.manifest['decisions']}"
        root = challenge.untrained(self._connection, parent, self._secret)
        same = challenge.relearned(root, version.manifest, policy, examples) == plain
        return None if same else "learning the ledger again gives other bytes"
