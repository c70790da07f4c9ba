"""docs/simulate.md says of worlds and claims what the code says."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from app.simulation import world_files
from app.simulation.claims import WORDS
from app.simulation.simulate import simulate
from app.simulation.world import Kind, World

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "simulate.md").read_text(encoding="utf-8")


def _rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The row of each field that is not made of others."""
    for name, field in model.model_fields.items():
        parts = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in parts if issubclass(kind, BaseModel)), None)
        if inner is not None:
            yield from _rows(inner, f"{prefix}{name}.")
            continue
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        default = (
            "needed" if field.is_required() else "none" if value is None or not (value or value == 0) else f"`{value}`"
        )
        yield f"| `{prefix}{name}` | {default} | {field.description} |"


@pytest.mark.parametrize("row", list(_rows(World)))
def test_every_field_of_a_world_stands_in_the_docs_with_its_default(row: str) -> None:
    assert row in TEXT


def test_every_claim_and_every_kind_stands_in_the_docs() -> None:
    assert [code for code, words in WORDS.items() if f"| `{code}` | {words} |" not in TEXT] == []
    assert [kind for kind in get_args(Kind) if f"`{kind}`" not in TEXT] == []


def test_the_example_is_a_world() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    answer = simulate(world_files.parsed(tomllib.loads(example), "example"), name="example", runs=1, seed=1)
    assert answer.units == 10_000 and answer.claims


def test_every_world_stands_in_the_published_table() -> None:
    published = (DOCS / "statistics.md").read_text(encoding="utf-8")
    assert [name for name in world_files.names() if f"| `{name}` |" not in published] == []
