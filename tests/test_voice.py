"""The words that people meet: none of the constructions that docs/voice.md bans."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.foundation.codes import WORDS
from app.foundation.errors import CODES

ROOT = Path(__file__).resolve().parents[1]
VOICE = (ROOT / "docs" / "voice.md").read_text(encoding="utf-8")
GUIDES = ("README.md", "docs/guide-product-manager.md", "docs/guide-analyst.md")


def banned() -> list[str]:
    """The regular expressions in the section "Banned" of docs/voice.md."""
    section = VOICE.split("## Banned", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)
    return [row.replace("\\|", "|") for row in rows]  # as a Markdown table writes it


def _of_templates() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "app").rglob("*.html")):
        text = re.sub(r"{#.*?#}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield str(path.relative_to(ROOT)), text


def _of_pages() -> Iterator[tuple[str, str]]:
    """String constants of the modules that write pages and the command line, without docstrings."""
    folders = [*(ROOT / "app").glob("*/pages"), ROOT / "app" / "wizard", ROOT / "app" / "commands"]
    for path in sorted(path for folder in folders for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        ]
        yield str(path.relative_to(ROOT)), "\n".join(texts)


def _of_words() -> Iterator[tuple[str, str]]:
    yield from ((f"code {code}", f"{words.api}\n{words.page or ''}") for code, words in WORDS.items())
    yield from ((f"error {code}", text) for code, text in CODES.items())
    yield from ((name, (ROOT / name).read_text(encoding="utf-8")) for name in GUIDES)


def test_the_list_is_there_and_matches_what_it_bans() -> None:
    assert len(banned()) >= 12
    assert len(re.findall(r"^\| .+ \| .+ \|$", VOICE.split("## What people read", 1)[1], re.MULTILINE)) >= 20
    for old in ("2 things are to mend in this step", "Unit of it", "What leads", "Who denied or took back a consent"):
        assert any(re.search(pattern, old) for pattern in banned()), old


@pytest.mark.parametrize("pattern", banned())
def test_nothing_that_people_read_has_a_banned_construction(pattern: str) -> None:
    texts = [*_of_templates(), *_of_pages(), *_of_words()]
    found = [(name, match[0]) for name, text in texts for match in re.finditer(f".{{0,40}}{pattern}.{{0,30}}", text)]
    assert found == []
