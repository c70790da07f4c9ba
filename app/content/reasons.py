"""Reasons why an action is not eligible for a unit. Codes with parameters are logged, and turned into words to be shown."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pydantic import JsonValue

Params = Mapping[str, JsonValue]
Words = str | Callable[[Params], str]


class Reason(NamedTuple):
    """A reason why an action is not eligible."""

    code: str  # a key of WORDS
    params: dict[str, JsonValue]

    @property
    def words(self) -> str:
        """The reason in words."""
        return words(self.code, self.params)


def _cap(params: Params) -> str:
    limit, channel = params["limit"], params["channel"]
    what = f"{channel} message" if channel else "message"
    scope = {
        "action": "of this action",
        "experiment": "of this experiment",
        "platform": "of all experiments",
    }[str(params["scope"])]
    return f"cap: at most {limit} {what}{'' if limit == 1 else 's'} {scope} in {params['window_s']:g} s"


def _part(params: Params) -> str:
    return f"{params['slot']}={params['part']}: {words(str(params['code']), params)}"


WORDS: Mapping[str, Words] = {
    "excluded": "excluded",
    "earlier_position": "shown at position {position}",
    "later_slot": "kept for slot {slot}",
    "muted": "not interested",
    "no_consent": "no consent to messages",
    "quiet_hours": "quiet hours",
    "min_distance": "another message within {min_distance_s:g} s",
    "cap": _cap,
    "in_a_row": "the last {limit} were of {group} ({by})",
    "group_cap": "cap: {seen} of at most {limit} of {group} ({by}) in {window_s:g} s",
    "other_channel": "its channel is {channel}",
    "missing_variable": "placeholder {name} has no value",
    "plural_without_number": "a plural form needs a number",
    "not_rendered": "the {place} cannot be rendered: {problem}",
    "too_long": "the {place} has {length} characters, {channel} takes {limit}",
    "empty_body": "the body is empty",
    "of_part": _part,
}


def words(code: str, params: Params) -> str:
    """Turn a logged code and its parameters into words.

    :raises KeyError: the code is unknown, or a parameter is missing.
    """
    template = WORDS[code]
    return template.format(**params) if isinstance(template, str) else template(params)
