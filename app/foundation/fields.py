"""What every request and every definition is made of: strict models, keys, ids, and pydantic's errors as ours."""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    SerializerFunctionWrapHandler,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError

from app.foundation.codes import WORDS
from app.foundation.errors import FieldError, Unprocessable
from app.foundation.words import Params

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Json = Any  # one JSON value, of any kind
JsonObject = dict[str, Any]  # a JSON object that somebody sent or stored: only its reader knows what its values are
MAX_ID_BYTES = 1000
MAX_BATCH = 1000  # items of one call
EARLIEST_YEAR, LATEST_YEAR = 1900, 3000
# What each of Pydantic's types of error is called here, and the name of the limit that its context gives.
_CODES: Final[dict[str, tuple[str, str]]] = {
    "missing": ("missing", ""),
    "extra_forbidden": ("unknown_field", ""),
    "string_type": ("not_a_text", ""),
    "string_unicode": ("half_surrogate", ""),
    "float_type": ("not_a_number", ""),
    "float_parsing": ("not_a_number", ""),
    "finite_number": ("not_a_number", ""),
    "int_type": ("not_a_whole_number", ""),
    "int_parsing": ("not_a_whole_number", ""),
    "int_parsing_size": ("not_a_whole_number", ""),
    "int_from_float": ("not_a_whole_number", ""),
    "bool_type": ("not_true_or_false", ""),
    "bool_parsing": ("not_true_or_false", ""),
    "dict_type": ("not_an_object", ""),
    "model_type": ("not_an_object", ""),
    "model_attributes_type": ("not_an_object", ""),
    "list_type": ("not_a_list", ""),
    "none_required": ("not_null", ""),
    "datetime_type": ("not_a_time", ""),
    "datetime_parsing": ("not_a_time", ""),
    "timezone_aware": ("not_a_time", ""),
    "greater_than_equal": ("too_small", "ge"),
    "less_than_equal": ("too_large", "le"),
    "greater_than": ("not_above", "gt"),
    "less_than": ("not_below", "lt"),
    "string_too_short": ("too_short", "min_length"),
    "string_too_long": ("too_long", "max_length"),
    "too_short": ("too_few", "min_length"),
    "too_long": ("too_many", "max_length"),
}
_SHAPES: Final[dict[str, str]] = {}  # by pattern, the code of a text that does not match it


def shaped(pattern: str, code: str) -> StringConstraints:
    """The constraint of a text, with the code that says what it should look like."""
    _SHAPES[pattern] = code
    return StringConstraints(pattern=pattern)


def names_by_pattern(schema: JsonObject) -> None:
    """Describe the values of an object whose names match a pattern, as generators of clients read it (``json_schema_extra``)."""
    (schema["additionalProperties"],) = schema.pop("patternProperties").values()


def wrong(code: str, params: dict[str, object] | None = None) -> PydanticCustomError:
    """What a validator of a model raises: a code of ``codes.WORDS`` with its parameters."""
    return PydanticCustomError(code, "see app/foundation/codes.py", params)


Key = Annotated[str, shaped(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", "key_shape")]
PropertyPath = Annotated[
    str,
    shaped(r"^[^.\s]{1,100}(\.[^.\s]{1,100}){0,9}$", "path_shape"),
    Field(description="A property's name; names joined by dots lead into nested objects, as cart.total."),
]


def _indexable(text: str) -> str:
    """Two ids make one index entry (decision and reward), which PostgreSQL bounds at 2,704 bytes."""
    if len(text.encode()) > MAX_ID_BYTES:
        raise wrong("id_too_long", {"limit": MAX_ID_BYTES})
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_indexable)]


