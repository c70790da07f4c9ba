"""What all pages of the wizard share: an opened draft, the steps around a page, a clash of two people, where a form leads."""

from typing import Any, NamedTuple

from flask import redirect, render_template, url_for

from app.design import drafts, experiments
from app.design import history as trail
from app.design.history import Difference
from app.design.pages import policy_words
from app.design.store.drafts import StoredDraft
from app.foundation.serving import process
from app.registry.store.experiments import StoredExperiment
from app.wizard import form as wizard_form
from app.wizard import words as wizard_words
from app.wizard.check import Checked, check
from app.wizard.form import NAMES, STEPS
from app.wizard.message import CHANNELS
from bandits.policy import ALGORITHMS, COMMON, INTERACTIONS

DRAFT = "/drafts/<int(max=9000000000000000):draft_id>"
_GROUPS = {**ALGORITHMS, "": COMMON}


def _range(name: str) -> str:
    """What a parameter may be, for each way of learning that has it."""
    told = []
    for algorithm, known in _GROUPS.items():
        if name in known:
            one = known[name]
            told.append(
                f"{algorithm + ': ' if algorithm else ''}{one.low:g} to {one.high:.10g}, empty: {one.default:g}"
            )
    return f"{name}. {'; '.join(told)}."


CHOICES: dict[str, Any] = {
    "algorithms": [(name, f"{name}: {policy_words.ALGORITHMS[name]}") for name in policy_words.ALGORITHMS],
    "aggregations": [(name, f"they {words} ({name})") for name, words in wizard_words.AGGREGATIONS.items()],
    "interactions": INTERACTIONS,
    "sources": wizard_words.SOURCES,
    "units": [(name, name) for name in ("minutes", "hours", "days", "seconds")],
    "channels": list(CHANNELS),
    "purposes": wizard_words.PURPOSES,
    "profile": wizard_words.PROFILE,
    "parameter_words": policy_words.PARAMETERS,
    "parameters": {
        name: [known for known, group in _GROUPS.items() if name in group] for name in wizard_form.PARAMETERS
    },
    "parameter_help": {name: _range(name) for name in wizard_form.PARAMETERS},
}


class Clash(NamedTuple):
    """Somebody else saved while this was typed."""

    by: str
    at: Any
    differences: list[Difference]  # before: what they saved; after: what is typed here


class Opened(NamedTuple):
    """A draft as the pages show it."""

    draft: StoredDraft
    before: StoredExperiment | None  # the experiment that it changes
    checked: Checked


def open_draft(draft_id: int) -> Opened:
    """A draft, read and checked.

    :raises NotFound: there is none of that number.
    """
    return opened_of(drafts.get(process().engine, draft_id))


def opened_of(found: StoredDraft) -> Opened:
    """A stored draft, read and checked."""
    before = None if found.experiment is None else experiments.get(process().engine, found.experiment)
    return Opened(found, before, check(found.typed, before))


def clash_of(newest: Opened, theirs: Any, mine: Any) -> Clash:
    """What somebody else saved beside what is typed here."""
    return Clash(newest.draft.updated_by, newest.draft.updated_at, trail.differences(theirs, mine))


def render(template: str, opened: Opened, step: str, **values: Any) -> str:
    """A page of the wizard, inside its steps."""
    states = {}
    for name, _ in STEPS[:-1]:
        saved = name in opened.draft.typed or (name in opened.checked.problems and step == "review")
        states[name] = "mistakes" if saved and opened.checked.of(name) else "done" if saved else "open"
    place = NAMES.index(step)
    return render_template(
        template,
        section="experiments",
        opened=opened,
        draft=opened.draft,
        before=opened.before,
        step=step,
        steps=STEPS,
        title=STEPS[place][1],
        states=states,
        place=place,
        choices=CHOICES,
        composed=opened.checked.document.get("composition") is not None,
        bound_arms=experiments.bound_to_kind(opened.before) if opened.before else [],
        **values,
    )


def led_to(opened: Opened, step: str, do: str) -> Any:
    """Where a saved form leads.

    :param do: save, next, back, or ``to-STEP``; add and plan stay, with something more to show.
    """
    place = NAMES.index(step)
    target = {"next": NAMES[min(place + 1, len(NAMES) - 1)], "back": NAMES[max(0, place - 1)]}.get(do, step)
    if do.startswith("to-") and do[3:] in NAMES:
        target = do[3:]
    shown: dict[str, dict[str, Any]] = {"add": {"new": 1}, "plan": {"answer": 1, "_anchor": "answer"}}
    more = shown.get(do, {})
    return redirect(url_for("admin.draft_step", draft_id=opened.draft.id, step=target, **more))
