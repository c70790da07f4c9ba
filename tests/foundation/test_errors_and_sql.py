"""Rules over the source: every error code is explained and used, and only stores contain SQL."""

import ast
import re
from pathlib import Path

import pytest
from sqlalchemy import exc

from app.foundation.errors import CODES
from app.foundation.store.engine import is_outage

APP = Path(__file__).resolve().parents[2] / "app"
ERRORS = r"(?:BadRequest|Unauthorized|Forbidden|NotFound|Conflict|TooLarge|TooSlow|Unprocessable|TooManyRequests|Unavailable)"


def _sources() -> dict[str, str]:
    return {str(path.relative_to(APP)): path.read_text(encoding="utf-8") for path in APP.rglob("*.py")}


def test_the_codes_in_the_source_are_the_codes_that_are_explained() -> None:
    used = {
        code
        for text in _sources().values()
        for code in re.findall(rf'(?:{ERRORS}|super\(\).__init__|check_version)\(\s*"([a-z_]+)"', text)
    }
    assert used == set(CODES) - {"internal_error"}


def test_only_stores_contain_sql() -> None:
    statement = re.compile(r"\b(?:SELECT .+ FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
    wrong = []
    for name, text in _sources().items():
        if "store" in Path(name).parts or name.startswith("embedded/"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and statement.search(node.value):
                wrong.append(f"{name}:{node.lineno}")
    assert wrong == []


class _Original(Exception):
    def __init__(self, pgcode: str | None) -> None:
        super().__init__("x")
        self.pgcode = pgcode


@pytest.mark.parametrize(
    ("pgcode", "outage"),
    [(None, True), ("57P01", True), ("57014", True), ("08006", True), ("53300", True), ("54000", False)],
)
def test_only_errors_that_a_retry_can_fix_count_as_outages(pgcode: str | None, outage: bool) -> None:
    """A row beyond PostgreSQL's limits is an OperationalError too; as an outage it would be retried for ever."""
    assert is_outage(exc.OperationalError("x", {}, _Original(pgcode))) is outage
