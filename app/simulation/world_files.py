"""Reads worlds: those that come with Loopwise, by name, and files of your own, as TOML or JSON."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from app.foundation.errors import Unprocessable
from app.foundation.fields import JsonObject, pydantic_fields
from app.simulation.world import World, problems

_SHIPPED = Path(__file__).parent / "worlds"
MAX_BYTES = 100_000


class WorldRefused(Unprocessable):
    """A world cannot be played. One sentence says what is wrong with it and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__("world_refused", sentence)


def names() -> list[str]:
    """The worlds that come with Loopwise."""
    return sorted(path.stem for path in _SHIPPED.glob("*.toml"))


def load(name: str) -> World:
    """Read a world.

    :param name: a world that comes with Loopwise, or the path of a .toml or .json file.
    :raises WorldRefused: it cannot be read, or it is not possible.
    """
    path = _SHIPPED / f"{name}.toml" if name in names() else Path(name)
    if path.suffix not in (".toml", ".json"):
        raise WorldRefused(f"there is no world {name!r}: name one of {', '.join(names())}, or a .toml or .json file.")
    return parsed(_document(path), str(name))


def parsed(document: object, name: str) -> World:
    """Check a document.

    :param name: what to call it where it is wrong.
    :raises WorldRefused: it is not possible.
    """
    try:
        world = World.model_validate(document)
    except ValidationError as error:
        first = pydantic_fields(error, document)[0]
        raise WorldRefused(f"{name}: {first.path.lstrip('/') or 'the file'}: {first.message}.") from None
    for problem in problems(world):
        raise WorldRefused(f"{name}: {problem}")
    return world


def _document(path: Path) -> JsonObject:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise WorldRefused(f"{path}: a world has at most {MAX_BYTES} bytes.")
        text = path.read_text(encoding="utf-8")
        return dict(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))
    except OSError as error:
        raise WorldRefused(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError) as error:  # what both parsers raise
        form = "TOML" if path.suffix == ".toml" else "a JSON object"
        raise WorldRefused(f"{path} is not {form}: {error}.") from None


def shipped() -> Iterator[tuple[str, World]]:
    """Every world that comes with Loopwise, with its name."""
    for name in names():
        yield name, load(name)
