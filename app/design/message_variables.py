"""Which variables messages need, and which triggers never supply one of them."""

import re
from collections.abc import Collection, Iterator

import orjson
from sqlalchemy import Connection

from app.design.experiment_config import ExperimentConfig
from app.design.store import triggers as store
from app.foundation.errors import FieldError


def missing(config: ExperimentConfig, supplied: Collection[str], channel: str | None) -> list[str]:
    """The required variables that a message names and nobody supplies: such a message could never be sent.

    :param channel: only messages of this channel; null: all.
    """
    texts = [text.decode() for text in _texts(config, channel)]
    return [
        variable.name
        for variable in config.variables
        if variable.required
        and variable.name not in supplied
        and any(re.search(rf"{{[{{%][^}}]*\b{re.escape(variable.name)}\b", text) for text in texts)
    ]


def trigger_problems(connection: Connection, before: ExperimentConfig, after: ExperimentConfig) -> list[FieldError]:
    """The variables that a change makes necessary and that a trigger of the experiment never supplies."""
    names = [variable.name for variable in after.variables]
    problems = []
    for trigger in store.of_experiment(connection, after.key):
        supplied, channel = trigger.definition.get("variables") or {}, trigger.definition.get("channel")
        known = missing(before, supplied, channel)
        for name in missing(after, supplied, channel):
            if name not in known:
                params = {"variable": name, "trigger": trigger.key}
                problems.append(FieldError(f"/variables/{names.index(name)}/name", "trigger_never_supplies", params))
    return problems


def _texts(config: ExperimentConfig, channel: str | None) -> Iterator[bytes]:
    """The messages that may be sent, as JSON."""
    for action in config.actions:
        if action.template is not None and channel in (None, action.template.channel):
            yield orjson.dumps(action.template.model_dump(mode="json"))
    if config.composition is not None:
        yield orjson.dumps(config.composition.model_dump(mode="json"))
