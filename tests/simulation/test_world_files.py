"""Files of worlds: what is wrong is said in a sentence that names the field; the command exits with 2."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.commands.main import main
from app.simulation import world_files
from app.simulation.world_files import WorldRefused, load, parsed

SOUND: dict[str, Any] = {
    "looks": 3,
    "stretches": [{"units": 300, "shares": {"control": 0.5, "treated": 0.5}}],
    "metrics": [{"key": "m", "level": 0.3}],
}
LEARNING: dict[str, Any] = {"arms": ["treated"], "actions": {"a": 0.0, "b": 0.0}}


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stretches": []}, "stretches: give at least 1."),
        ({"lookz": 3}, "lookz: there is no such field; leave it out."),
        ({"looks": "many"}, "looks: give a whole number."),
        ({"metrics": [{"key": "m", "level": 0.3, "kind": "median"}]}, "metrics/0/kind: give one of"),
        (
            {"stretches": [{"units": 9, "shares": {"control": 0.5, "b": 0.4}}]},
            "stretches/0/shares: the shares sum to 0.9",
        ),
        ({"stretches": [{"units": 9, "shares": {"control": 1.0}}]}, "stretches: name at least two arms"),
        ({"control": "c"}, "stretches/0/shares: 'c' is missing"),
        ({"metrics": [{"key": "m", "level": 0.3, "effects": {"x": 0.1}}]}, "metrics/0/effects: there is no 'x' here"),
        ({"metrics": [{"key": "m", "level": 0.9, "effects": {"treated": 0.2}}]}, "metrics/0/level: chances"),
        (
            {"metrics": [{"key": "m", "level": 0.0, "kind": "count"}]},
            "metrics/0/level: means of this metric go down to 0",
        ),
        ({"metrics": [{"key": "m", "level": 0.1, "role": "secondary"}]}, "metrics: no metric is primary"),
        ({"metrics": [{"key": "m", "level": 0.1}] * 2}, "metrics: two metrics have the same key"),
        ({"learning": {"arms": ["treated"]}}, "learning/actions: a learning arm needs at least two actions"),
        ({"learning": LEARNING | {"since": {"a": 2}}}, "learning/since: 'a' is what the other arms show"),
        ({"learning": LEARNING | {"since": {"b": 2}}}, "learning/since: the last stretch is 1"),
        (
            {"learning": LEARNING | {"actions": {"a": 0.1, "b": 0.0}}},
            "learning/actions: 'a' is what the other arms show",
        ),
        ({"learning": LEARNING | {"lineage_of": "l"}}, "learning/lineage_of: one learning arm shows no spread"),
        ({"lost": {"exposures": {"nobody": 0.1}}}, "lost/exposures: there is no 'nobody' here"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_that_names_the_field(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(WorldRefused) as error:
        parsed(copy.deepcopy(SOUND) | changes, "mine.toml")
    assert error.value.detail.startswith(f"mine.toml: {sentence}"), error.value.detail
    assert error.value.detail.endswith(".")


def test_the_command_says_one_sentence_and_exits_with_2(tmp_path: Path) -> None:
    broken, wrong = tmp_path / "broken.toml", tmp_path / "wrong.json"
    broken.write_text("looks = ")
    wrong.write_text(json.dumps(SOUND | {"control": "nobody"}))
    for name in ("no_such_world", str(broken), str(wrong), str(tmp_path / "absent.toml")):
        answer = command(name)
        assert answer.exit_code == 2, answer.output
        assert len(answer.output.strip().splitlines()) == 1 and answer.output.strip().endswith(".")
    assert command().exit_code == 2


def test_a_file_of_ones_own_is_played_and_printed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(SOUND))
    shown = command(str(mine), "--runs", "2")
    assert shown.exit_code == 0 and "mine: 300 units, 3 looks, 2 runs" in shown.output and "met" in shown.output
    answer = CliRunner().invoke(main, ["simulate", str(mine), "--runs", "2", "--json"])
    document = json.loads(answer.stdout)
    assert document["world"] == "mine" and document["claims"][0]["share"] == 1.0


def test_the_list_names_every_world_with_what_is_hostile_in_it() -> None:
    listed = command("--list").output
    assert all(name in listed and len(load(name).about) > 20 for name in world_files.names())
    assert {"clean", "ramp", "added_arm", "holdout", "rare", "payers", "heavy_tails", "one_bot"} <= set(
        world_files.names()
    )
