"""The guides cannot rot: their pictures exist, the words in bold stand on the pages, and each is read in ten minutes."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDES = sorted((ROOT / "docs").glob("guide-*.md"))
PICTURE = re.compile(r"!\[([^\]]*)\]\((?:docs/)?(pictures/[^)]+)\)")
PAGES = " ".join(
    file.read_text(encoding="utf-8")
    for kind in ("**/templates/*.html", "**/pages/*.py", "wizard/*.py")
    for file in sorted((ROOT / "app").glob(kind))
)
WORDS_IN_TEN_MINUTES = 1600


def _named() -> dict[str, str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {file: words for page in pages for words, file in PICTURE.findall(page.read_text(encoding="utf-8"))}


def test_there_are_guides() -> None:
    assert [guide.name for guide in GUIDES] == ["guide-analyst.md", "guide-product-manager.md"]


def test_every_picture_that_is_named_exists_and_every_one_that_exists_is_named() -> None:
    there = {f"pictures/{file.name}" for file in (ROOT / "docs" / "pictures").iterdir()}
    assert set(_named()) == there


def test_every_picture_says_what_is_to_be_seen() -> None:
    assert [file for file, words in _named().items() if len(words) < 15] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_what_a_guide_prints_in_bold_stands_on_a_page(guide: Path) -> None:
    bold = re.findall(r"\*\*([^*]+)\*\*", guide.read_text(encoding="utf-8"))
    assert len(bold) >= 8
    assert [words for words in bold if " ".join(words.split()).rstrip(".?") not in PAGES] == []


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_is_read_in_ten_minutes(guide: Path) -> None:
    assert len(guide.read_text(encoding="utf-8").split()) <= WORDS_IN_TEN_MINUTES
