"""Contexts and actions in Vowpal Wabbit's text format. The format has no quoting, so names and values are escaped here.

How JSON becomes features (version 1). The version is logged with each decision, because old models and old logs keep
the meaning of their version:

| JSON                            | feature            | note                                                              |
|---------------------------------|--------------------|-------------------------------------------------------------------|
| `{"plan": "pro"}`               | `plan=pro`         | an indicator: 1 for this value, absent for every other            |
| `{"age": 31}`                   | `age:31`           | a number keeps its value                                          |
| `{"member": true}`              | `member==true`     | differs from the string "true"                                    |
| `{"user": {"city": "Rome"}}`    | `user/city=Rome`   | nesting becomes a path                                            |
| `{"tags": ["a", "b"]}`          | `tags/*=a tags/*=b`| strings of a list are a set: their order is ignored               |
| `{"cart": [{"sku": "x"}]}`      | `cart/*/sku=x`     | objects of a list too; equal numeric names add up                 |
| `{"v": [0.5, 2]}`               | `v/*0:0.5 v/*1:2`  | numbers, booleans and lists in a list go by position              |
| `{"x": null}`, `{}`, `[]`       | none               |                                                                   |
| an action's id                  | `=id`              | a feature of the action, so that equal features can still differ  |

A context or an action's features may also be a list of objects, as Azure Personalizer's clients send them. They are
encoded like a single object.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

ENCODING_VERSION: Final = 1
# VW computes in float32 and squares products of features: beyond this a model overflows or stops learning.
MAX_ABS: Final = 1e9

# VW's separators, this module's own separators, and every character that str.strip() or a terminal could remove.
_UNSAFE: Final = re.compile(r"[\s\x00-\x1f\x7f|:=%/*\ud800-\udfff]")

_TOP: Final = re.compile(r"[=:/]")  # what ends the name of a top-level field in a token

# Any: JSON that a caller sent. This module refuses every value that cannot be a feature.
Features = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class FeatureError(ValueError):
    """A feature that cannot be encoded: `path` is its JSON pointer, `code` says what is wrong, of type `kind` if that is it."""

    def __init__(self, path: str, code: str, kind: str = "") -> None:
        super().__init__(f"{path or '/'}: {code} {kind}".rstrip())
        self.path = path
        self.code = code
        self.params = {"type": kind} if kind else {}


def encode_context(context: Features) -> str:
    """One VW "shared" line, without newline. Raises `FeatureError` on numbers beyond 1e9, NaN and unknown types."""
    out = ["shared |c"]
    _encode_root(context, out)
    return " ".join(out)


def encode_action(action_id: str, features: Features | None = None) -> str:
    """One VW action line without label and newline, beginning with `|`. Raises `FeatureError` as `encode_context`."""
    try:
        out = ["|a =" + escape(action_id)]
    except UnicodeEncodeError:
        raise FeatureError("", "half_surrogate") from None
    if features is not None:
        _encode_root(features, out)
    return " ".join(out)


def drop_features(context: Features, off: Collection[str]) -> Features:
    """The context without the top-level names in `off`; the same object when `off` is empty."""
    if not off:
        return context
    if isinstance(context, Mapping):
        return {name: value for name, value in context.items() if name not in off}
    return [{name: value for name, value in part.items() if name not in off} for part in context]


def hide(shared_line: str, names: Collection[str]) -> str:
    """A context's line without some top-level fields: the line of `drop_features(context, names)`, to the byte."""
    if not names:
        return shared_line
    hidden = {escape(name) for name in names}
    head, *tokens = shared_line.split(" |c", 1)
    kept = [
        token for token in "".join(tokens).split(" ") if _TOP.split(token, maxsplit=1)[0] not in hidden or not token
    ]
    return f"{head} |c{' '.join(kept)}"


@lru_cache(maxsize=65536)
def escape(text: str) -> str:
    """Text as part of a feature name: separators, whitespace and control characters become %XX of their UTF-8 bytes.

    Different texts stay different. The empty text becomes a lone "%", because VW ignores empty names.
    """
    if text.isidentifier():
        return text
    return _UNSAFE.sub(_percent, text) if text else "%"


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode())


def _encode_root(features: object, out: list[str]) -> None:
    try:
        if isinstance(features, Mapping):
            _encode_object("", features, out)
            return
        if isinstance(features, (list, tuple)):
            for index, part in enumerate(features):
                if not isinstance(part, Mapping):
                    raise FeatureError(f"/{index}", "feature_list_items")
                _encode_object("", part, out)
            return
    except UnicodeEncodeError:
        raise FeatureError("", "half_surrogate") from None
    raise FeatureError("", "features_not_an_object", type(features).__name__)


def _encode_object(prefix: str, obj: Mapping[str, Any], out: list[str]) -> None:
    for key, value in obj.items():
        name = prefix + escape(key)
        # The two common types are handled inline: this loop takes most of a decision's encoding time.
        kind = type(value)
        if kind is str:
            out.append(f"{name}={escape(value)}")
        elif kind is float or kind is int:
            if not -MAX_ABS <= value <= MAX_ABS:
                raise _out_of_range(name, value)
            out.append(f"{name}:{value!r}")
        elif value is not None:
            _encode_other(name, value, out)


def _encode_other(name: str, value: object, out: list[str]) -> None:
    """Encodes a value under a complete name; `None` gives no feature."""
    if value is None:
        return
    if isinstance(value, bool):
        out.append(f"{name}=={'true' if value else 'false'}")
    elif isinstance(value, str):
        out.append(f"{name}={escape(value)}")
    elif isinstance(value, (int, float)):
        if not -MAX_ABS <= value <= MAX_ABS:
            raise _out_of_range(name, value)
        out.append(f"{name}:{value!r}")
    elif isinstance(value, Mapping):
        _encode_object(name + "/", value, out)
    elif isinstance(value, (list, tuple)):
        _encode_list(name + "/*", value, out)
    else:
        raise FeatureError(_pointer(name), "feature_type", type(value).__name__)


def _encode_list(name: str, values: Sequence[object], out: list[str]) -> None:
    for index, value in enumerate(values):
        if isinstance(value, str):
            out.append(f"{name}={escape(value)}")
        elif isinstance(value, Mapping):
            _encode_object(name + "/", value, out)
        else:
            _encode_other(f"{name}{index}", value, out)


def _out_of_range(name: str, value: float) -> FeatureError:
    if math.isnan(value):
        return FeatureError(_pointer(name), "feature_not_a_number")
    return FeatureError(_pointer(name), "feature_too_large")


def _pointer(name: str) -> str:
    """The JSON pointer (RFC 6901) of a feature name; a list's element is shown by its index or as "*"."""
    parts = re.sub(r"/\*(?=\d)", "/", name).split("/")
    return "".join("/" + _plain(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _plain(part: str) -> str:
    if part == "%":
        return ""
    return re.sub(
        r"(?:%[0-9A-F]{2})+",
        lambda match: bytes.fromhex(match.group().replace("%", "")).decode(),
        part,
    )
