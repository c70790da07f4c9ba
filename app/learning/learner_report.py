"""What the manifest of a model of Loopwise's own learners says of its race and of the features that it learned from."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import JsonValue, TypeAdapter


class Candidate(NamedTuple):
    """One way of predicting rewards."""

    name: str
    loss: (
        float | None
    )  # mean squared error of predictions before they were learned, in variances of the reward; null: none yet
    lead: float | None  # how much smaller its loss is than that of the served one
    error: float | None  # standard error of the lead


class FeatureNote(NamedTuple):
    """Something that was found about a feature."""

    code: str
    feature: str  # its encoded name
    line: str  # "context" or "action"


class LearnerReport(NamedTuple):
    """The race of one model version."""

    served: str
    candidates: list[Candidate]
    scored: float  # decisions behind the losses, faded
    fitted: int  # decisions learned at the last fit from nothing
    window: int  # newest decisions that it holds for true
    notes: list[FeatureNote]
    columns: int
    columns_left_out: int
    pinned: str  # the candidate that a person or the policy pinned; "": the race decides

    @property
    def best_first(self) -> list[Candidate]:
        """The candidates, the smallest loss first."""
        return sorted(self.candidates, key=lambda candidate: (candidate.loss is None, candidate.loss or 0.0))


_notes = TypeAdapter(list[FeatureNote])
_candidates = TypeAdapter(list[Candidate])


def learner_report(manifest: Mapping[str, JsonValue]) -> LearnerReport | None:
    """Read a manifest; null for a version of another policy, or one that has learned nothing."""
    learner = manifest.get("learner")
    if not isinstance(learner, Mapping) or not learner.get("served"):
        return None
    return LearnerReport(
        served=str(learner["served"]),
        candidates=_candidates.validate_python([tuple(_of(c, Candidate)) for c in _list(learner["candidates"])]),
        scored=float(str(learner["scored"])),
        fitted=int(str(learner["fitted"])),
        window=int(str(learner["window"])),
        notes=feature_notes(manifest),
        columns=int(str(learner["columns"])),
        columns_left_out=int(str(learner["columns_left_out"])),
        pinned=str(learner.get("pinned") or _policy_pin(manifest)),
    )


def _policy_pin(manifest: Mapping[str, JsonValue]) -> JsonValue:
    policy = manifest.get("policy")
    parameters = policy.get("parameters") if isinstance(policy, dict) else None
    return parameters.get("candidate", "") if isinstance(parameters, dict) else ""


def feature_notes(manifest: Mapping[str, JsonValue]) -> list[FeatureNote]:
    """Read what a version found about its features; empty for a policy that does not scale them."""
    learner = manifest.get("learner")
    if not isinstance(learner, Mapping):
        return []
    return _notes.validate_python([tuple(_of(note, FeatureNote)) for note in _list(learner["notes"])])


def _list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list), "a manifest is written by the platform"
    return value


def _of(value: JsonValue, kind: type[NamedTuple]) -> list[JsonValue]:
    assert isinstance(value, dict), "a manifest is written by the platform"
    return [value[name] for name in kind._fields]
