"""Every error of a draft, in plain words, by the field that has to change."""

import re
from typing import Final, NamedTuple

from app.design import experiments
from app.design.definition_rules import checked
from app.design.experiment_config import ExperimentConfig
from app.foundation.errors import FieldError
from app.foundation.pages.fields.kinds import Findings, Typed
from app.foundation.pages.fields.trees import texts_of, told
from app.registry.store.experiments import StoredExperiment
from app.wizard.document import Document, document_of
from app.wizard.form import WHOLE, step_of

_NOUNS: Final = {
    "caps": "limit",
    "slots:languages": "language",
    "forbidden": "pair",
}  # the singular of other names is the name without its s


class Checked(NamedTuple):
    """A draft as far as it can be read."""

    document: Document
    config: ExperimentConfig | None  # null: the draft has errors
    problems: dict[str, str]  # by field, a sentence
    missing: dict[str, str]  # by field, the variable that its text names, and nobody declared

    def of(self, step: str) -> dict[str, str]:
        """The errors of a step."""
        return {pointer: words for pointer, words in self.problems.items() if step_of(pointer) == step}


def check(draft: Typed, before: StoredExperiment | None = None) -> Checked:
    """Read a draft and find its errors.

    :param before: the experiment that it changes.
    """
    findings = Findings()
    document = document_of(draft, findings, None if before is None else before.config)
    config, problems = checked(document)
    if before is not None and document["key"] != before.key:
        findings.add("/key", "experiment_key_kept", {"key": before.key})
    elif before is not None and config is not None and not problems and not findings.problems:
        config = experiments.changed(before, document)
        problems = experiments.refusals(before, config)
    if problems:
        fields = {pointer for pointer, _ in texts_of(WHOLE.complete(draft))}
        for problem in problems:
            findings.beside(problem, fields)
    sentences = told(WHOLE, findings)
    missing = {
        pointer: str(problem.params["name"])
        for pointer, problem in findings.problems.items()
        if problem.code == "text_unknown_variable"
    }
    return Checked(document, None if sentences else config, sentences, missing)


def told_by(error_fields: tuple[FieldError, ...]) -> list[tuple[str, str, str]]:
    """(step, field, sentence) of each part of an error that a service raised."""
    findings = Findings()
    for field in error_fields:
        findings.beside(field, ())
    return [(step_of(pointer), pointer, words) for pointer, words in told(WHOLE, findings).items()]


def where(pointer: str) -> str:
    """A field in words, for a list of errors: "arm 2, share"."""
    names = pointer.split("/")[1:]
    words = []
    for index, name in enumerate(names):
        following = names[index + 1] if index + 1 < len(names) else ""
        if following.isdecimal():
            words.append(f"{_NOUNS.get(name, name.rstrip('s'))} {int(following) + 1}")
        elif not following and not name.isdecimal():
            words.append(re.sub(r"[_:]+", " ", name.removesuffix("_s")))
    return ", ".join(words)
