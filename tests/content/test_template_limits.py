"""What a template may cost: hostile sources are refused when they are saved, and cost a person nothing when they are not."""

import time
import tracemalloc

import pytest

from app.content.message_config import MessageTemplate, VariableSpec
from app.content.message_templates import NotFor, render, text_problem
from app.content.template_limits import FILTERS, MOST_CHARACTERS

VARIABLES = [
    VariableSpec(name="text", sample="x" * 2000, required=True),
    VariableSpec(name="number", sample=10**15, required=True),
]
MOST_S = 1.0  # the worst of them takes 0.4 s on a quiet machine; without the limits seconds, or the whole memory
MOST_BYTES = 30_000_000


def _filled(piece: str) -> str:
    return piece * (20_000 // len(piece))


HOSTILE = {
    "replace": "{{ 'x' " + "| replace: 'x', 'xxxxxxxxxx' " * 11 + "}}",
    "replace nothing": "{{ text | replace: '', text | replace: '', text }}",
    "append to itself": "{% assign b = text %}" + "{% assign b = b | append: b %}" * 30 + "{{ b }}",
    "append and forget": ("{{ text " + "| append: text" * 8 + "| size }}") * 150,
    "split and join": "{{ text | split: '' " + "| join: text | split: '' " * 50 + "| size }}",
    "sort and uniq": "{% assign b = text | split: '' %}" + "{% assign c = b | sort | uniq | reverse %}" * 400,
    "line breaks": "{{ text | replace: 'x', '\n' " + "| newline_to_br" * 100 + "}}",
    "large numbers": "{{ number " + "| times: number " * 100 + "}}",
    "loop over filters": "{% for i in (1..200) %}" + "{% assign b = text | upcase %}" * 400 + "{% endfor %}",
    "loop over nothing": "{% for i in (1..200) %}" + "{% if 1 == 2 %}{% endif %}" * 700 + "{% endfor %}",
    "loop after loop": "{% for i in (1..200) %}{% endfor %}" * 540,
    "loop in loop": "{% for i in (1..14) %}{% for j in (1..14) %}" + "{% if 1 %}{% endif %}" * 900 + "{% endfor %}" * 2,
    "range": "{{ (1..99999999999) | join: 'x' | size }}",
    "range that is kept": "{% assign r = (1..99999999) %}{% if r contains 'x' %}{% endif %}",
    "range in a condition": "{% if (1..99999999) contains 'x' %}{% endif %}",
    "many outputs": _filled("{{ number }}"),
    "open outputs": _filled("{{"),
    "open tags": _filled("{%"),
    "blanks": _filled("{{" + " " * 1900 + "text}}"),
    "raw": _filled("{% raw %}"),
    "doc": _filled("{% doc %}"),
    "comments": _filled("{% comment %}"),
    "nested blocks": "{% if number %}" * 700 + "{% endif %}" * 700,
    "nested indexes": "{{ text" + "[number" * 240 + "]" * 240 + " }}",
    "nested brackets": "{{ " + "(" * 900 + "number }}",
    "long condition": "{% if " + "number and " * 170 + "number %}x{% endif %}",
    "a date of anything": "{{ text | date: text }}",
    "a date out of range": "{{ '9999999999999999999999' | date: '%c' }}",
    "infinity": "{{ '1e400' | times: 1 | round }}",
    "a filter that is not listed": "{{ text | base64_encode }}",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_in_time_and_in_little_memory(name: str) -> None:
    source = HOSTILE[name][:20_000]  # as long as a body may be
    tracemalloc.start()
    began = time.perf_counter()
    try:
        wrong = text_problem("email", "en", "body", source, VARIABLES)
        took_s, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert wrong is not None
    assert wrong[0] in ("text_syntax", "text_sample")
    assert took_s < MOST_S * 5, took_s  # memory is traced, which makes everything slow
    assert peak < MOST_BYTES


@pytest.mark.parametrize("name", HOSTILE)
def test_one_that_was_stored_before_costs_a_decision_no_more(name: str) -> None:
    template = MessageTemplate.model_validate({"channel": "email", "texts": {"en": {"body": HOSTILE[name][:20_000]}}})
    began = time.perf_counter()
    with pytest.raises(NotFor):
        render(template, "en", {"text": "x" * 100_000, "number": 10**15})
    assert time.perf_counter() - began < MOST_S


HARMLESS = {
    "{{ text | split: ' ' | first | capitalize }}": "Ada",
    "{{ text | truncate: 6 }}": "ada...",
    "{{ text | replace: 'ada', 'Ada' | append: '!' | upcase }}": "ADA LOVELACE!",
    "{{ number | times: 3 | divided_by: 2 | plus: 1 }}": "64",
    "{{ '2026-11-28' | date: '%d.%m.%Y' }}": "28.11.2026",
    "{% for i in (1..3) %}{{ i }}{% endfor %}": "123",
    "{% assign parts = text | split: ' ' %}{% for part in parts %}{{ part | size }} {% endfor %}": "3 8",
    "{% raw %}{{ text }}{% endraw %}": "{{ text }}",
    "{{ '{{' }}{{ number }}": None,  # braces in braces were never needed, and are refused
    "{% if number > 40 and number < 50 or text == 'x' %}yes{% endif %}": "yes",
}


@pytest.mark.parametrize("source", HARMLESS)
def test_what_messages_need_still_works(source: str) -> None:
    template = MessageTemplate.model_validate({"texts": {"en": {"body": source}}})
    if HARMLESS[source] is None:
        with pytest.raises(NotFor, match="expected '}}'"):
            render(template, "en", {"text": "ada lovelace", "number": 42})
    else:
        assert render(template, "en", {"text": "ada lovelace", "number": 42}).body == HARMLESS[source]


def test_a_loop_may_run_over_a_long_text() -> None:
    """The budget is above what the longest message needs: a body of 4,000 characters, and a list of fifty."""
    source = "{% for i in (1..50) %}{{ i }}: {{ text | upcase | truncate: 9 }}\n{% endfor %}" + "x" * 3000
    template = MessageTemplate.model_validate({"channel": "email", "texts": {"en": {"body": source}}})
    assert len(render(template, "en", {"text": "something or other"}).body) < MOST_CHARACTERS


def test_every_listed_filter_exists() -> None:
    for name in FILTERS:
        wrong = text_problem("email", "en", "body", "{{ number | " + name + " }}", VARIABLES)
        assert wrong is None or "unknown filter" not in str(wrong), name
