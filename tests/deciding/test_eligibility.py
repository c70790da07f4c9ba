"""Consent, mutes, quiet hours, distance and caps, exactly at their limits, each with its reason."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from app.content.reasons import Reason
from app.deciding.eligibility import Eligible, UnitState, is_quiet, question, reasons_against, withheld
from app.deciding.requests import DecideRequest
from app.deciding.snapshot import Candidates, Experiment, plain_arm
from app.deciding.store.units import Contact, Past, Question, UnitRow
from app.design.definition_rules import parse_config
from app.design.people_config import PURPOSES, ConsentSpec, QuietHours
from app.foundation.errors import Unprocessable
from tests.service import definition

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC).timestamp()
CHANNELS = {"tip": "in_app", "push": "push"}  # "nothing" says nothing
IDS = ["tip", "push", "nothing"]
HERE, ELSEWHERE = 7, 8  # experiments


def message(channel: str) -> dict[str, Any]:
    return {"channel": channel, "texts": {"en": {"body": "A text"}}}


def experiment(**fields: Any) -> Experiment:
    actions = [
        {"id": "tip", "template": message("in_app")},
        {"id": "push", "template": message("push")},
        {"id": "nothing"},
    ]
    config = parse_config(definition("speaking", **{"actions": actions, **fields}))
    return Experiment(
        HERE, "speaking", "running", b"", 1, config, {}, {}, Candidates([], [], {}), CHANNELS, True, plain_arm(config)
    )


def state(*contacts: Contact, **fields: Any) -> UnitState:
    return UnitState(**{"now": NOW, "consent": {}, "contacts": [*contacts], "muted": set(), "past": [], **fields})


def sent(age_s: float, action: str = "tip", channel: str = "in_app", experiment_id: int = HERE) -> Contact:
    return Contact(experiment_id, action, channel, NOW - age_s)


def against(
    made: Experiment, unit: UnitState, denied: tuple[str, ...] = (), **request: Any
) -> dict[str, tuple[str, dict[str, Any]]]:
    asked = DecideRequest.model_validate({"experiment": "speaking", "unit_id": "u", **request})
    return {name: (r.code, r.params) for name, r in reasons_against(made, asked, IDS, unit, [*denied]).items()}


def capped(*contacts: Contact, **cap: Any) -> set[str]:
    """The actions that a cap keeps back."""
    found = against(experiment(fatigue={"caps": [{"limit": 1, "window_s": 100.0, **cap}]}), state(*contacts))
    assert all(code == "cap" for code, _ in found.values())
    return set(found)


# Consent


def test_silence_is_a_yes_unless_a_purpose_needs_one_that_was_said() -> None:
    assert withheld(None, {}) == []
    assert withheld(ConsentSpec(), {}) == []
    assert withheld(ConsentSpec(learn="if_granted", message="if_granted"), {}) == ["learn", "message"]
    assert withheld(ConsentSpec(learn="if_granted"), {"learn": "granted"}) == []


@pytest.mark.parametrize("said", ["denied", "revoked"])
@pytest.mark.parametrize("spec", [None, ConsentSpec(**dict.fromkeys(PURPOSES, "if_granted"))])
def test_a_no_holds_whatever_the_experiment_says(said: str, spec: ConsentSpec | None) -> None:
    everything = dict.fromkeys(PURPOSES, "granted")
    assert withheld(spec, everything) == []
    for purpose in PURPOSES:
        assert withheld(spec, everything | {purpose: said}) == [purpose]


def test_without_consent_to_messages_only_silent_actions_are_left() -> None:
    assert against(experiment(), state(), ("message",)) == {"tip": ("no_consent", {}), "push": ("no_consent", {})}
    assert against(experiment(), state(), ("learn", "analyse", "personalise")) == {}


def test_the_calls_own_candidates_have_no_messages() -> None:
    assert against(experiment(), state(), ("message",), actions=[{"id": "tip"}]) == {}


# Mutes


def test_a_muted_message_is_out_and_that_is_its_reason() -> None:
    made = experiment(fatigue={"caps": [{"limit": 1, "window_s": 100.0}]})
    found = against(made, state(sent(1), muted={"push"}))
    assert {name: code for name, (code, _) in found.items()} == {"push": "muted", "tip": "cap"}
    assert found["push"] == ("muted", {})


def test_saying_nothing_cannot_be_muted() -> None:
    assert against(experiment(), state(muted={*IDS})).keys() == {"tip", "push"}


def test_where_no_action_has_a_message_every_action_can_be_muted() -> None:
    plain = replace(experiment(), channels={})
    assert against(plain, state(muted={*IDS})).keys() == {*IDS}
    own = {"actions": [{"id": name} for name in IDS]}
    assert against(experiment(), state(muted={*IDS}), **own).keys() == {*IDS}


# Caps


@pytest.mark.parametrize(("messages", "kept_back"), [(1, set()), (2, {"tip", "push"}), (3, {"tip", "push"})])
def test_a_cap_lets_its_limit_pass_and_not_one_more(messages: int, kept_back: set[str]) -> None:
    assert capped(*[sent(1)] * messages, limit=2) == kept_back


def test_a_message_counts_until_it_is_as_old_as_the_window() -> None:
    assert capped(sent(99.9)) == {"tip", "push"}
    assert capped(sent(100.0)) == set()


def test_a_cap_of_a_channel_counts_and_keeps_back_that_channel() -> None:
    assert capped(sent(1, channel="push"), channel="push") == {"push"}
    assert capped(sent(1, channel="in_app"), channel="push") == set()


def test_a_cap_of_an_action_counts_and_keeps_back_that_action_of_this_experiment() -> None:
    assert capped(sent(1), action="tip") == {"tip"}
    assert capped(sent(1, "push", "push"), action="tip") == set()
    assert capped(sent(1, experiment_id=ELSEWHERE), action="tip") == set()


def test_a_cap_counts_every_experiment_or_this_one() -> None:
    elsewhere = sent(1, experiment_id=ELSEWHERE)
    assert capped(elsewhere) == {"tip", "push"}
    assert capped(elsewhere, across="experiment") == set()
    assert capped(sent(1), across="experiment") == {"tip", "push"}


@pytest.mark.parametrize(
    ("cap", "scope"), [({}, "platform"), ({"across": "experiment"}, "experiment"), ({"action": "tip"}, "action")]
)
def test_the_reason_of_a_cap_names_its_figures(cap: dict[str, Any], scope: str) -> None:
    made = experiment(fatigue={"caps": [{"limit": 1, "window_s": 100.0, "channel": "in_app", **cap}]})
    expected = {"limit": 1, "window_s": 100.0, "channel": "in_app", "scope": scope}
    assert against(made, state(sent(1))) == {"tip": ("cap", expected)}


def test_the_first_cap_that_is_used_up_is_the_reason() -> None:
    made = experiment(fatigue={"caps": [{"limit": 9, "window_s": 5.0}, {"limit": 1, "window_s": 50.0}]})
    assert against(made, state(sent(1)))["tip"][1]["window_s"] == 50.0


# Distance and quiet hours


def test_the_least_distance_holds_for_messages_of_any_experiment_until_it_has_passed() -> None:
    made = experiment(fatigue={"min_distance_s": 60.0})
    near = ("min_distance", {"min_distance_s": 60.0})
    assert against(made, state(sent(59.9, "x", "email", ELSEWHERE))) == {"tip": near, "push": near}
    assert against(made, state(sent(60.0))) == {}
    assert against(made, state(sent(60.0), sent(1.0))) == {"tip": near, "push": near}


def test_without_a_distance_none_is_kept() -> None:
    assert against(experiment(fatigue={}), state(sent(0))) == {}
    assert against(experiment(), state(sent(0))) == {}


def test_quiet_hours_are_the_units_own() -> None:
    made = experiment(fatigue={"quiet_hours": {"start": "12:00", "end": "13:00"}, "min_distance_s": 60.0})
    quiet = ("quiet_hours", {})
    assert against(made, state(sent(1))) == {"tip": quiet, "push": quiet}
    assert against(made, state(), time_zone="Asia/Tokyo") == {}


@pytest.mark.parametrize(
    ("start", "end", "clock", "expected"),
    [
        ("09:00", "17:00", "08:59", False),
        ("09:00", "17:00", "09:00", True),
        ("09:00", "17:00", "16:59", True),
        ("09:00", "17:00", "17:00", False),
        ("22:00", "08:00", "21:59", False),
        ("22:00", "08:00", "22:00", True),
        ("22:00", "08:00", "07:59", True),
        ("22:00", "08:00", "08:00", False),
        ("09:00", "09:00", "09:00", False),
        ("09:00", "09:00", "12:00", False),
    ],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(
    start: str, end: str, clock: str, expected: bool
) -> None:
    hour, minute = map(int, clock.split(":"))
    now = datetime(2026, 1, 31, hour, minute, 30, tzinfo=UTC).timestamp()
    assert is_quiet(QuietHours(start=start, end=end), None, now) is expected


def test_quiet_hours_of_no_length_are_refused() -> None:
    with pytest.raises(Unprocessable) as refused:
        experiment(fatigue={"quiet_hours": {"start": "00:00", "end": "00:00"}})
    assert [field.path for field in refused.value.fields] == ["/fatigue/quiet_hours/end"]


# What is asked and what is left


def test_a_question_reaches_as_far_back_as_the_rules_need() -> None:
    assert question(experiment(), "u") == Question("u", HERE, 0.0, 0.0, 0)
    made = experiment(
        fatigue={"caps": [{"limit": 1, "window_s": 100.0}]},
        feedback={"thumbs": {"up": 1.0, "down": 0.0}, "mute_s": 3600.0},
        profile={"lookback": 9},
    )
    assert question(made, "u") == Question("u", HERE, 100.0, 3600.0, 9)


def test_a_units_state_is_what_was_read_with_the_contacts_of_the_commit() -> None:
    row = UnitRow(NOW, {"learn": "denied"}, [], {"tip"}, [Past("tip", None, NOW, None)])
    contacts = [sent(1)]
    made = UnitState.of(row, contacts)
    assert made == UnitState(NOW, {"learn": "denied"}, contacts, {"tip"}, row.past)
    assert made.contacts is contacts


def test_what_has_a_reason_against_it_leaves_with_its_line_and_the_reason_is_logged() -> None:
    earlier = [{"id": "old", "code": "excluded", "params": {}}]
    eligible = Eligible(Candidates(["a", "b", "c"], ["|a", "|b", "|c"], {"a": 1}), earlier)
    left = eligible.without({"b": Reason("min_distance", {"min_distance_s": 60.0}), "not here": Reason("muted", {})})
    assert left.candidates == Candidates(["a", "c"], ["|a", "|c"], {"a": 1})
    assert left.against == [*earlier, {"id": "b", "code": "min_distance", "params": {"min_distance_s": 60.0}}]
    assert eligible.without({}) is eligible
    with pytest.raises(ValueError, match="zip"):
        Eligible(Candidates(["a", "b"], ["|a"], {}), []).without({"a": Reason("muted", {})})
