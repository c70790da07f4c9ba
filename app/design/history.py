"""The trail of changes, for reading: the differences between before and after, line by line. Notes are lines of it too."""

from typing import Any, NamedTuple

from sqlalchemy import Engine

from app.design.store import changes
from app.design.store.changes import Change
from app.foundation.errors import FieldError
from app.foundation.fields import JsonObject, invalid
from app.foundation.store import platform
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment
from app.registry.store.experiments import StoredExperiment

PAGE = 50
MAX_NOTE = 10_000
WORDS = {
    "experiment_created": "created the experiment",
    "experiment_changed": "changed the configuration",
    "units_excluded": "left units out of the reports",
    "units_included": "took units back into the reports",
    "experiment_start": "started the experiment",
    "experiment_pause": "paused the experiment",
    "experiment_conclude": "concluded the experiment",
    **{
        f"{verb}_to_{action}": f"{words} {thing}"
        for verb, words in (("asked", "asked for"), ("approved", "approved"), ("declined", "declined"))
        for action, thing in (
            ("start", "the start"),
            ("change", "a change"),
            ("ship", "shipping an arm"),
            ("ramp", "a ramp"),
            ("schedule", "a schedule"),
        )
    },
    "experiment_archived": "archived the experiment",
    "experiment_restored": "took the experiment out of the archive",
    "experiment_deleted": "deleted the draft",
    "experiment_labelled": "changed the tags or the owner",
    "experiment_scheduled": "scheduled the start or the end",
    "holdout_changed": "changed the global holdout",
    "log_imported": "imported the log",
    "model_rollback": "rolled a model back",
    "model_rebuild": "asked for a model to be rebuilt",
    "model_warm_start": "let an arm begin with what another log teaches",
    "model_pinned": "pinned which learner decides, or let the race decide again",
    "challenger": "tried a new model against the one that decided",
    "quarantine_held": "held decisions out of what is learned",
    "quarantine_released": "released decisions that were held out",
    "quarantine_excluded": "excluded decisions from what is learned",
    "quarantine_relearned": "learned models again without what was excluded",
    "apprentice": "made an arm an apprentice, which imitates the first action of each call",
    "switched_on": "switched an apprentice on: what it learned decides",
    "fell_back": "let an arm's fallback decide",
    "shipped": "shipped an arm",
    "ramped": "gave an arm a larger share on its way to everybody",
    "rolled_back": "rolled back to the previous shares",
    "restored": "let a learned policy decide again",
    "arm_stopped": "gave an arm's share to the control",
    "arm_resumed": "gave an arm its share back",
    "candidate_stored": "stored a candidate policy",
    "evaluation_removed": "removed an evaluation",
    "candidate_staged": "staged a candidate: it becomes an arm with the model that was valued",
    "candidate_removed": "removed a candidate policy",
    "metric_saved": "saved a metric in the library",
    "metric_removed": "removed a metric from the library",
    "trigger_created": "created a trigger",
    "trigger_changed": "changed a trigger",
    "trigger_start": "started a trigger",
    "trigger_pause": "paused a trigger",
    "trigger_deleted": "deleted a trigger",
    "receiver_created": "added a receiver of notices",
    "receiver_changed": "changed a receiver of notices",
    "receiver_deleted": "deleted a receiver of notices",
    "webhook_created": "created a webhook",
    "webhook_changed": "changed a webhook",
    "webhook_rotated": "changed a webhook's secret",
    "webhook_deleted": "deleted a webhook",
    "delivery_replayed": "sent a delivery again",
    "note": "wrote a note",
    "key_created": "made an API key",
    "key_revoked": "revoked an API key",
    "reader_created": "let a tool read the views",
    "user_created": "invited a user",
    "user_link": "made a new sign-in link",
    "user_role": "changed a role",
    "user_disabled": "locked a user out",
    "user_enabled": "let a user in again",
    "password_chosen": "chose a password",
    "password_changed": "changed their password",
    "signed_in": "signed in",
}


class Difference(NamedTuple):
    """One value that a change changed."""

    path: str  # as in arms/learned/share
    before: Any  # null: the document did not have it
    after: Any


class Line(NamedTuple):
    """One change with its differences."""

    change: Change
    words: str  # the kind of change, in words
    differences: list[Difference]


class Page(NamedTuple):
    """A page of the trail."""

    lines: list[Line]
    older: int | None  # the next page continues before this id; null: this is the last page


def newest(
    engine: Engine,
    *,
    experiment_key: str | None = None,
    actor: str | None = None,
    kind: str | None = None,
    before_id: int | None = None,
    most: int = PAGE,
) -> Page:
    """The newest changes.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment_id = None if experiment_key is None else stored_experiment(connection, experiment_key).id
        rows = changes.newest(
            connection, experiment_id=experiment_id, actor=actor, kind=kind, before_id=before_id, most=most + 1
        )
    lines = [
        Line(change, WORDS.get(change.kind, change.kind), differences(change.before, change.after))
        for change in rows[:most]
    ]
    return Page(lines, rows[most - 1].id if len(rows) > most else None)


def last_pause(engine: Engine, experiment: StoredExperiment) -> Change | None:
    """Who paused an experiment last, when and why; null: nobody did."""
    with transaction(engine) as connection:
        rows = changes.newest(connection, experiment_id=experiment.id, kind="experiment_pause", most=1)
    return rows[0] if rows else None


def add_note(engine: Engine, experiment_key: str, text: str, actor: str) -> None:
    """Write a note into an experiment's log: what was learned, why a change was accepted.

    :raises Unprocessable: it is empty or too long.
    """
    text = text.strip()
    if not 0 < len(text) <= MAX_NOTE or "\0" in text:
        raise invalid((FieldError("/note", "wrong_length", {"low": 1, "high": MAX_NOTE}),))
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, experiment_key)
        platform.record_change(connection, actor=actor, kind="note", experiment_id=experiment.id, reason=text)


def differences(before: Any, after: Any, path: str = "") -> list[Difference]:
    """The differences of two documents. A part that only one of them has is one difference, whatever it contains.

    Items of a list are compared by their keys or ids, if they have any. So an arm that is added in the middle does not make
    the arms after it look changed.
    """
    result = []
    if isinstance(before, list) and isinstance(after, list):
        before, after = _parts(before, after)
        orders = [
            [name for name in names if name in other_names] for names, other_names in ((before, after), (after, before))
        ]
        if orders[0] != orders[1]:
            result.append(Difference(f"{path or 'it'}: order", *orders))
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [Difference(path, before, after)]
    for name in [*before, *(name for name in after if name not in before)]:
        result += differences(before.get(name), after.get(name), f"{path}/{name}" if path else name)
    return result


def _parts(before: list[Any], after: list[Any]) -> tuple[JsonObject, JsonObject]:
    """Two lists by the names of their items: their keys, their ids, or else their positions."""
    for name in ("key", "id"):
        if all(isinstance(item, dict) and isinstance(item.get(name), str) for item in [*before, *after]):
            by_name = {item[name]: item for item in before}, {item[name]: item for item in after}
            if len(by_name[0]) == len(before) and len(by_name[1]) == len(after):
                return by_name
    return {str(index): item for index, item in enumerate(before)}, {
        str(index): item for index, item in enumerate(after)
    }
