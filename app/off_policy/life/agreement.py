"""Says in what the log of one experiment agrees with another experiment: its actions, its context fields and their types."""

from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import Field
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import Document, JsonObject
from app.foundation.words import Params
from app.off_policy.store import evaluations as log_store
from app.off_policy.store.evaluations import LoggedRow
from app.registry.store.experiments import StoredExperiment

LOOKED_AT: Final = 2000  # newest settled decisions of each log
LISTED: Final = 50  # names in each list
KINDS: Final[dict[type, str]] = {
    bool: "true or false",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
}


class Agreement(Document):
    """What a log has in common with an experiment. Names beyond the first 50 of a list are left out."""

    decisions: int = Field(description="Settled decisions of the log that were looked at, the newest 2,000 at most.")
    actions: list[str] = Field(description="Ids of actions that both have.")
    other_actions: list[str] = Field(
        description="That only the log has: what they taught counts through their features."
    )
    new_actions: list[str] = Field(description="That only the experiment has: nothing is known of them at first.")
    action_features: list[str] = Field(description="Names of action features that both have.")
    fields: list[str] = Field(description="Context fields that both have, with the same type.")
    other_types: list[str] = Field(description="Context fields of the same name and another type.")
    other_fields: list[str] = Field(description="That only the log has.")
    new_fields: list[str] = Field(description="That only the experiment has.")
    fields_known: bool = Field(
        description="False: the experiment declares no fields and has no decisions to compare with."
    )

    def refusal(self) -> tuple[str, Params] | None:
        """Why nothing can be learned here, as a code with its parameters; null: something agrees."""
        if not self.actions and not self.action_features:
            return "no_action_agrees", {
                "theirs": ", ".join(self.other_actions[:5]),
                "own": ", ".join(self.new_actions[:5]),
            }
        if self.fields_known and not self.fields and (self.other_fields or self.other_types):
            theirs = ", ".join([*self.other_types, *self.other_fields][:5])
            return "no_field_agrees", {"theirs": theirs, "own": ", ".join([*self.other_types, *self.new_fields][:5])}
        return None


def agreement(connection: Connection, experiment: StoredExperiment, source: StoredExperiment) -> Agreement:
    """Compare what the newest decisions of a log have with what an experiment declares and has seen."""
    theirs = list(log_store.log_rows(connection, source.id, LOOKED_AT))
    own = list(log_store.log_rows(connection, experiment.id, LOOKED_AT))
    config, other = (ExperimentConfig.model_validate(one.config) for one in (experiment, source))
    actions, other_actions = _actions(config, own), _actions(other, theirs)
    fields, other_fields = _fields(own), _fields(theirs)
    if config.context_fields is not None:
        declared = {field.name for field in config.context_fields}
        fields = {name: kinds for name, kinds in fields.items() if name in declared} | {
            name: fields.get(name, other_fields.get(name, set())) for name in declared
        }
    shared = fields.keys() & other_fields.keys()
    same = {name for name in shared if fields[name] & other_fields[name]}
    return Agreement(
        decisions=len(theirs),
        actions=_listed(actions.keys() & other_actions.keys()),
        other_actions=_listed(other_actions.keys() - actions.keys()),
        new_actions=_listed(actions.keys() - other_actions.keys()),
        action_features=_listed(_names(actions.values()) & _names(other_actions.values())),
        fields=_listed(same),
        other_types=_listed(shared - same),
        other_fields=_listed(other_fields.keys() - fields.keys()),
        new_fields=_listed(fields.keys() - other_fields.keys()),
        fields_known=bool(own) or config.context_fields is not None,
    )


def _listed(names: Iterable[str]) -> list[str]:
    return sorted(names)[:LISTED]


def _actions(config: ExperimentConfig, rows: list[LoggedRow]) -> dict[str, object]:
    """Features by action: those that are declared, and those that calls gave."""
    found: dict[str, object] = {action.id: action.features for action in config.all_actions()}
    for row in rows:
        for action in row.actions or ():
            found.setdefault(str(action["id"]), action.get("features"))
    return found


def _names(features: Iterable[object]) -> set[str]:
    parts = [part for one in features for part in (one if isinstance(one, list) else [one])]
    return {name for part in parts if isinstance(part, Mapping) for name in part}


def _fields(rows: list[LoggedRow]) -> dict[str, set[str]]:
    """The types of each top-level context field."""
    found: dict[str, set[str]] = {}
    for row in rows:
        context: JsonObject | list[JsonObject] = row.context
        for part in context if isinstance(context, list) else [context]:
            for name, value in part.items():
                kinds = found.setdefault(name, set())
                kinds |= set() if value is None else {KINDS[type(value)]}
    return found
