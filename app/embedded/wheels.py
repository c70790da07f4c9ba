"""Finds the folder of an installed package without importing it, wherever the package was installed."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def folders_of(package: str) -> Iterator[Path]:
    """Yield the folders of a package; none if it is not installed."""
    spec = find_spec(package)
    if spec is not None:
        yield from map(Path, spec.submodule_search_locations or ())