def _parse_time(value: object) -> object:
    """Strict mode takes no strings for times; JSON has nothing else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise wrong("not_a_time") from None
        if not EARLIEST_YEAR < moment.year < LATEST_YEAR:  # in any time zone, PostgreSQL and Python can both write it
            raise wrong("time_out_of_range", {"first": str(EARLIEST_YEAR), "last": str(LATEST_YEAR)})
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_parse_time, json_schema_input_type=str)]


class Model(BaseModel):
    """Strict: no unknown fields, no conversion of a string into a number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Sparse(Model):
    """A model whose newer fields are not written while they have the values that older documents mean by their absence.

    So a document that was stored before a field existed stays as it is.
    """

    newer: ClassVar[Mapping[str, JsonValue]] = {}

    @model_serializer(mode="wrap")
    def _without_what_older_documents_lack(self, inner: SerializerFunctionWrapHandler) -> JsonObject:
        document: JsonObject = inner(self)
        return {name: value for name, value in document.items() if name not in self.newer or value != self.newer[name]}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the fields: Pydantic would describe what the serializer returns, which is any object."""
        return handler({name: value for name, value in schema.items() if name != "serialization"})


class Document(BaseModel):
    """Computed figures: stored as JSON, read back, and answered in the same shape.

    A field with a default may be absent, because documents of its kind were stored before the field existed or because
    it belongs to some of them only. A field that was not given is not written either.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    def as_json(self) -> dict[str, JsonValue]:
        """The document as it is stored and answered."""
        return self.model_dump(mode="json", exclude_unset=True)

    def given(self) -> dict[str, Any]:
        """The fields that were given, for a document of another kind that has them too; each of its own type."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Readable(Generic[T]):
    """A type whose values are read one by one where the document around them may be wrong."""

    def __init__(self, kind: Any) -> None:
        """:param kind: a model, or what stands in an annotation."""
        self._adapter: TypeAdapter[T] = TypeAdapter(kind)

    def of(self, document: object) -> T | None:
        """The value; null where it cannot be read."""
        try:
            return self._adapter.validate_python(document, strict=True)
        except ValidationError:  # its error is reported with those of the whole document
            return None


def repeated(names: Iterable[Hashable | None]) -> Iterator[tuple[int, int]]:
    """For each name that an earlier item of the list has too: its index, and the first one's; null is no name."""
    first_at: dict[Hashable, int] = {}
    for index, name in enumerate(names):
        if name is not None and first_at.setdefault(name, index) != index:
            yield index, first_at[name]


def invalid(fields: tuple[FieldError, ...]) -> Unprocessable:
    """The error for wrong values, with a first sentence that stands alone."""
    first = fields[0]
    more = f" (and {len(fields) - 1} more, see errors)" if len(fields) > 1 else ""
    return Unprocessable("invalid_value", f"{first.path or 'The body'}: {first.message}{more}", fields)


def read(model: type[M], document: object) -> M:
    """A document as a model.

    :raises Unprocessable: it names every wrong field.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(pydantic_fields(error)) from None


def pydantic_fields(error: ValidationError, document: Any = None) -> tuple[FieldError, ...]:
    """Pydantic's errors as ours; at most 20, and never the value itself (it may be somebody's secret).

    :param document: what was checked. With it a path names the document's own fields only. Without it a path
        also names the form that was tried, where a value may have several.
    """
    details = error.errors(include_url=False, include_input=False)[:20]
    places = [_within(item["loc"], document, item["type"] == "missing") or item["loc"] for item in details]
    return tuple(
        FieldError("".join(f"/{part}" for part in path), *_code(item))
        for path, item in zip(places, details, strict=True)
    )


def _code(item: ErrorDetails) -> tuple[str, Params]:
    """An error's code and parameters, from its type and its context."""
    kind, context = item["type"], item.get("ctx", {})
    if kind in WORDS and kind not in _CODES:  # a validator of ours
        return kind, context
    if kind == "string_pattern_mismatch":
        shape = _SHAPES.get(context["pattern"])
        return (shape, {}) if shape else ("pattern", {"pattern": context["pattern"]})
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return "not_a_choice", {"expected": context.get("expected") or context["expected_tags"]}
    if kind == "union_tag_not_found":
        return "missing_type", {"field": context["discriminator"].strip("'")}
    code, limit = _CODES.get(kind, ("wrong_form", ""))
    if not limit:
        return code, {}
    empty = context[limit] == 1 and {"too_short": "empty", "too_few": "no_items"}.get(code)
    return (empty, {}) if empty else (code, {"limit": context[limit]})


def _within(path: Sequence[int | str], here: Any, missing: bool) -> list[int | str]:
    """A path without the parts that the document does not have, except for a missing field at its end.

    A form of a value may be called like a field, so a path may be read in several ways. A reading that ends with the missing
    field is preferred, then the longest.
    """
    if not path:
        return []
    part, rest = path[0], path[1:]
    readings = [_within(rest, here, missing)]
    if part == "[key]" or (missing and not rest and isinstance(here, Mapping)):
        readings.append([part])
    elif part in (here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()):
        readings.append([part, *_within(rest, here[part], missing)])
    return max(readings, key=lambda reading: (missing and reading[-1:] == list(path[-1:]), len(reading)))
