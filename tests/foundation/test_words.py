"""Each code of a wrong value has its words, each has a use, and each gets the parameters that its words name."""

import ast
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import AwareDatetime, Field, JsonValue, ValidationError

from app.foundation.codes import WORDS
from app.foundation.errors import FieldError
from app.foundation.fields import Id, Key, Model, pydantic_fields
from app.foundation.words import api_sentence, page_sentence

ROOT = Path(__file__).parents[2]
SOURCES = [path for name in ("app", "bandits") for path in sorted((ROOT / name).rglob("*.py"))]
# The functions that take a code, and its position; the parameters follow it.
TAKES_CODE = {
    "FieldError": 1,
    "Problem": 1,
    "wrong": 0,
    "shaped": 1,
    "FeatureError": 1,
    "TooMany": 0,
    "_needed": 2,
    "_one": 1,
}
GIVES_PARAMS = {"FieldError": 2, "Problem": 2, "wrong": 1}


class Given(NamedTuple):
    """A code that the source gives, with the names of its parameters; null: they are not written there."""

    where: str
    code: str
    params: set[str] | None


def given() -> Iterator[Given]:
    """Every code that is written out where an error is made."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        for scope in ast.walk(tree):
            if not isinstance(scope, ast.FunctionDef | ast.Module):
                continue
            dictionaries = {
                name.id: node.value
                for node in ast.walk(scope)
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
                for name in node.targets
                if isinstance(name, ast.Name)
            }
            for node in ast.walk(scope):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TAKES_CODE:
                    if isinstance(scope, ast.Module) and node.func.id in GIVES_PARAMS:
                        continue  # seen with its function
                    position = TAKES_CODE[node.func.id]
                    if len(node.args) > position and isinstance(node.args[position], ast.Constant):
                        yield Given(f"{path}:{node.lineno}", node.args[position].value, _params(node, dictionaries))


def _params(node: ast.Call, dictionaries: dict[str, ast.Dict]) -> set[str] | None:
    params_at = GIVES_PARAMS.get(node.func.id)  # type: ignore[attr-defined]
    if params_at is None:
        return None
    if len(node.args) <= params_at:
        return set()
    params = node.args[params_at]
    params = dictionaries.get(params.id, params) if isinstance(params, ast.Name) else params
    return {key.value for key in params.keys} if isinstance(params, ast.Dict) else None  # type: ignore[union-attr]


def names_of(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


def test_every_code_that_the_source_gives_has_words_and_gets_the_parameters_that_they_name() -> None:
    known = list(given())
    assert len(known) > 120
    for use in known:
        assert use.code in WORDS, use
        if use.params is not None:
            words = WORDS[use.code]
            assert names_of(words.api) | names_of(words.page) <= use.params, use


def test_every_code_in_the_table_is_used() -> None:
    table = {ROOT / "app/foundation/codes.py", *(ROOT / "app/foundation/wording").glob("*.py")}
    texts = {
        node.value
        for path in SOURCES
        if path not in table
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(WORDS) <= texts, set(WORDS) - texts


def test_an_unknown_code_and_a_missing_parameter_are_errors() -> None:
    with pytest.raises(KeyError):
        api_sentence("no_such_code", {})
    with pytest.raises(KeyError):
        page_sentence("too_small", {})


class Shape(Model):
    whole: int = Field(default=5, ge=1, le=1000)
    number: float = Field(default=1, gt=0, lt=0.5)
    text: str = Field(default="", min_length=1, max_length=5)
    key: Key = "k"
    id: Id = "i"
    choice: Literal["a", "b"] = "a"
    flag: bool = True
    rows: list[int] = Field(default_factory=list, min_length=1, max_length=2)
    part: dict[str, int] = Field(default_factory=dict)
    at: AwareDatetime | None = None
    other: Annotated[str, Field(pattern="^x$")] = "x"


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("whole", 2.5, "not_a_whole_number", "Write a whole number, such as 5."),
        ("whole", "x", "not_a_whole_number", "Write a whole number, such as 5."),
        ("whole", 0, "too_small", "Give at least 1."),
        ("whole", 1001, "too_large", "Give at most 1,000."),
        ("number", "0.1", "not_a_number", "Write a number, such as 0.5."),
        ("number", float("nan"), "not_a_number", "Write a number, such as 0.5."),
        ("number", 0, "not_above", "Give more than 0."),
        ("number", 0.5, "not_below", "Give less than 0.5."),
        ("text", "", "empty", "Fill this in."),
        ("text", "123456", "too_long", "Keep it to 5 characters."),
        ("key", "a b", "key_shape", "Give letters, digits, dots, - or _ (at most 100), beginning with a letter or a"),
        ("id", "\u20ac" * 400, "id_too_long", "Give an id of at most 1,000 bytes in UTF-8."),
        ("choice", "c", "not_a_choice", "Give one of 'a' or 'b'."),
        ("flag", 1, "not_true_or_false", "Write yes or no."),
        ("rows", [], "no_items", "Add one."),
        ("rows", [1, 2, 3], "too_many", "Keep at most 2."),
        ("rows", {}, "not_a_list", "Give a list."),
        ("part", [], "not_an_object", "Give a JSON object"),
        ("at", "yesterday", "not_a_time", "Give a time as ISO 8601"),
        ("other", "y", "pattern", "This has characters that are not possible here."),
        ("unknown", 1, "unknown_field", "There is no such field; leave it out."),
    ],
)
def test_errors_of_pydantic_become_codes_with_their_limits(name: str, value: Any, code: str, words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Shape.model_validate({name: value})
    (problem,) = pydantic_fields(caught.value, {name: value})
    assert (problem.path, problem.code) == (f"/{name}", code)
    assert problem.on_page().startswith(words)
    assert problem.message and "{" not in problem.message.replace('{"', "")


@pytest.mark.parametrize(
    ("value", "words"), [(90.0, "90"), (1e6, "1,000,000"), (0.05, "0.05"), (float("inf"), "inf"), ([], "none")]
)
def test_numbers_and_lists_are_written_for_reading(value: JsonValue, words: str) -> None:
    problem = FieldError("/x", "unknown_arm", {"known": value})
    assert problem.message.endswith(f"give one of {words}")
