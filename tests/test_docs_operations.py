"""docs/operations.md says what is so."""

import re
from pathlib import Path

import pytest

from app.commands.main import main
from app.foundation.settings import SETTINGS

_TEXT = (Path(__file__).resolve().parents[1] / "docs/operations.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_one_of_the_code() -> None:
    written = re.findall(r"^\| `((?:LOOPWISE_|DATABASE_|REDIS_)\w+)`.*$", _TEXT, re.MULTILINE)
    rows = [f"| `{s.name}` | {f'`{s.default}`' if s.default else 'empty'} | {s.help} |" for s in SETTINGS]
    assert written == [setting.name for setting in SETTINGS]
    assert [row for row in rows if row not in _TEXT] == [], "put these rows into docs/operations.md"


@pytest.mark.parametrize("option", [o for p in main.commands["up"].params for o in p.opts if o != "--help"])
def test_every_option_of_up_is_explained(option: str) -> None:
    assert f"| `{option}` |" in _TEXT


def test_every_command_that_is_named_exists() -> None:
    named = set(re.findall(r"`loopwise ([a-z]+)", _TEXT)) | set(re.findall(r"^loopwise ([a-z]+)", _TEXT, re.MULTILINE))
    assert named <= set(main.commands)
