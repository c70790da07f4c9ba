"""Loopwise as a wheel: built without a network, one name in site-packages, and `loopwise up` in an empty folder.

The new environment takes the third-party packages from this one, so that nothing is fetched.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.service import ROOT

PARTS = ("app", "bandits", "experiments", "launcher", "migrations", "worker")
UP_S = 120.0


def _run(*command: str | Path, cwd: Path) -> str:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOOPWISE_", "DATABASE"))
    }
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=inherited, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir", built)
    _run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=source)
    (made,) = built.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of a new environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    options = ("--no-deps", "--no-index", "--quiet", "--target", packages)
    _run(sys.executable, "-m", "pip", "install", *options, wheel, cwd=folder)
    added = {path.name for path in packages.iterdir()}
    assert {name for name in added if not name.endswith(".dist-info")} == {"loopwise", "bin"}
    # A path in a .pth file is searched, and its own .pth files, which name this checkout, are not read.
    (packages / "third_party.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_is_whole_and_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = BytesParser().parsebytes(archive.read(about))
    assert (described["Name"], described["Requires-Python"], described["License-Expression"]) == (
        "loopwise",
        ">=3.11",
        "Apache-2.0",
    )
    assert len(str(described.get_payload())) > 1000
    files = [
        path for part in PARTS[:-3] for path in (ROOT / part).rglob("*") if path.is_file() and path.suffix != ".pyc"
    ]
    assert {f"loopwise/{path.relative_to(ROOT)}" for path in files} - names == set()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"loopwise"}


def test_the_libraries_are_found_behind_the_one_name(environment: Path, tmp_path: Path) -> None:
    lines = "import loopwise, bandits, experiments; print(bandits.__file__, experiments.__file__)"
    found = _run(environment / "python", "-c", lines, cwd=tmp_path).split()
    assert all("site-packages/loopwise/" in path for path in found)


def test_loopwise_up_in_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    script = [str(environment / "python"), "-P", "-c", "import loopwise; loopwise.main()"]
    assert _run(*script, "--version", cwd=tmp_path).strip() == "0.1.0"
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LOOPWISE_", "DATABASE"))
    }
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        up = subprocess.Popen(
            [*script, "up", "--port", str(port), "--no-demo"], cwd=tmp_path, env=inherited, stdout=output, stderr=output
        )
    try:
        assert _answers(port, up), log.read_text(encoding="utf-8")[-4000:]
    finally:
        up.terminate()
        up.wait(60)
    assert (tmp_path / ".data").is_dir()


def _answers(port: int, up: "subprocess.Popen[bytes]") -> bool:
    ends_at = time.monotonic() + UP_S
    while time.monotonic() < ends_at and up.poll() is None:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer,
        ):
            return bool(answer.status == 200)
        time.sleep(0.3)
    return False
