"""The rules of this project that a program can check: sizes, layers, and the map of the architecture."""

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "app"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
LONGEST_FILE = 300  # lines
LONGEST_FUNCTION = 45
MOST_ANY = 150  # explicit ones in app/
MOST_FILES = 15  # modules of one package, beside its packages
WEB = {"flask", "flask_openapi", "flask_wtf", "celery", "werkzeug"}
MAY_KNOW_FLASK = {"api", "pages", "templates"}
# Services that routes and pages need: the process behind a request, the app itself, the wizard's pages.
OF_THE_WEB = {"serving.py"}
OF_THE_WEB_FEATURES = {"web", "wizard"}


def _files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_file_is_too_long() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in _files("app")
    }
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_folder_holds_too_many_files() -> None:
    counts = Counter(path.parent.relative_to(ROOT) for path in _files("app") if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_no_function_is_too_long() -> None:
    long = []
    for path in _files("app", "bandits", "experiments", "worker"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > LONGEST_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} ({lines})")
    assert long == []


def test_services_know_neither_the_web_nor_pages_and_routes() -> None:
    """Import-linter checks the order of features and folders; this test checks that services import neither Flask nor pages."""
    wrong = []
    for path in _files("app"):
        feature, *folders = path.relative_to(APP).parts[:-1] or ("",)
        if MAY_KNOW_FLASK & set(folders) or feature in OF_THE_WEB_FEATURES or path.name in OF_THE_WEB:
            continue
        for name in _imports(ast.parse(path.read_text(encoding="utf-8"))):
            parts = name.split(".")
            if parts[0] in WEB or (parts[0] == "app" and MAY_KNOW_FLASK & set(parts[2:])):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert [line for line in wrong if not line.startswith("app/commands/")] == []


def test_little_is_left_of_any() -> None:
    """JSON that was sent or stored has a type of its own: ``foundation.fields.JsonObject``."""
    count = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for path in _files("app")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
    assert count < MOST_ANY


def _layers() -> list[list[str]]:
    contract = next(
        contract for contract in PROJECT["tool"]["importlinter"]["contracts"] if contract.get("containers") == ["app"]
    )
    return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]


def test_the_picture_shows_the_features_in_the_order_that_the_lints_hold() -> None:
    picture = (ROOT / "docs" / "features.svg").read_text(encoding="utf-8")
    heights = {name: int(height) for height, name in re.findall(r'y="(\d+)"><tspan class="n">(\w+)</tspan>', picture)}
    features = [name for layer in _layers() for name in layer]
    assert set(heights) == {*features, "worker", "bandits", "experiments"}
    lower = [
        (above, below)
        for upper, under in zip(_layers(), _layers()[1:], strict=False)
        for above in upper
        for below in under
    ]
    assert [pair for pair in lower if pair[0] != "commands" and heights[pair[0]] >= heights[pair[1]]] == []


def test_every_feature_stands_in_the_table_and_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:app|bandits|experiments|migrations|worker|tests)(?:/[\w.]+)+/?)`", ARCHITECTURE))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    features = {path.name for path in APP.iterdir() if (path / "__init__.py").exists()}
    assert {f"app/{name}" for name in features} - named == set()


@pytest.mark.parametrize("name", ["LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", ".editorconfig", "docs/voice.md"])
def test_what_a_contributor_looks_for_is_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 100
