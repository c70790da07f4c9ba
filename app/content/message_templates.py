"""Messages from templates: Liquid with limits, checked when they are saved, rendered before the draw.

Users' templates are never evaluated as code: no tag reads a file, no filter reaches an object; loops, output and work have limits
(``template_limits``).
A placeholder without value or default raises. The caller then leaves the variant out for this person and reports why.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from babel import Locale, UnknownLocaleError
from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.exceptions import LiquidError, ResourceLimitError, UndefinedError
from pydantic import JsonValue

from app.content.message_config import PARTS, MessageTemplate, VariableSpec
from app.content.reasons import Reason
from app.content.template_limits import FILTERS, LimitedTemplate, check_expressions, check_source
from app.foundation.errors import FieldError
from app.foundation.words import Params

Value = str | int | float | bool
Wrong = tuple[str, Params]  # a code, and the parameters of its sentence
TAGS: Final = (
    "assign",
    "case",
    "comment",
    "for",
    "if",
    "unless",
    "#",
    "break",
    "continue",
    "illegal",
    "content",
    "output",
)
LIMITS: Final = {  # characters of a rendered part, by channel
    "in_app": {"title": 200, "body": 4000, "call_to_action": 60},
    "push": {"title": 65, "body": 240, "call_to_action": 30},
    "email": {"title": 150, "body": 20_000, "call_to_action": 60},
    "sms": {"title": 0, "body": 480, "call_to_action": 0},
}


class Rendered(NamedTuple):
    """A message as a person gets it."""

    locale: str
    channel: str
    title: str
    body: str
    call_to_action: str


class NotFor(Exception):
    """A template has no message for this person; ``reason`` says why."""

    def __init__(self, code: str, /, **params: JsonValue) -> None:
        self.reason = Reason(code, params)
        super().__init__(self.reason.words)


class _Missing(FalsyStrictUndefined):
    """A placeholder without value: false in conditions, replaced by ``default``, an error when it is printed."""

    force_liquid_default = True


class _Environment(Environment):
    loop_iteration_limit = 200
    output_stream_limit = 30_000
    local_namespace_limit = 20_000
    context_depth_limit = 10
    template_class = LimitedTemplate


@lru_cache(maxsize=500)
def _environment(locale: str) -> Environment:
    environment = _Environment(undefined=_Missing)
    for name in [name for name in environment.tags if name not in TAGS]:
        del environment.tags[name]
    for name in [name for name in environment.filters if name not in FILTERS]:
        del environment.filters[name]
    rule = Locale.parse(locale, sep="-").plural_form

    def plural(count: Any, **forms: object) -> Any:
        """{{ n | plural: one: "lesson", other: "lessons" }}, by the rules of the message's language."""
        if isinstance(count, bool) or not isinstance(count, int | float):
            raise NotFor("plural_without_number")
        return forms.get(rule(abs(count)), forms.get("other", ""))

    environment.add_filter("plural", plural)
    return environment


def problems(template: MessageTemplate, variables: Sequence[VariableSpec], pointer: str) -> list[FieldError]:
    """Return the errors of a template, with pointers: syntax, unknown placeholders, missing defaults, lengths.

    :param pointer: JSON pointer to the template.
    """
    errors: list[FieldError] = []
    for locale, text in template.texts.items():
        for part in PARTS:
            source, here = getattr(text, part), f"{pointer}/texts/{locale}/{part}"
            wrong = text_problem(template.channel, locale, part, source, variables)
            errors += [FieldError(here, *wrong)] if wrong else []
    return errors


def text_problem(channel: str, locale: str, part: str, source: str, variables: Sequence[VariableSpec]) -> Wrong | None:
    """Return the error of a text for a part of a message; null when it has none."""
    declared = tuple(
        (variable.name, type(variable.sample).__name__, variable.sample, variable.required) for variable in variables
    )
    return _text_problem(channel, locale, part, source, declared)


@lru_cache(maxsize=8_000)
def _text_problem(
    channel: str, locale: str, part: str, source: str, declared: tuple[tuple[str, str, Value, bool], ...]
) -> Wrong | None:
    """Check a text. Cached, because opening a draft checks all of its messages, up to a thousand, again.

    :param declared: (name, type, sample, required) of each variable; the type distinguishes 1 from true in the cache.
    """
    samples = {name: sample for name, _, sample, _ in declared}
    optional = [name for name, _, _, required in declared if not required]
    return _syntax(locale, source, samples) or _behaviour(channel, locale, part, source, samples, optional)


