"""How numbers, times and names look on every page. Times are those of the reader's clock: see ``zone``."""

import json
import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from flask import Flask, g, has_app_context
from markupsafe import Markup

from app.foundation.formats.typed_values import kind_of
from app.foundation.times import iso
from app.foundation.words import WHOLE_NUMBERS

MINUS = "\N{MINUS SIGN}"
NO_VALUE = "\N{EM DASH}"
SMALLEST = 0.0001  # smaller numbers and p-values are shown as below it
MOST_LIFT = 10.0  # larger relative changes are shown as above it: their control is next to nothing
MOST_DIGITS = 4  # decimals of a column
TWO_DIGITS_P = 0.1  # and from here on two decimals are enough


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading: so many significant digits, thousands apart; whole numbers as they are."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    if value == int(value) and abs(value) < WHOLE_NUMBERS:
        text = f"{int(value):,}"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    elif abs(value) < SMALLEST:
        return f"<{SMALLEST}" if value > 0 else f">{MINUS}{SMALLEST}"
    else:
        text = f"{value:.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}"
    return text.replace("-", MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """A difference: with its sign."""
    text = number(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 and text[0] != "<" else text


def fixed(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number with so many decimals, thousands apart; as an axis or a column needs it."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    text = (
        f"{value:+,.{digits}f}"
        if sign and round(value, digits)
        else f"{abs(value) if not round(value, digits) else value:,.{digits}f}"
    )
    return text.replace("-", MINUS)


def decimals(values: Iterable[float | None], digits: int = 3) -> int:
    """The decimals of a column: as many as its largest value needs for so many significant digits, 4 at most."""
    sizes = [abs(value) for value in values if value is not None and math.isfinite(value)]
    if not sizes or all(size == int(size) for size in sizes):
        return 0
    return min(MOST_DIGITS, max(0, digits - 1 - math.floor(math.log10(max(sizes)))))


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    if value is None or not math.isfinite(value):
        return NO_VALUE
    return f"{value * 100:.{digits}f}%".replace("-", MINUS)


def signed_percent(value: float | None, digits: int = 1) -> str:
    """A relative change as a percentage with its sign; no more than that it is above +1,000%."""
    if value is not None and math.isfinite(value) and value > MOST_LIFT:
        return f"over +{MOST_LIFT:,.0%}"
    text = percent(value, digits)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def p_value(value: float | None) -> str:
    """A p-value; below a ten-thousandth only that it is."""
    if value is None:
        return NO_VALUE
    if value < SMALLEST:
        return f"<{SMALLEST}"
    return f"{value:.2g}" if value < TWO_DIGITS_P else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Seconds in the unit that people would use."""
    if seconds is None:
        return NO_VALUE
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if abs(seconds) >= 1.5 * size or (abs(seconds) >= size and seconds % size == 0):
            count = seconds / size
            text = f"{count:.0f}" if count >= 10 or count == int(count) else f"{count:.1f}"
            return f"{text} {name}{'' if text == '1' else 's'}"
    return f"{seconds:.0f} second{'' if round(seconds) == 1 else 's'}"


def moment(value: Any) -> datetime | None:
    """A time given as such or as ISO 8601 text."""
    if value is None or value == "":
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def zone() -> ZoneInfo:
    """The time zone of the reader: chosen by the person, or that of the browser; UTC where neither is known."""
    known: ZoneInfo | None = g.get("zone") if has_app_context() else None
    return known or ZoneInfo("UTC")


def local(at: datetime) -> str:
    """A time on the reader's clock, to the second, with its zone."""
    return at.astimezone(zone()).strftime("%Y-%m-%d %H:%M:%S %Z")


def when(value: Any) -> Markup:
    """A time on the reader's clock to the second, machine-readable."""
    at = moment(value)
    if at is None:
        return Markup(NO_VALUE)  # noqa: S704 - a constant
    return Markup('<time datetime="{}">{}</time>').format(iso(at.astimezone(UTC)), local(at))


def ago(value: Any, now: datetime | None = None) -> Markup:
    """How long ago, with the exact time behind it."""
    at = moment(value)
    if at is None:
        return Markup(NO_VALUE)  # noqa: S704 - a constant
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    words = "just now" if seconds < 2 else f"{duration(seconds)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at.astimezone(UTC)), local(at), words)


class Ends(Protocol):
    """An interval as documents have it."""

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...

    @property
    def reason(self) -> str: ...


def interval(ends: Ends | None, style: str | Callable[[float | None], str] = "number") -> str:
    """An interval as "low to high", or why there is none.

    :param style: number, signed, percent or signed_percent; or how one of its ends is written.
    """
    if ends is None:
        return NO_VALUE
    if ends.low is None and ends.high is None:
        return ends.reason or NO_VALUE
    styles = {"number": number, "signed": signed, "percent": percent, "signed_percent": signed_percent}
    write = styles[style] if isinstance(style, str) else style
    if ends.low is None:
        return f"at most {write(ends.high)}"
    if ends.high is None:
        return f"at least {write(ends.low)}"
    return f"{write(ends.low)} to {write(ends.high)}"


def plural(count: int, singular: str, plural_form: str = "") -> str:
    """A count with its noun."""
    return f"{number(count)} {singular if count == 1 else plural_form or singular + 's'}"


def clipped(text: str, most: int = 80) -> str:
    """A text that somebody wrote, cut to so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def json_text(document: object) -> str:
    """A document as JSON for reading."""
    return json.dumps(document, indent=2, ensure_ascii=False, default=str)


def install(app: Flask) -> None:
    """Make them filters of every template."""
    for name, function in (
        ("num", number),
        ("signed", signed),
        ("percent", percent),
        ("signed_percent", signed_percent),
        ("p_value", p_value),
        ("duration", duration),
        ("when", when),
        ("ago", ago),
        ("interval", interval),
        ("plural", plural),
        ("json_text", json_text),
        ("value_kind", kind_of),
    ):
        app.jinja_env.filters[name] = function
