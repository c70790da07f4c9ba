"""Templates: what is refused at saving with its place, what is rendered, and what leaves a variant out for a person."""

from typing import Any

import pytest

from app.content.message_config import MessageTemplate, VariableSpec
from app.content.message_templates import NotFor, choose_locale, render, text_problem
from app.design.definition_rules import parse_config
from app.foundation.errors import Unprocessable
from tests.service import definition

VARIABLES = [
    {"name": "user_name", "sample": "Ada"},
    {"name": "progress_percentage", "sample": 40, "required": True},
    {"name": "lessons", "sample": 3, "required": True},
]


def template(body: str, locale: str = "en", **more: Any) -> MessageTemplate:
    return MessageTemplate.model_validate({"texts": {locale: {"body": body, **more.pop("text", {})}}, **more})


def said(body: str, locale: str = "en", **values: Any) -> str:
    return render(template(body, locale), locale, values).body


def refused(body: str, **more: Any) -> str:
    """What is said when an experiment with this template is saved."""
    actions = [{"id": "a", "template": {"texts": {"en": {"body": body}}, **more}}]
    with pytest.raises(Unprocessable) as caught:
        parse_config(definition("x", actions=actions, variables=VARIABLES))
    (field,) = caught.value.fields
    assert field.path == "/actions/0/template/texts/en/body"
    return field.message


def test_placeholders_defaults_conditions_and_plural_forms() -> None:
    assert (
        said("Hi {{user_name}}, {{ progress_percentage }}% done", user_name="Ada", progress_percentage=40)
        == "Hi Ada, 40% done"
    )
    assert said('Hi {{user_name | default: "there"}}') == "Hi there"
    assert said("{% if user_name %}Hi {{user_name}}{% else %}Hello{% endif %}") == "Hello"
    assert (
        said("{% if progress_percentage > 50 %}more{% else %}less{% endif %} than half", progress_percentage=51)
        == "more than half"
    )
    plural = '{{ lessons }} {{ lessons | plural: one: "lesson", other: "lessons" }}'
    assert [said(plural, lessons=n) for n in (0, 1, 2)] == ["0 lessons", "1 lesson", "2 lessons"]
    polish = '{{ n }} {{ n | plural: one: "lekcja", few: "lekcje", many: "lekcji", other: "lekcji" }}'
    assert [said(polish, "pl", n=n) for n in (1, 2, 5, 22)] == ["1 lekcja", "2 lekcje", "5 lekcji", "22 lekcje"]


@pytest.mark.parametrize("value", [None, ""])
def test_a_placeholder_without_value_or_default_leaves_the_variant_out(value: Any) -> None:
    with pytest.raises(NotFor) as caught:
        said("Hi {{user_name}}", user_name=value)
    assert str(caught.value) == "placeholder 'user_name' has no value"


def test_zero_and_false_are_values() -> None:
    assert said("{{n}} {{b}}", n=0, b=False) == "0 false"


def test_values_are_never_evaluated() -> None:
    evil = "{{ progress_percentage }}{% include 'x' %}<script>"
    assert said("Hi {{user_name}}", user_name=evil, progress_percentage=1) == f"Hi {evil}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("{{ config }}", "line 1: 'config' is not a declared variable; declared are user_name, progress_percentage"),
        ("one\n\n{{ secret.key }}", "line 3: 'secret' is not a declared variable"),
        ("{% include 'x' %}", "unexpected tag 'include'"),
        ("{% render 'x' %}", "unexpected tag 'render'"),
        ("{% liquid echo 1 %}", "unexpected tag 'liquid'"),
        ("Hi {{ lessons", "expected '}}'"),
        ("{{ lessons | system }}", "unknown filter 'system'"),
        ("{% if %}x{% endif %}", "line 1: missing expression"),
        ("{% for i in (1..1000000) %}x{% endfor %}", "too large to render"),
        ("{% for i in (1..150) %}{% for j in (1..150) %}x{% endfor %}{% endfor %}", "too large to render"),
        ("Hi {{ user_name }}", "'user_name' may be missing and has no default"),
        ("{% if lessons > 1 %}{{ user_name }}{% endif %}", "'user_name' may be missing and has no default"),
        ("x" * 4001, "the body has 4001 characters, in_app takes 4000"),
        ('{{ user_name | plural: one: "a", other: "b" }}', "a plural form needs a number"),
    ],
)  # fmt: skip
def test_an_invalid_template_is_refused_and_the_error_names_the_field(body: str, words: str) -> None:
    assert words in refused(body)


def test_texts_longer_than_the_channel_allows_are_refused() -> None:
    assert "push takes 240" in refused("x" * 241, channel="push")
    parse_config(definition("x", actions=[{"id": "a", "template": {"texts": {"en": {"body": "x" * 241}}}}]))
    with pytest.raises(NotFor, match="the body has 300 characters, push takes 240"):
        render(template("{{ user_name }}", channel="push"), "en", {"user_name": "x" * 300})


def test_an_unknown_language_is_refused() -> None:
    actions = [{"id": "a", "template": {"texts": {"xx": {"body": "{{ lessons }}"}}}}]
    with pytest.raises(Unprocessable, match="'xx' is not a language"):
        parse_config(definition("x", actions=actions, variables=VARIABLES))


def test_the_nearest_language_is_chosen() -> None:
    offered = ["en", "de", "de-AT", "pt-BR"]
    wanted = {"de-AT": "de-AT", "de-CH": "de", "DE": "de", "pt": "pt-BR", "fr": "en", "en-GB": "en"}
    assert {locale: choose_locale(offered, locale) for locale in wanted} == wanted


def test_a_variable_that_is_declared_twice_is_refused() -> None:
    with pytest.raises(Unprocessable, match="another variable has this name"):
        parse_config(definition("x", variables=[VARIABLES[0], VARIABLES[0]]))


def test_the_cached_check_of_a_text_distinguishes_the_types_of_samples() -> None:
    source = '{{ lessons | plural: one: "lesson", other: "lessons" }}'
    for sample, wrong in ((1, False), (True, True), (1.0, False), ("1", True)):
        known = [VariableSpec(name="lessons", sample=sample, required=True)]
        assert bool(text_problem("push", "en", "body", source, known)) is wrong, sample
