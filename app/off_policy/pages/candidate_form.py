"""Reads and offers the form that defines a candidate policy."""

from typing import Final, NamedTuple

from app.design.pages.definition_fields import GROUPS, KEY, POLICY, policy_of, range_of
from app.design.pages.policy_words import ALGORITHMS, PARAMETERS, candidate
from app.foundation.errors import LoopwiseError
from app.foundation.fields import invalid, read
from app.foundation.pages.fields import trees
from app.foundation.pages.fields.kinds import Boxes, Findings, Number, Text, Typed
from app.foundation.pages.fields.trees import Part, texts_of
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.logged_values import Choices
from bandits.parameters import ALGORITHMS as VW_ALGORITHMS
from bandits.parameters import CANDIDATES, INTERACTIONS
from bandits.policy import DEFAULT_FLOOR, LEARNER_FLOORS, MIN_FLOOR

KINDS: Final = (
    ("bandit", "A policy that learns"),
    ("fixed", "Always the same action"),
    ("uniform", "Every eligible action alike"),
    ("first_action", "The first action of each call"),
    ("model", "A stored model version"),
)
FLOOR: Final = (
    f"{MIN_FLOOR:g} to 1; empty: {LEARNER_FLOORS[1]:g} for auto and thompson, {DEFAULT_FLOOR:g} for the others"
)
CANDIDATE_POLICY: Final = Part({**POLICY.fields, "exploration_floor": Number(), "exploration_floor_start": Number()})
FORM: Final = Part(
    {
        **{"key": KEY, "policy": CANDIDATE_POLICY, "features_off": Boxes()},
        "model": Part({"arm": Text(empty=""), "version": Number(whole=True)}),
    }
)
_BESIDE: Final = {
    "/policy": "/policy/type",
    "/model": "/model/version",
}  # the field that shows an error of a whole part
Option = tuple[str, str]  # value, words


class Shown(NamedTuple):
    """The choices of the form, with their words."""

    actions: list[Option]
    arms: list[Option]
    kinds: tuple[Option, ...]
    algorithms: list[Option]
    parameters: list[tuple[str, str, str, str]]  # name, words, range, the algorithms that have it; empty: all
    floor: str  # its range
    interactions: list[str]
    interactions_of: str  # the algorithms that have them
    candidates: list[Option]


def shown(choices: Choices) -> Shown:
    """The choices that the form's template offers."""
    return Shown(
        actions=[(name, name) for name in choices.actions],
        arms=[(arm, f"{arm}: version {number} serves") for arm, number in choices.serving.items()],
        kinds=KINDS,
        algorithms=[(name, f"{name}: {words}") for name, words in ALGORITHMS.items()],
        parameters=[(name, PARAMETERS[name], range_of(name), ",".join(groups)) for name, groups in GROUPS.items()],
        floor=FLOOR,
        interactions=list(INTERACTIONS),
        interactions_of=",".join(VW_ALGORITHMS),
        candidates=[("", "the one that predicts best"), *((name, candidate(name)) for name in CANDIDATES)],
    )


def parse(typed: Typed, findings: Findings) -> CandidateSpec:
    """Parse what was typed into a candidate.

    :raises Unprocessable: a field has the wrong shape; the error or ``findings`` name every such field.
    """
    kind = typed["policy"]["type"]
    document = FORM.values(typed, "", findings, ["key", *(["features_off"] if kind in ("bandit", "model") else [])])
    if kind == "model":
        document |= FORM.values(typed, "", findings, ["model"])
    else:
        document["policy"] = policy_of(CANDIDATE_POLICY, typed["policy"], "/policy", findings)
    if findings.problems:
        raise invalid(tuple(findings.problems.values()))
    return read(CandidateSpec, document)


def told(error: LoopwiseError, typed: Typed, findings: Findings) -> dict[str, str]:
    """The errors by the names of the form's fields."""
    fields = {name for name, _ in texts_of(typed)}
    for field in error.fields:
        findings.beside(field._replace(path=_BESIDE.get(field.path, field.path)), fields)
    return trees.told(FORM, findings) or {"/key": error.detail}
