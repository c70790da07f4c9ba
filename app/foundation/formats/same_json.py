"""When two JSON values are the same: one rule for retries, ids made from content, and unchanged definitions.

Numbers are the same if they are equal: 1, 1.0 and 1e0, and 0 and -0.0, because writers of JSON do not keep such forms apart.
The order of the keys of an object does not matter. true is not 1, and texts are the same only character by character: two
ways to compose the letter é are two texts, as they are two units.
"""

import re
from typing import Final

import orjson
from pydantic import JsonValue

from app.foundation.fields import Json

# So ends a float without a fraction, and so looks one with an exponent; some texts do, too.
_MAYBE_WHOLE: Final = re.compile(rb"\.0[,\]}]|\.0\Z|[0-9]e[+]?[0-9]")
_LARGEST: Final = 2**63  # whole numbers from here on are written as floats


def canonical(value: Json) -> bytes:
    """Return the JSON text that all values have which are the same as this one."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS) if _MAYBE_WHOLE.search(text) else text


def same(one: Json, other: Json) -> bool:
    """Whether two JSON values are the same."""
    return canonical(one) == canonical(other)


def _plain(value: JsonValue) -> JsonValue:
    """The same JSON with whole numbers written as such."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _LARGEST else value
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
