"""Loopwise as it is installed from a wheel: one name in site-packages.

``import loopwise`` puts the packages of this folder on the path: after it, ``import bandits`` and ``import experiments`` work.
"""

import sys
from pathlib import Path

_HERE = str(Path(__file__).resolve().parent)
if _HERE not in sys.path:
    sys.path.insert(1, _HERE)  # after the program's own folder


def main() -> None:
    """Run a command, as ``loopwise`` does."""
    from app.commands.main import main as commands  # noqa: PLC0415

    commands()
