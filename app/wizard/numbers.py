"""Typed texts as numbers, durations and JSON, and the other way round; a text that is none becomes the mistake of its field."""

from decimal import Decimal, InvalidOperation
from typing import Any

from app.foundation.documents import read_json
from app.foundation.pages.typed import NOT_A_NUMBER, UNITS

Problems = dict[str, dict[str, str]]  # {step: {field: sentence}}


class Reader:
    """Reads the texts of one step and keeps what is wrong with them."""

    def __init__(self, problems: Problems, step: str) -> None:
        self._problems = problems[step]

    def number(self, text: str, field: str, times: Decimal | int = 1, *, needed: str = "") -> float | None:
        """A typed number in another unit; null when it is empty or none.

        :param needed: what to say when it is empty.
        """
        text = text.strip().removesuffix("%").strip().replace("\N{MINUS SIGN}", "-")
        if not text:
            if needed:
                self.wrong(field, needed)
            return None
        try:
            found = float(Decimal(text) * times)
        except (InvalidOperation, OverflowError):
            found = float("nan")
        if not abs(found) < float("inf"):
            self.wrong(field, NOT_A_NUMBER)
            return None
        return found

    def json(self, text: str, field: str) -> Any:
        """A typed JSON document; null when it is empty or none."""
        if not text.strip():
            return None
        found, problem = read_json(text)
        if problem:
            self.wrong(field, f"{problem[0].upper()}{problem[1:]}.")
        return found

    def wrong(self, field: str, message: str) -> None:
        """Note a mistake."""
        self._problems.setdefault(field, message)


def seconds(
    row: dict[str, Any], name: str, reader: Reader, unit: str, *, prefix: str = "", needed: str = ""
) -> float | None:
    """A duration of a number and its unit, in seconds.

    :param unit: the field that holds the unit.
    """
    return reader.number(row[name], f"{prefix}{name}", UNITS.get(row[unit], 1), needed=needed)


def given(**values: Any) -> dict[str, Any]:
    """Only what was typed."""
    return {name: value for name, value in values.items() if value is not None}


def whole(value: float | None) -> int | float | None:
    """A whole number as such."""
    return int(value) if value is not None and value == int(value) else value
