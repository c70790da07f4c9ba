"""Fast twins of the published table: every claim in the worlds that come with Loopwise, with few runs each."""

import pytest

from app.simulation import world_files
from app.simulation.claims import WORDS
from app.simulation.report import ClaimLine, Simulation
from app.simulation.simulate import simulate

pytestmark = pytest.mark.slow

RUNS = 30
LARGE = {
    "rare_1": 5,
    "learning": 8,
    "new_action": 12,
    "noise_log": 15,
    "rare_5": 10,
    "rare": 12,
    "holdout": 15,
    "lost_exposures": 15,
}
# Stated in docs/statistics.md, "Hostile worlds, measured".
NOT_MET = {"returning": {"heavy_quiet"}, "trade": {"no_wrong_ship"}, "learning": {"one_look", "lift_one_look"}}
_answers: dict[str, Simulation] = {}


def played(name: str) -> Simulation:
    """A world's answer, played once for all tests."""
    if name not in _answers:
        _answers[name] = simulate(world_files.load(name), name=name, runs=LARGE.get(name, RUNS), seed=3)
    return _answers[name]


def line(name: str, claim: str) -> ClaimLine:
    (found,) = (one for one in played(name).claims if one.claim == claim)
    return found


@pytest.mark.parametrize("name", world_files.names())
def test_the_claims_of_the_product_are_met_in_every_world(name: str) -> None:
    missed = {one.claim for one in played(name).missed}
    assert missed <= NOT_MET.get(name, set()), played(name).missed
    assert all(one.right == one.of for one in played(name).claims if one.claim == "not_narrower")


def test_what_is_planted_is_found() -> None:
    for name, claim in (
        ("lost_exposures", "ratio_alarms"),
        ("learning", "choices_alarms"),
        ("learning", "ratio_alarms"),
        ("learning", "value_refused"),
        ("one_bot", "heavy_alarms"),
        ("real_effect", "decides"),
        ("lost_rewards", "decides"),
    ):
        assert line(name, claim).share >= 0.6, (name, claim)


def test_a_sound_log_has_no_alert_and_alike_arms_no_verdict() -> None:
    for name in ("clean", "ramp", "drift", "noise_log", "returning_ramp"):
        assert line(name, "ratio_quiet").share >= 0.9 and line(name, "no_verdict").share >= 0.9
    assert line("noise_log", "choices_quiet").share >= 0.9


def test_the_always_valid_interval_costs_about_half_of_its_width() -> None:
    assert 1.4 < float(line("clean", "every_look").note.split()[0]) < 1.9


def test_the_same_seed_gives_the_same_figures() -> None:
    world = world_files.load("drift")
    first, again = (simulate(world, name="drift", runs=3, seed=8).as_json() for _ in range(2))
    assert first == again


def test_every_claim_is_made_in_some_world() -> None:
    assert {one.claim for name in world_files.names() for one in played(name).claims} == set(WORDS)
