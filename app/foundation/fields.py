"""What every request and every definition is made of: strict models, keys, ids, and pydantic's errors as ours."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
)

from app.foundation.errors import FieldError, Unprocessable

MAX_ID_BYTES = 1000
MAX_BATCH = 1000  # items of one call
EARLIEST_YEAR, LATEST_YEAR = 1900, 3000

Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


def _indexable(text: str) -> str:
    """Two ids make one index entry (decision and reward), which PostgreSQL bounds at 2,704 bytes."""
    if len(text.encode()) > MAX_ID_BYTES:
        raise ValueError(f"give an id of at most {MAX_ID_BYTES} bytes in UTF-8")
    return text


Id = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_indexable)]


def _parse_time(value: object) -> object:
    """Strict mode takes no strings for times; JSON has nothing else."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("give a time as ISO 8601 with an offset, such as 2026-01-31T12:00:00Z") from None
        if not EARLIEST_YEAR < moment.year < LATEST_YEAR:  # in any time zone, PostgreSQL and Python can both write it
            raise ValueError(f"give a time between the years {EARLIEST_YEAR} and {LATEST_YEAR}")
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_parse_time, json_schema_input_type=str)]


class Model(BaseModel):
    """Strict: no unknown fields, no conversion of a string into a number."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def invalid(fields: tuple[FieldError, ...]) -> Unprocessable:
    """The error for wrong values, with a first sentence that stands alone."""
    first = fields[0]
    more = f" (and {len(fields) - 1} more, see errors)" if len(fields) > 1 else ""
    return Unprocessable("invalid_value", f"{first.path or 'The body'}: {first.message}{more}", fields)


def pydantic_fields(error: ValidationError, document: Any = None) -> tuple[FieldError, ...]:
    """Pydantic's findings as ours; at most 20, and never the value itself (it may be somebody's secret).

    :param document: what was checked. With it a place names the document's own fields only: without it, also which of the
        forms that a value may have was tried.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)[:20]
    places = [_within(item["loc"], document, item["type"] == "missing") or item["loc"] for item in found]
    return tuple(
        FieldError("".join(f"/{part}" for part in place), item["msg"])
        for place, item in zip(places, found, strict=True)
    )


def _within(place: Sequence[int | str], here: Any, missing: bool) -> list[int | str]:
    """A place without the parts that the document does not have, but for the field that is missing at its end.

    Of several readings, where a form is called as a field is, the longest, and one that ends with the missing field.
    """
    if not place:
        return []
    part, rest = place[0], place[1:]
    readings = [_within(rest, here, missing)]
    if part == "[key]" or (missing and not rest and isinstance(here, Mapping)):
        readings.append([part])
    elif part in (here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()):
        readings.append([part, *_within(rest, here[part], missing)])
    return max(readings, key=lambda kept: (missing and kept[-1:] == list(place[-1:]), len(kept)))
