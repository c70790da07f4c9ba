"""`loopwise simulate FILE --live`: a few runs through the services of the servers that the environment names."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from app.commands import live_worlds
from app.commands.main import main
from app.foundation.store.engine import create, transaction
from tests.service import SECRET, settings

WORLD = """
looks = 1

[[stretches]]
units = 400
shares = {control = 0.5, treated = 0.5}

[[metrics]]
key = "converted"
level = 0.3

[lost]
late_rewards = 0.1
"""


def test_runs_go_through_the_services_and_leave_their_experiments_concluded(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("LOOPWISE_SECRET_KEY", SECRET)
    monkeypatch.setattr(live_worlds, "WINDOW_S", 2.0)
    (tmp_path / "small-live.toml").write_text(WORLD)
    arguments = ["--data-dir", str(tmp_path), "--live", "--runs", "2", "--json"]
    answer = CliRunner().invoke(main, ["simulate", str(tmp_path / "small-live.toml"), *arguments])
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert document["live"] and document["runs"] == 2
    claims = {line["claim"]: (line["right"], line["of"]) for line in document["claims"]}
    assert claims["ratio_quiet"] == claims["not_narrower"] == claims["no_verdict"] == (2, 2)
    query = """
        SELECT e.status, count(*) AS decisions FROM experiments e JOIN decisions d ON d.experiment_id = e.id
        WHERE e.key LIKE 'simulated-small-live-%' GROUP BY e.id, e.status
    """
    with transaction(create(database_url, settings(database_url))) as connection:
        assert [tuple(row) for row in connection.execute(text(query))] == [("concluded", 400)] * 2
