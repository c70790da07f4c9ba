"""Every mistake of a draft, in plain words, beside the field where it can be mended."""

import re
from typing import Any, NamedTuple

from app.design import experiments
from app.design.definition_rules import checked, parse_config
from app.design.experiment_config import OPTIONAL_PARTS, ExperimentConfig
from app.foundation.errors import FieldError, LoopwiseError
from app.registry.store.experiments import StoredExperiment
from app.wizard import composition as wizard_composition
from app.wizard import message as wizard_message
from app.wizard.document import document_of
from app.wizard.form import Typed, of_step
from app.wizard.numbers import Problems
from app.wizard.sentences import in_percent, sentence

_RENAMED = {
    "exploration_floor": "floor",
    "window_s": "window",
    "gap_s": "gap",
    "features": "features",
}


class Checked(NamedTuple):
    """A draft as far as it can be read."""

    document: dict[str, Any]
    config: ExperimentConfig | None  # null: there are mistakes
    problems: Problems  # {step: {field: sentence}}; no step without one

    def of(self, step: str) -> dict[str, str]:
        """The mistakes of a step by field."""
        return self.problems.get(step, {})


def check(typed: Typed, before: StoredExperiment | None = None) -> Checked:
    """Read a draft and find its mistakes.

    :param before: the experiment that it changes.
    """
    document, problems = document_of(typed)
    if before is not None:  # what no form shows stays as it is
        kept = ("variables", *OPTIONAL_PARTS)
        document = {name: before.config[name] for name in kept if name in before.config} | document
    config: ExperimentConfig | None = None
    for field in checked(document)[1]:
        _put(problems, field, typed)
    if not problems["purpose"].get("key") and before is not None and document["key"] != before.key:
        problems["purpose"]["key"] = f"An experiment keeps its key, {before.key}; make another experiment instead."
    if not any(problems.values()):
        config = parse_config(document) if before is None else experiments.changed(before, document)
        for field in experiments.refusals(before, config) if before is not None else []:
            _put(problems, field, typed)
    return Checked(document, config, {step: found for step, found in problems.items() if found})


def place_of(path: str) -> tuple[str, str]:
    """The step and the field that a JSON pointer into a configuration belongs to."""
    match path.strip("/").split("/"):
        case ["key" | "name" | "hypothesis" as name, *_]:
            return "purpose", name
        case ["actions", place, "id" | "payload" | "features" as name, *_]:
            return "actions", f"rows-{place}-{name}"
        case ["actions", place, "template", "texts", *locale, name] if locale:
            return "actions", f"rows-{place}-texts-{'/'.join(locale)}-{'locale' if name == '[key]' else name}"
        case ["actions", place, "template", *_]:
            return "actions", f"rows-{place}-channel"
        case ["variables", place, "name" | "sample" as name, *_]:
            return "actions", f"variables-{place}-{name}"
        case ["variables", *_]:
            return "actions", "variables"
        case ["composition", *parts]:
            return "actions", wizard_composition.field_of(parts)
        case ["actions", *_]:
            return "actions", "rows"
        case ["feedback" | "fatigue" | "consent" | "profile" | "context_fields" | "retention_s", *_] as parts:
            return _place_of_people(parts)
        case ["arms", place, "policy"] | ["arms", place, "policy", "type"]:
            return "arms", f"rows-{place}-kind"
        case ["arms", place, "policy", "parameters", name, *_] | ["arms", place, "policy", name, *_]:
            return "arms", f"rows-{place}-{_RENAMED.get(name, name)}"
        case ["arms", place, name, *_]:
            return "arms", f"rows-{place}-{name}"
        case ["arms", *_]:
            return "arms", "rows"
        case ["control_arm", *_]:
            return "arms", "control"
        case ["reward", name, *_]:
            return "reward", _RENAMED.get(name, name)
        case ["reward"]:
            return "reward", "max"
        case ["metrics", place, "source"]:
            return "metrics", f"rows-{place}-type"
        case ["metrics", place, "source", *_, name] | ["metrics", place, name]:
            return "metrics", f"rows-{place}-{_RENAMED.get(name, name)}"
        case ["metrics", *_]:
            return "metrics", "rows"
        case ["decision_rule", name, *_]:
            return "metrics", name
        case ["segments", *_]:
            return "metrics", "segments"
    return "review", "draft"


def _place_of_people(parts: list[str]) -> tuple[str, str]:
    """The same for the parts that are about people."""
    match parts:
        case ["feedback", "thumbs" | "score" as kind, side, *_]:
            return "reward", f"{kind}_{side}"
        case ["feedback", "stars", place, *_] if place.isdecimal():
            return "reward", f"stars_{int(place) + 1}"
        case ["feedback", "reasons", *name]:
            return "reward", f"rows-{'/'.join(name).removesuffix('/[key]')}-value" if name else "rows"
        case ["feedback", name, *_]:
            return "reward", name.removesuffix("_s")
        case ["fatigue", "caps", place, name, *_]:
            return "people", f"rows-{place}-{_RENAMED.get(name, name)}"
        case ["fatigue", "caps", *_]:
            return "people", "rows"
        case ["fatigue", "quiet_hours", name, *_]:
            return "people", f"quiet_{'zone' if name == 'time_zone' else name}"
        case ["fatigue", *_]:
            return "people", "distance"
        case ["consent", name, *_]:
            return "people", f"consent_{name}"
        case ["profile", name, *_]:
            return "people", name.removesuffix("_s")
        case ["context_fields", *_]:
            return "people", "context_names"
    return "people", "retention" if parts[0] == "retention_s" else "profile"


def problem_of(error: LoopwiseError) -> list[tuple[str, str, str]]:
    """(step, field, sentence) of each part of an error that a service raised."""
    return [(*place_of(one.path), sentence(place_of(one.path)[1], one)) for one in error.fields]


def _put(problems: Problems, field: FieldError, typed: Typed) -> None:
    step, name = place_of(field.path)
    rows = of_step(typed, step).get("rows", [])
    name = _with_places(step, name, rows)
    if step == "actions":
        name = wizard_composition.with_place(name, of_step(typed, step)["composition"] or {})
    _, _, rest = name.partition("rows-")
    place = rest.partition("-")[0]
    if step == "arms" and place.isdecimal() and int(place) >= len(rows):
        name = "holdout_share"
    message = sentence(name, field)
    if field.code == "shares_sum":
        if any("share" in one for one in problems["arms"]):
            return
        message = field.on_page(in_percent)
    if step == "arms" and name == "control" and any(one.endswith("-key") for one in problems["arms"]):
        return
    problems.setdefault(step, {}).setdefault(name, message)


def _with_places(step: str, name: str, rows: list[dict[str, str]]) -> str:
    """A field's name with the places of languages and reasons, which rules name by their keys."""
    text = re.fullmatch(r"rows-(\d+)-texts-(.*)-([a-z_]+)", name, re.S)
    if step == "actions" and text:
        place = wizard_message.place_of_text(rows[int(text[1])]["template"], text[2])
        return f"rows-{text[1]}-channel" if place is None else f"rows-{text[1]}-texts-{place}-{text[3]}"
    if step == "reward" and name.startswith("rows-"):
        reason = name.removeprefix("rows-").removesuffix("-value")
        place = next((place for place, row in enumerate(rows) if row["name"] == reason), None)
        return "rows" if place is None else f"rows-{place}-value"
    return name
