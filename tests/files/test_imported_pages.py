"""Every page of an imported experiment: with arms from our own export, and with distributions that nobody knows."""

from pathlib import Path

import pytest

from app.files import transfer
from app.files.exporting import export_log
from tests.lab import Lab, arm
from tests.page_client import Browser
from tests.service import Client, query

TABS = (
    "", "decisions", "live", "results", "health", "what-works-for-whom", "long-term", "fairness", "policy", "off-policy",
    "feedback", "quarantine", "log", "ship",
)  # fmt: skip
REPORTS = (
    "results",
    "health-checks",
    "what-works-for-whom",
    "long-term",
    "fairness",
    "policy",
    "guardian",
    "quarantine",
    "feedback",
)


@pytest.fixture(scope="module", autouse=True)
def imported(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("logs")
    lab.make(
        "whole",
        arms=[arm("learns", 0.6, {"type": "bandit", "parameters": {}}), arm("fixed", 0.4, "a")],
        control_arm="fixed",
    )
    lab.play(
        "whole",
        [{"unit_id": f"u{n}", "context": {"k": n % 3}} for n in range(120)],
        lambda _, row: float(row["action"]["id"] == "b"),
    )
    export_log(lab.runtime.engine, lab.settings, "whole", folder / "log.dsjson")
    transfer.import_log(lab.runtime.engine, folder / "log.dsjson", "whole-copy")
    rows = "a,0.5,1\nb,0.25,0\nc,0.125,0\n" * 40
    (folder / "log.csv").write_text("action,propensity,reward\n" + rows, encoding="utf-8")
    transfer.import_log(lab.runtime.engine, Path(folder / "log.csv"), "unknown-copy")


@pytest.mark.parametrize("key", ["whole-copy", "unknown-copy"])
def test_every_report_and_page_of_an_imported_log_is_there(
    client: Client, admin: Browser, database_url: str, key: str
) -> None:
    for report in REPORTS:
        answer = client.get(f"/v1/experiments/{key}/{report}")
        assert answer.status == 200, (report, answer.raw)
    for tab in TABS:
        page = admin.get(f"/admin/experiments/{key}/{tab}")
        assert page.status == 200, (tab, page.text[:300])
    ((decision,),) = query(
        database_url,
        "SELECT d.id FROM decisions d JOIN experiments e ON e.id = d.experiment_id WHERE e.key = %s ORDER BY d.id LIMIT 1",
        key,
    )
    page = admin.get(f"/admin/experiments/{key}/replay?id={decision}")
    assert page.status == 200, page.text[:300]
    assert "imported" in page.text
