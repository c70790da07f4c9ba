"""The Python client as a wheel: built without a network, whole, typed, and working where only its requirements are."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.service import ROOT, Client, Web

FOLDER = ROOT / "clients" / "python"
SCRIPT = """
import asyncio, sys
from loopwise_client import AsyncClient, Client
import loopwise_client
url, key = sys.argv[1:]
assert "site-packages" in loopwise_client.__file__, loopwise_client.__file__
with Client(url, key, deadline_s=20) as client:
    print(client.decide("packed", "unit-1", default="x").logged)
async def more():
    async with AsyncClient(url, key, deadline_s=20) as client:
        print((await client.decide("packed", "unit-2", default="x")).logged)
asyncio.run(more())
"""


def _run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--wheel-dir", folder / "built")
    source = folder / "source"
    _copy(source)
    _run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    (made,) = (folder / "built").glob("*.whl")
    return made


def _copy(target: Path) -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and "build" not in path.parts:
            place = target / path.relative_to(FOLDER)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


def test_the_wheel_is_whole_typed_and_described(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        (about,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = BytesParser().parsebytes(archive.read(about))
    sources = {f"loopwise_client/{path.name}" for path in (FOLDER / "loopwise_client").glob("*.py")}
    assert sources | {"loopwise_client/py.typed"} <= names
    assert (described["Name"], described["License-Expression"]) == ("loopwise-client", "Apache-2.0")
    assert described["Description-Content-Type"] == "text/markdown"
    assert described.get_all("Requires-Dist") == ["httpx<1,>=0.28"]
    assert described["Requires-Python"] == ">=3.9"


def test_nothing_in_it_is_newer_than_python_3_9() -> None:
    """Ruff reads the folder for Python 3.9, too (its ``target-version``), which finds newer syntax."""
    _run(Path(sys.executable).parent / "vermin", "--no-tips", "-t=3.9-", FOLDER / "loopwise_client", cwd=ROOT)


def test_the_installed_wheel_decides_with_threads_and_with_asyncio(
    wheel: Path, web: Web, client: Client, tmp_path: Path
) -> None:
    client.make("packed")
    venv.create(tmp_path / "environment", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "environment").glob("lib/python*/site-packages")
    options = ("--no-deps", "--no-index", "--quiet", "--target", packages)
    _run(sys.executable, "-m", "pip", "install", *options, wheel, cwd=tmp_path)
    (packages / "third_party.pth").write_text(sysconfig.get_path("purelib"))  # httpx, without a network
    python = tmp_path / "environment" / "bin" / "python"
    answer = _run(python, "-c", SCRIPT, f"http://127.0.0.1:{web.port}", client.key, cwd=tmp_path)
    assert answer.split() == ["True", "True"]
