"""The package is pure: it imports no service, server or learner, and every module states what it must never do."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import experiments

MODULES = sorted(Path(experiments.__file__).parent.glob("*.py"))
FORBIDDEN = (
    "app",
    "bandits",
    "worker",
    "flask",
    "sqlalchemy",
    "celery",
    "redis",
    "vowpalwabbit",
    "time",
    "datetime",
    "os",
    "random",
    "pathlib",
    "logging",
)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_imports_nothing_impure_and_prints_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not [name for name in names if name.split(".")[0] in FORBIDDEN], path.name
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "open", "input"), path.name
    # The only random generators are those made from a seed that the caller passed.
    assert "np.random.seed" not in path.read_text()
    assert "default_rng()" not in path.read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_a_module_states_what_it_must_never_do_and_stays_short(path: Path) -> None:
    text = path.read_text()
    doc = ast.get_docstring(ast.parse(text)) or ""
    assert "must never" in " ".join(doc.split()) or path.stem == "__init__"
    assert len(text.splitlines()) <= 300


def test_importing_the_whole_package_loads_no_service_code() -> None:
    names = [f"experiments.{path.stem}" for path in MODULES if path.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; print([m for m in sys.modules if m.split('.')[0] in {FORBIDDEN[:8]!r}])"
    root = Path(experiments.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "[]"
