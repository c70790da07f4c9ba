"""Programs that some tests need beside Python's packages."""

import os
import shutil

import pytest


def tool(name: str) -> str:
    """The path of a program. Without it the test is skipped; on the build server, which sets TOOLS_REQUIRED, it fails."""
    path = shutil.which(name)
    if path is not None:
        return path
    if os.environ.get("TOOLS_REQUIRED"):
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")
