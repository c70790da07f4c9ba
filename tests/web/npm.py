"""Packages of the npm registry for tests that run other people's clients as they are."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tools import tool


def installed(folder: Path, packages: Sequence[str]) -> Path:
    """The folder with the packages in it. Skips the test where npm or its registry is not there."""
    npm = tool("npm")
    tool("node")
    (folder / "package.json").write_text("{}")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot fetch the packages: {done.stderr.strip().splitlines()[-1:]}")
    return folder
