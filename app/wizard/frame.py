"""Shared by all pages of the wizard: an opened draft, the steps around a page, a clash of two people."""

from datetime import datetime
from typing import Final, NamedTuple

from flask import render_template, request

from app.design import drafts, experiments
from app.design import history as trail
from app.design.history import Difference
from app.design.pages import definition_words, policy_words
from app.design.pages.channel_words import CHANNELS
from app.design.pages.definition_fields import GROUPS, range_of
from app.design.store.drafts import StoredDraft
from app.foundation.fields import JsonObject
from app.foundation.pages.fields.kinds import Typed
from app.foundation.pages.fields.trees import texts_of
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment
from app.wizard.check import Checked, check
from app.wizard.form import FORMS, NAMES, STEPS, begun, decides_often
from bandits.parameters import ALGORITHMS, CANDIDATES, INTERACTIONS, LEARNERS, NOT_FOR_SLATES

DRAFT = "/drafts/<int(max=9000000000000000):draft_id>"

CHOICES: Final[dict[str, object]] = {
    "algorithms": [(name, f"{name}: {words}") for name, words in policy_words.ALGORITHMS.items()],
    "algorithms_of_slates": [
        (name, f"{name}: {words}")
        for name, words in policy_words.ALGORITHMS.items()
        if name not in LEARNERS and name not in NOT_FOR_SLATES
    ],
    "candidates": [
        ("", "the one that predicts best (recommended)"),
        *((name, policy_words.candidate(name)) for name in CANDIDATES),
    ],
    "learners": " ".join(LEARNERS),
    "interactions_of": " ".join(ALGORITHMS),
    "aggregations": [(name, f"they {words} ({name})") for name, words in definition_words.AGGREGATIONS.items()],
    "interactions": INTERACTIONS,
    "sources": definition_words.SOURCES,
    "units": [(name, name) for name in ("minutes", "hours", "days", "seconds")],
    "channels": [*CHANNELS.items()],
    "purposes": definition_words.PURPOSES,
    "profile": definition_words.PROFILE,
    "parameter_words": policy_words.PARAMETERS,
    "parameters": GROUPS,
    "parameter_help": {name: range_of(name) for name in GROUPS},
    "asks": [
        *(("", "nothing"), ("thumbs", "thumb up or down"), ("stars", "one to five stars")),
        *(("score", "0 to 10"), ("reason", "a reason"), ("comment", "a comment")),
    ],
    "places": [("title", "the title"), ("body", "the text"), ("call_to_action", "the button")],
}


Look = JsonObject  # of an address: the view of its page


class Clash(NamedTuple):
    """Somebody else saved in the meantime."""

    by: str
    at: datetime
    differences: list[Difference]  # before: the other person's version; after: the version that is typed here


class Opened(NamedTuple):
    """A draft as the pages show it."""

    draft: StoredDraft
    before: StoredExperiment | None  # the experiment that it changes
    checked: Checked

    @property
    def saved(self) -> list[str]:
        """The steps that somebody saved."""
        return [*self.draft.typed.get("saved", [])]

    @property
    def document(self) -> Typed:
        """The typed fields of the saved steps, and how others begin because of them."""
        return begun({**self.draft.typed.get("document", {})})

    def tree(self, step: str) -> Typed:
        """Every field of a step, as typed or as it begins."""
        form = FORMS[step]
        names = form.tree()
        return form.complete({name: value for name, value in self.document.items() if name in names})


def open_draft(draft_id: int) -> Opened:
    """A draft, read and checked.

    :raises NotFound: no draft has that number.
    """
    return opened_of(drafts.get(process().engine, draft_id))


def opened_of(draft: StoredDraft) -> Opened:
    """A stored draft, read and checked."""
    before = None if draft.experiment is None else experiments.get(process().engine, draft.experiment)
    return Opened(draft, before, check(begun(draft.typed.get("document", {})), before))


def clash_of(newest: Opened, theirs: object, own: object) -> Clash:
    """Compare the version that somebody else saved with the version that is typed here."""
    return Clash(newest.draft.updated_by, newest.draft.updated_at, trail.differences(theirs, own))


def render(
    template: str, opened: Opened, step: str, tree: Typed, errors: dict[str, str] | None = None, **values: object
) -> str:
    """A page of the wizard, inside its steps.

    :param tree: the fields of its form. Errors outside of these fields are shown above them.
    """
    states = {}
    for name in FORMS:
        shown = name in opened.saved or (step == "review" and opened.checked.of(name))
        states[name] = "mistakes" if shown and opened.checked.of(name) else "done" if shown else "open"
    texts, errors = dict(texts_of(tree)), errors or {}
    new = request.args.get("new")
    if new:  # fields that nobody could fill yet have no errors
        errors = {pointer: words for pointer, words in errors.items() if not pointer.startswith(new)}
    values.setdefault("missing", opened.checked.missing)
    return render_template(
        template,
        section="experiments",
        opened=opened,
        draft=opened.draft,
        before=opened.before,
        step=step,
        steps=[(name, title) for name, (title, _) in STEPS.items()],
        title=STEPS[step][0],
        states=states,
        place=NAMES.index(step),
        choices=CHOICES,
        decides_often=decides_often(opened.document),
        composed=opened.checked.document.get("composition") is not None,
        bound_arms=experiments.bound_to_kind(opened.before) if opened.before else [],
        tree=tree,
        texts=texts,
        errors=errors,
        general=[words for pointer, words in errors.items() if pointer not in texts],
        **values,
    )
