"""Tells the person who integrates an app what arrived from it: the newest call, and the fields of the contexts."""

from collections import Counter
from statistics import median
from typing import Final, Literal

from pydantic import Field, JsonValue
from sqlalchemy import Engine

from app.deciding.prepare import POSITION, PROFILE, SLOT
from app.deciding.store import arrivals as store
from app.deciding.store.arrivals import Arrivals
from app.design.context.schema import MAX_FIELDS, SchemaField, type_of
from app.design.experiment_config import ExperimentConfig
from app.foundation.fields import Document
from app.foundation.store.engine import transaction
from app.registry.lookup import stored_experiment

NEWEST: Final = 500  # decisions whose contexts are looked at
# Units that must have a value before it becomes an example: it is stored with the definition for good.
SHARED: Final = 5

State = Literal["confirmed", "new", "other_type", "not_seen"]


class SeenField(Document):
    """A field of the context, as the newest calls carry it and as the schema has it."""

    name: str
    type: str = Field(description="As seen; as declared, if it was not seen.")
    example: JsonValue = Field(description="A value that several users share, or one that is made up.")
    share: float = Field(description="Share of the newest calls that carry it.")
    state: State = Field(description="Compared with the schema: confirmed, new, other_type, not_seen.")


class SeenContext(Document):
    """What the newest calls of an app carry in their context."""

    decisions: int = Field(description="Calls that were looked at.")
    fields: list[SeenField]


def arrivals(engine: Engine, key: str) -> Arrivals:
    """The first call, the newest call and the newest reward of an experiment.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        return store.arrivals(connection, stored_experiment(connection, key).id)


def seen_context(engine: Engine, key: str) -> SeenContext:
    """The fields of the newest contexts, with type and example, compared with the experiment's context schema.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        experiment = stored_experiment(connection, key)
        rows = store.contexts(connection, experiment.id, NEWEST)
    config = ExperimentConfig.model_validate(experiment.config)
    declared = {field.name: field for field in config.context_schema or []}
    hashed = {field.name for field in config.context_fields or [] if field.hashed}
    listed = config.lists is not None or any(row.later for row in rows)
    filled = {
        *([PROFILE] if config.profile else []),
        *([POSITION, SLOT] if listed else []),
    }  # by Loopwise, not by the app
    values: dict[str, list[tuple[str, JsonValue]]] = {}
    for row in rows:
        for name, value in row.context.items() if isinstance(row.context, dict) else ():
            if value is not None and name not in filled:
                values.setdefault(name, []).append((row.unit_id, value))
    names = sorted(values, key=lambda name: (-len(values[name]), name))[:MAX_FIELDS]
    fields = [_seen(name, values[name], len(rows), declared.get(name), name in hashed) for name in names]
    unseen = [
        SeenField(name=name, type=field.type, example=field.sample, share=0.0, state="not_seen")
        for name, field in declared.items()
        if name not in values
    ]
    return SeenContext(decisions=len(rows), fields=fields + unseen)


def proposed(engine: Engine, key: str) -> list[SchemaField]:
    """The schema that the newest calls suggest: the declared fields as they are, then the new ones.

    :raises NotFound: no such experiment.
    """
    with transaction(engine) as connection:
        config = ExperimentConfig.model_validate(stored_experiment(connection, key).config)
    declared = list(config.context_schema or [])
    new = [field for field in seen_context(engine, key).fields if field.state == "new" and 0 < len(field.name) <= 200]
    made = [SchemaField.model_validate(field.model_dump(include={"name", "type", "example"})) for field in new]
    return (declared + made)[:MAX_FIELDS]


def _seen(
    name: str, values: list[tuple[str, JsonValue]], calls: int, declared: SchemaField | None, hashed: bool
) -> SeenField:
    kind = Counter(type_of(value) for _, value in values).most_common(1)[0][0]
    state: State = "new" if declared is None else "confirmed" if declared.type == kind else "other_type"
    example = declared.sample if declared is not None and state == "confirmed" else None
    if example is None and not hashed and kind != "other":
        example = _shared([(unit, value) for unit, value in values if type_of(value) == kind])
    made = SchemaField(name=name, type=kind).sample if example is None else example
    return SeenField(name=name, type=kind, example=made, share=len(values) / calls, state=state)


def _shared(values: list[tuple[str, JsonValue]]) -> JsonValue:
    """The most frequent value, if several units have it; else a round number in the middle, or nothing."""
    units: dict[JsonValue, set[str]] = {}
    for unit, value in values:
        units.setdefault(value, set()).add(unit)  # texts, numbers, true and false
    best = max(units, key=lambda value: len(units[value]))
    if len(units[best]) >= SHARED:
        return best
    numbers = [value for _, value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return float(f"{median(numbers):.1g}") if numbers else None
