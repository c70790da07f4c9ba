"""`loopwise import`, `export`, `evaluate` and `compare`, called as an analyst calls them."""

import json
from pathlib import Path

from tests.service import counts, loopwise, query

REFERENCE = Path(__file__).resolve().parents[1] / "experiments" / "reference"
LOG = REFERENCE / "obd_rows_men_random_to_bts.csv"


def test_commands_import_and_export_a_log(tmp_path: Path, database_url: str) -> None:
    columns = ["--column", "propensity=pscore", "--context-columns", "position"]
    done = loopwise(tmp_path, database_url, "import", str(LOG), "--experiment", "obd", *columns)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "10,000 decisions over 34 actions are in experiment 'obd'.\n"
    assert query(database_url, "SELECT count(*) FROM outcomes") == [(10_000,)]
    assert query(database_url, "SELECT status FROM experiments") == [("concluded",)]
    done = loopwise(tmp_path, database_url, "export", "obd", "out.parquet")
    assert done.returncode == 0 and done.stdout == "out.parquet: 10,000 decisions.\n", done.stderr
    evaluated = ("evaluate", str(LOG), "--propensity", "pscore", "--target-probability", "p_eval", "--reward", "reward")
    done = loopwise(tmp_path, database_url, *evaluated, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["rows"] == 10_000, done.stderr
    users = str(REFERENCE / "ab_users.csv")
    done = loopwise(
        tmp_path, database_url, "compare", users, "--variant", "variant", "--metric", "revenue=mean:revenue", "--json"
    )
    assert done.returncode == 0 and json.loads(done.stdout)["metrics"], done.stderr


def test_a_failed_import_or_export_ends_with_one_sentence(tmp_path: Path, database_url: str) -> None:
    before = counts(database_url)
    bad = tmp_path / "bad.csv"
    bad.write_text("action,propensity,reward\na,0.5,1\na,2,1\n")
    (tmp_path / "good.csv").write_text("action,propensity,reward\na,0.5,1\n")
    for arguments, words in (
        (("import", "bad.csv", "--experiment", "bad"), "bad.csv, line 3: propensity is 2;"),
        (("import", "good.csv", "--experiment", "no key!"), "key"),
        (("import", "bad.csv", "--experiment", "bad", "--column", "propensity"), "write FIELD=COLUMN"),
        (("export", "nobody", "out.csv"), "no experiment 'nobody'"),
    ):
        done = loopwise(tmp_path, database_url, *arguments)
        assert done.returncode != 0 and words in done.stderr, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert counts(database_url) == before
    assert not (tmp_path / "out.csv").exists()
