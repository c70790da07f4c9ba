"""The faults that `make mutants` puts in are those that it says it does."""

import ast
from pathlib import Path

import pytest

from tests.mutants.core import CORE, EQUIVALENT, Target
from tests.mutants.operators import mutants

ROOT = Path(__file__).resolve().parents[2]


def _lines(code: str) -> set[str]:
    return {mutant.name.removeprefix("f: ") for mutant in mutants(f"def f(a, b, c):\n    {code}\n")} - {
        "def f(a, b, c):"
    }


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("return a < b", {"return a <= b", "return None"}),
        ("return a + 2", {"return a - 2", "return a + 3", "return a + 1", "return None"}),
        ("a = b and c > b", {"a = b or c > b", "a = not b and c > b", "a = b and c >= b"}),
        ("a = not b", {"a = b"}),
        ("a = min(b, -c)", {"a = max(b, -c)", "a = min(b, c)"}),
        ("a = True", {"a = False"}),
        ("a = 'word'", {"a = 'word_'"}),
        ("a = b'tag'", {"a = b'tag_'"}),
        ("raise ValueError('a sentence', f'{a} word')", set()),
        ("a.append(b)", {"delete a.append(b)"}),
        ("a.b = c", {"delete a.b = c"}),
        ("a += b", {"a -= b", "delete a += b"}),
        ("if a: b()", {"if not a:", "delete if a:", "delete b()"}),
        ("return None", set()),
    ],
)
def test_each_operator_makes_its_mutants(code: str, expected: set[str]) -> None:
    assert _lines(code) == expected


def test_docstrings_types_and_decorators_are_left_alone() -> None:
    source = '@cache\ndef f(a: "int", b: list[1] = c) -> "int | None":\n    """Words."""\n    d: Literal["x"]\n'
    assert list(mutants(source)) == []


def test_every_mutant_is_another_module_and_the_tree_is_whole_again_after_it() -> None:
    source = (ROOT / "bandits/rewards.py").read_text(encoding="utf-8")
    made = list(mutants(source))
    plain = ast.unparse(ast.parse(source))
    assert len(made) > 20
    assert all(mutant.source != plain for mutant in made)
    assert len({mutant.source for mutant in made}) == len(made)
    assert [*mutants(source)] == made


def test_only_the_functions_that_are_named_change() -> None:
    source = "def f(a):\n    return a + b\nclass C:\n    def m(self, a):\n        return a - b\n"
    assert {mutant.name for mutant in mutants(source, ("C.m",))} == {"C.m: return a + b", "C.m: return None"}
    assert list(mutants(source, ())) == []


def _is_there(test: str) -> bool:
    """Whether a test's file exists and, if a test is named, holds it."""
    path, _, name = test.partition("::")
    return (ROOT / path).exists() and f"def {name}" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("target", CORE, ids=lambda target: target.path)
def test_the_cores_files_tests_and_texts_are_there(target: Target) -> None:
    source = (ROOT / target.path).read_text(encoding="utf-8")
    assert [name for name in target.tests if not _is_there(name)] == []
    assert [before for before, _ in target.texts if source.count(before) != 1] == []
    assert [name for name in target.only or () if f"def {name.rpartition('.')[2]}(" not in source] == []
    known = {mutant.name for mutant in mutants(source, target.only)}
    assert set(EQUIVALENT.get(target.path, {})) - known == set()
