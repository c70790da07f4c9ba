"""Documents that an earlier version stored are read and written back as they were, key for key.

``stored/`` holds what the version before typed documents kept of two experiments: ``old`` (three arms, one of which
learns, with feedback, a guardrail and an evaluation) and ``thin`` (three units, nothing to compare yet).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from app.foundation.fields import Document
from app.off_policy.documents import EvaluationResult
from app.reporting.documents.activity import ActivitySummary, StoredActivity
from app.reporting.documents.feedback import StoredFeedback
from app.reporting.documents.health import Health, HealthSummary
from app.reporting.documents.private import StoredPrivateReport
from app.reporting.documents.results import ResultsSummary, StoredResults

STORED = Path(__file__).parent / "stored"
KINDS: dict[str, type[Document]] = {
    "results": StoredResults,
    "results-by-group": StoredResults,
    "results-summary": ResultsSummary,
    "activity": StoredActivity,
    "activity-summary": ActivitySummary,
    "health": Health,
    "health-summary": HealthSummary,
    "feedback": StoredFeedback,
    "evaluation": EvaluationResult,
    "private": StoredPrivateReport,
}


def stored(name: str) -> Any:
    return json.loads((STORED / f"{name}.json").read_text())


@pytest.mark.parametrize("name", sorted(path.stem for path in STORED.glob("*.json")))
def test_a_stored_document_comes_back_as_it_was(name: str) -> None:
    document = stored(name)
    kind = KINDS[name.partition("-")[2]]
    assert kind.model_validate(document).as_json() == document


def without(value: Any, *names: str) -> Any:
    """The document without fields that an older one did not have, at any depth."""
    if isinstance(value, dict):
        return {name: without(part, *names) for name, part in value.items() if name not in names}
    return [without(part, *names) for part in value] if isinstance(value, list) else value


def test_older_results_get_defaults_for_what_they_did_not_have() -> None:
    newer = ("feedback_version", "running_sign", "complete_until", "settled", "winsorize", "relative_interval", "days")
    document = stored("old-results")
    for line in (line for metric in document["metrics"] for line in metric["comparisons"]):
        line["always_valid"] = without(line["always_valid"], "relative_interval")
    older = without(document, *(name for name in newer if name != "relative_interval"))
    found = StoredResults.model_validate(older)
    line = found.metrics[0].comparisons[0]
    assert (found.feedback_version, found.window.settled, found.window.complete_until) == (0, None, None)
    assert (found.metrics[0].winsorize, line.running_sign) == (None, None)
    assert line.always_valid.relative_interval.reason == "not computed yet"
    assert found.as_json() == older


def test_an_older_evaluation_gets_defaults_for_what_it_did_not_have() -> None:
    older = without(stored("old-evaluation"), "reason_codes", "features_off", "realised")
    found = EvaluationResult.model_validate(older)
    assert all(line.reason_codes == [] and line.features_off == [] for line in found.policies)
    assert found.realised == [] and found.as_json() == older


def test_older_activity_and_health_get_defaults_for_what_they_did_not_have() -> None:
    activity = without(stored("old-activity"), "learns", "missing_rewards", "control_change")
    assert StoredActivity.model_validate(activity).missing_rewards is None
    health = without(stored("old-health"), "differs")
    assert Health.model_validate(health).as_json() == health
