"""The context schema: the fields that an app sends, with type and example. Snippets, segments, privacy and checks share it."""

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from pydantic import Field, JsonValue

from app.design.metric_config import MetricSpec
from app.design.people_config import ContextField
from app.foundation.errors import FieldError
from app.foundation.fields import Model, repeated

MAX_FIELDS: Final = 200
FieldType = Literal["text", "number", "yes_no", "other"]
_EXAMPLES: Final[dict[FieldType, JsonValue]] = {"text": "...", "number": 1, "yes_no": True, "other": {}}


class SchemaField(Model):
    """A top-level field of the context."""

    name: str = Field(min_length=1, max_length=200)
    type: FieldType = Field(description="text, number, yes_no, or other: a list or an object.")
    example: JsonValue = Field(default=None, description="A value for programs and previews; null: one is made up.")

    @property
    def sample(self) -> JsonValue:
        """The example, or a value of its type."""
        return _EXAMPLES[self.type] if self.example is None else self.example


def type_of(value: object) -> FieldType:
    """The type of a value of a context."""
    if isinstance(value, bool):
        return "yes_no"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "other"


def problems(
    schema: Sequence[SchemaField],
    segments: Sequence[object],
    kept: Sequence[ContextField],
    metrics: Sequence[MetricSpec | None],
) -> Iterator[FieldError]:
    """What contradicts a schema: names that come twice, examples of another type, and fields that it does not have."""
    names = [field.name for field in schema]
    for index, _ in repeated(names):
        yield FieldError(f"/context_schema/{index}/name", "name_taken", {"what": "field"})
    for index, field in enumerate(schema):
        if field.example is not None and type_of(field.example) != field.type:
            yield FieldError(f"/context_schema/{index}/example", "example_of_other_type", {"type": field.type})
    used = [(f"/segments/{index}", name) for index, name in enumerate(segments)]
    used += [(f"/context_fields/{index}/name", field.name) for index, field in enumerate(kept)]
    for index, metric in enumerate(metrics):
        if metric is not None and metric.covariate is not None and metric.covariate.type == "context":
            used.append((f"/metrics/{index}/covariate/field", metric.covariate.field))
    for pointer, name in used:
        if isinstance(name, str) and name not in names:
            yield FieldError(pointer, "not_in_context_schema", {"field": name, "known": names})
