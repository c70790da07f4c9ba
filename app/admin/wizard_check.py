"""Every mistake of a draft, in plain words, beside the field where it can be mended."""

import re
from typing import Any, NamedTuple

from app.admin.forms import as_sentence
from app.admin.wizard_document import Problems, document_of
from app.admin.wizard_form import Typed, of_step
from app.errors import FieldError, LoopwiseError, Unprocessable
from app.services import experiments
from app.services.experiment_config import ExperimentConfig, parse_config
from app.store.experiments import StoredExperiment

# Parts that other rules can be checked without: each stands in for what is wrong, so that one mistake hides no other.
_SAFE: dict[str, Any] = {
    "key": "draft",
    "name": "",
    "hypothesis": "",
    "actions": [],
    "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}],
    "control_arm": None,
    "reward": {},
    "metrics": [],
    "segments": [],
    "decision_rule": {},
}
_KEY = "Give letters, digits, dots, - or _ (at most 100), beginning with a letter or a digit; no spaces"
_PLAIN = (
    (r"String should match pattern .*", _KEY),
    (r"String should have at least 1 characters?", "Give an id: your app gets it back to know what was chosen"),
    (r"String should have at most (\d+) characters", r"Keep it to \1 characters"),
    (r"Input should be greater than or equal to (\S+)", r"Give \1 or more"),
    (r"Input should be less than or equal to (\S+)", r"Give at most \1"),
    (r"Input should be greater than (\S+)", r"Give more than \1"),
    (r"Input should be less than (\S+)", r"Give less than \1"),
    (r"Input should be a valid integer.*", "Give a whole number"),
    (r"Input should be a valid number.*", "Give a number"),
    (r"Input should be a valid (dictionary|list).*", 'Give a JSON object, such as {"size": 3}'),
    (r"Input should be (.+)", r"Give one of \1"),
    (r"List should have at least 1 item.*", "Add one"),
    (r"List should have at most (\d+) items.*", r"Keep at most \1"),
    (r"Input tag .*", "Choose what it counts"),
    (r"must be (.*)", r"Give \1"),
    (r"Value error, (.*)", r"\1"),
    (r"max must be above min.*", "The largest value must be above the smallest"),
    (r"another arm has this key.*", "Another arm has this key; give each its own"),
)
_RENAMED = {
    "exploration_floor": "floor",
    "window_s": "window",
    "gap_s": "gap",
    "features": "features",
}
_PERCENT = ("floor", "share", "alpha", "winsorize", "min_effect")  # typed in percent, judged as shares
_BOUND = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)(?![\w.]*\w)")


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
    config: ExperimentConfig | None = None
    for field in _rule_problems(document):
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
        case ["actions", place, "template", *_]:
            return "actions", f"rows-{place}-id"
        case ["actions", *_]:
            return "actions", "rows"
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


def where(step: str, field: str) -> str:
    """A field in words, for a list of mistakes: "arm 2, share"."""
    _, rows, rest = field.partition("rows-")
    place, _, name = rest.partition("-")
    noun = {"arms": "arm", "metrics": "metric", "actions": "action"}.get(step, "")
    parts = [f"{noun} {int(place) + 1}", name] if rows and place.isdecimal() else [field if field != "rows" else ""]
    return ", ".join(part.replace("_", " ") for part in parts if part)


def sentence(field: str, message: str) -> str:
    """A rule's message in the words of the form."""
    for pattern, words in _PLAIN:
        if re.fullmatch(pattern, message):
            message = re.sub(pattern, words, message)
            break
    if field.rpartition("-")[2] == "window":
        return "Give a time of at least one second, and of at most 90 days (a year for a metric)."
    if field.rpartition("-")[2] in _PERCENT:
        message = _BOUND.sub(lambda found: f"{float(found[1]) * 100:g}%", message)
    return as_sentence(message)


def problem_of(error: LoopwiseError) -> list[tuple[str, str, str]]:
    """(step, field, sentence) of each part of an error that a service raised."""
    return [(*place_of(one.path), sentence(place_of(one.path)[1], one.message)) for one in error.fields]


def _rule_problems(document: dict[str, Any]) -> list[FieldError]:
    found: list[FieldError] = []
    replaced: set[str] = set()
    while True:
        try:
            parse_config(document)
            return found
        except Unprocessable as error:
            found += error.fields
            mended = _mended(document, error.fields, replaced)
            if mended is document:
                return found
            document = mended


def _mended(document: dict[str, Any], fields: tuple[FieldError, ...], replaced: set[str]) -> dict[str, Any]:
    """The document with something harmless in place of what is wrong; the same one when nothing more can be replaced."""
    found = document
    for field in fields:
        part, _, rest = field.path.strip("/").partition("/")
        place, _, leaf = rest.partition("/")
        name = leaf.partition("/")[0]
        safe = {
            "actions": {"id": f"\N{REPLACEMENT CHARACTER} {place}", "features": {}},
            "arms": {"key": f"arm-{place}", "policy": {"type": "uniform"}},
        }.get(part, {})
        mark = f"{part}/{place}/{name}"
        if name in safe and mark not in replaced:
            replaced.add(mark)
            rows = list(found[part])
            rows[int(place)] = rows[int(place)] | {name: safe[name]}
            found = found | {part: rows}
        elif part in _SAFE and part not in replaced:
            replaced.add(part)
            found = found | {part: _SAFE[part]} | ({"control_arm": None} if part == "arms" else {})
    return found


def _put(problems: Problems, field: FieldError, typed: Typed) -> None:
    step, name = place_of(field.path)
    rows = of_step(typed, step).get("rows", [])
    _, _, rest = name.partition("rows-")
    place = rest.partition("-")[0]
    if step == "arms" and place.isdecimal() and int(place) >= len(rows):
        name = "holdout_share"
    message = sentence(name, field.message)
    if step == "arms" and name == "rows" and field.message.startswith("the shares sum"):
        if any("share" in one for one in problems["arms"]):
            return
        message = as_sentence(f"{_BOUND.sub(_in_percent, field.message.split(';')[0])}; make them sum to 100%")
    if step == "arms" and name == "control" and any(one.endswith("-key") for one in problems["arms"]):
        return
    if step == "arms" and name.endswith("-action") and not field.message.startswith("no action"):
        message = "Choose which action this arm always takes."
    problems.setdefault(step, {}).setdefault(name, message)


def _in_percent(found: "re.Match[str]") -> str:
    return f"{float(found[1]) * 100:g}%"
