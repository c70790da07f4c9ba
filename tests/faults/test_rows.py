"""The short form of `make faults`: some rows of the fault table, once each."""

from collections.abc import Iterator

import pytest

from tests.faults.rows import ROWS, Row
from tests.faults.run import one_run
from tests.faults.stage import Stage, stage

pytestmark = pytest.mark.slow

SHORT = (
    "kill web process",
    "kill worker",
    "kill postgres",
    "freeze postgres",
    "lock decisions",
    "rolling restart",
    "many calls",
    "kill in rebuild",
    "kill up",
)


@pytest.fixture(scope="module")
def installed() -> Iterator[Stage]:
    with stage() as made:
        yield made


@pytest.mark.parametrize("row", [row for row in ROWS if row.name in SHORT], ids=lambda row: row.name.replace(" ", "-"))
def test_nothing_acknowledged_is_lost_or_learned_twice_and_the_audit_is_clean(installed: Stage, row: Row) -> None:
    told = one_run(installed, row, row.name.replace(" ", "-"))
    assert told.lost == []
    assert told.acknowledged > 80
    assert {*told.statuses} <= {
        "200",
        "201",
        "503",
        "RemoteDisconnected",
        "ConnectionResetError",
        "ConnectionRefusedError",
    }


def test_every_row_has_a_name_of_its_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert set(SHORT) <= {row.name for row in ROWS}
