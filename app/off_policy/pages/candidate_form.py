"""The form that defines a candidate policy: from typed texts to what the service takes, and mistakes back to the fields."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue, ValidationError
from werkzeug.datastructures import MultiDict

from app.design.pages.policy_words import ALGORITHMS as WORDS
from app.design.pages.policy_words import PARAMETERS
from app.foundation.errors import LoopwiseError
from app.foundation.fields import invalid, pydantic_fields
from app.off_policy.evaluation_request import CandidateSpec
from app.off_policy.logged_values import Choices
from bandits.policy import ALGORITHMS, COMMON, DEFAULT_FLOOR, DEFAULT_INTERACTIONS, INTERACTIONS, MIN_FLOOR, Parameter

KINDS = (
    ("bandit", "A policy that learns"),
    ("fixed", "Always the same action"),
    ("uniform", "Every eligible action alike"),
    ("model", "A stored model version"),
)
FLOOR = Parameter("", MIN_FLOOR, 1.0, DEFAULT_FLOOR)


Field = tuple[str, str, Parameter]  # name, words, bounds
Option = tuple[str, str]  # value, words


class Shown(NamedTuple):
    """What the form's template offers."""

    actions: list[Option]
    arms: list[Option]
    kinds: tuple[Option, ...]
    algorithms: list[Option]
    common: list[Field]
    own: dict[str, list[Field]]  # by algorithm
    floor: Field
    interactions: list[str]
    default_interactions: Sequence[str]


def shown(choices: Choices) -> Shown:
    """What the form's template needs."""
    return Shown(
        actions=[(name, name) for name in choices.actions],
        arms=[(arm, f"{arm}: version {number} serves") for arm, number in choices.serving.items()],
        kinds=KINDS,
        algorithms=[(name, f"{name}: {words}") for name, words in WORDS.items()],
        common=[_field(name, name, spec) for name, spec in COMMON.items()],
        own={
            algorithm: [_field(f"{algorithm}-{name}", name, spec) for name, spec in own.items()]
            for algorithm, own in ALGORITHMS.items()
        },
        floor=("exploration_floor", "Exploration floor", FLOOR),
        interactions=list(INTERACTIONS),
        default_interactions=DEFAULT_INTERACTIONS,
    )


def parse(form: "MultiDict[str, str]") -> CandidateSpec:
    """What was typed, as the service takes it.

    :raises Unprocessable: naming every field that has the wrong shape.
    """
    kind = form.get("kind", "")
    features: list[JsonValue] = [*form.getlist("features_off")]
    document: dict[str, JsonValue] = {"key": form.get("key", "").strip(), "features_off": features}
    if kind == "model":
        document["model"] = {"arm": form.get("arm", ""), "version": _number(form.get("version", ""), whole=True)}
    elif kind == "fixed":
        document["policy"] = {"type": "fixed", "action": form.get("action", "").strip()}
    else:
        document["policy"] = _bandit(form) if kind == "bandit" else {"type": kind}
    if kind not in ("bandit", "model"):
        document["features_off"] = []  # only what a model sees can be hidden
    try:
        return CandidateSpec.model_validate(document)
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None


def mistakes(error: LoopwiseError, form: "MultiDict[str, str]") -> dict[str, str]:
    """The mistakes by the names of the form's fields."""
    own = ALGORITHMS.get(form.get("algorithm", ""), {})
    found: dict[str, str] = {}
    for field in error.fields:
        name = field.path.rpartition("/")[2]
        name = {"type": "kind", "policy": "kind", "model": "version"}.get(name, name)
        if field.path.startswith("/features_off"):
            name = "features_off"
        found.setdefault(f"{form.get('algorithm', '')}-{name}" if name in own else name, field.on_page())
    return found or {"key": error.detail}


def _bandit(form: "MultiDict[str, str]") -> dict[str, JsonValue]:
    """Empty fields keep the defaults."""
    algorithm = form.get("algorithm", "")
    typed = {name: form.get(name, "") for name in COMMON}
    typed |= {name: form.get(f"{algorithm}-{name}", "") for name in ALGORITHMS.get(algorithm, {})}
    parameters: dict[str, JsonValue] = {name: _number(text) for name, text in typed.items() if text.strip()}
    parameters["interactions"] = [*form.getlist("interactions")]
    policy: dict[str, JsonValue] = {"type": "bandit", "algorithm": algorithm, "parameters": parameters}
    if form.get("exploration_floor", "").strip():
        policy["exploration_floor"] = _number(form["exploration_floor"])
    return policy


def _number(text: str, *, whole: bool = False) -> float | int | str:
    """A number as typed; what is none stays as it is, and the service says what is wrong with it."""
    text = text.strip()
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    if abs(value) < 2**31 and value == int(value):
        return int(value)
    return text if whole else value


def _field(name: str, parameter: str, spec: Parameter) -> Field:
    return (name, PARAMETERS.get(parameter, parameter), spec)