def _syntax(locale: str, source: str, samples: Mapping[str, Value]) -> Wrong | None:
    try:
        used = _parsed(locale, source).analyze().globals
    except UnknownLocaleError:
        return "text_language", {"locale": locale}
    except (LiquidError, ValueError) as error:
        return "text_syntax", {"reason": _words(error)}
    for name, occurrences in used.items():
        if name not in samples:
            line = source.count("\n", 0, occurrences[0].span.index) + 1
            return "text_unknown_variable", {"line": line, "name": name, "known": [*samples]}
    return None


def _behaviour(
    channel: str, locale: str, part: str, source: str, samples: Mapping[str, Value], optional: list[str]
) -> Wrong | None:
    """Render with the samples, without each optional variable, and without all of them."""
    for missing in ([], *([name] for name in optional), optional):
        values = {name: value for name, value in samples.items() if name not in missing}
        try:
            checked_length(channel, part, _render(locale, source, values))
        except UndefinedError as error:
            name = str(error).partition(" is undefined")[0]
            return "text_no_default", {"name": name.strip("'")}
        except (LiquidError, NotFor) as error:
            return "text_sample", {"reason": _words(error)}
    return None


def render(template: MessageTemplate, locale: str, given: Mapping[str, Any]) -> Rendered:
    """Render the message for a person.

    :param given: values of variables; null and empty values count as missing.
    :raises NotFor: a placeholder has neither value nor default, or the message is too long.
    """
    values = {name: value for name, value in given.items() if value is not None and value != ""}
    chosen = choose_locale(list(template.texts), locale)
    text = template.texts[chosen]
    parts = {part: render_part(chosen, part, getattr(text, part), values) for part in PARTS}
    parts = {part: checked_length(template.channel, part, text) for part, text in parts.items()}
    return Rendered(chosen, template.channel, **parts)


def render_part(locale: str, part: str, source: str, values: Mapping[str, Any]) -> str:
    """Render a part of a message, of any length.

    :param values: of variables, without those that count as missing.
    :raises NotFor: a placeholder has neither value nor default, or the text cannot be rendered.
    """
    try:
        return _render(locale, source, values)
    except UndefinedError as error:
        raise NotFor("missing_variable", name=str(error).partition(" is undefined")[0]) from None
    except LiquidError as error:
        raise NotFor("not_rendered", place=part, problem=_words(error)) from None


def choose_locale(offered: list[str], wanted: str) -> str:
    """Choose the wanted locale, its language, another region of the language, or the first locale offered."""
    language = wanted.partition("-")[0].lower()
    ranked = [locale for locale in offered if locale.lower() == wanted.lower()]
    ranked += [locale for locale in offered if locale.lower() == language]
    ranked += [locale for locale in offered if locale.partition("-")[0].lower() == language]
    return (ranked or offered)[0]


@lru_cache(maxsize=20_000)
def _compiled(locale: str, source: str) -> BoundTemplate:
    return _parsed(locale, source)


def _parsed(locale: str, source: str) -> BoundTemplate:
    check_source(source)
    template = _environment(locale).from_string(source)
    check_expressions(template)
    return template


def _render(locale: str, source: str, values: Mapping[str, Any]) -> str:
    if "{" not in source:
        return source
    return str(_compiled(locale, source).render(**values)).strip()


def checked_length(channel: str, part: str, text: str) -> str:
    """Return the text of a part.

    :raises NotFor: the text is longer than the channel allows.
    """
    most = LIMITS[channel][part]
    if len(text) > most:
        raise NotFor("too_long", place=part, length=len(text), channel=channel, limit=most)
    return text


def _words(error: Exception) -> str:
    """Return the first line of an error. The library's text continues with an excerpt of the source."""
    if isinstance(error, ResourceLimitError):
        return f"it is too large to render ({str(error).splitlines()[0]})"
    token = getattr(error, "token", None)
    line = token.source.count("\n", 0, token.start_index) + 1 if token is not None and token.start_index >= 0 else None
    return (f"line {line}: " if line else "") + str(error).splitlines()[0]
