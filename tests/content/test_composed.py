"""Composed messages over the API: one message out of slots, drawn together, never with a forbidden pair."""

import math
from typing import Any

import pytest

from tests.service import Client, query

SLOTS = [
    {
        "name": "subject",
        "place": "title",
        "parts": [
            {"id": "progress", "texts": {"en": "{{progress}}% done", "de": "{{progress}}% geschafft"}},
            {"id": "question", "texts": {"en": "Ready, {{name}}?", "de": "Bereit, {{name}}?"}},
            {"id": "plain", "texts": {"en": "Your lesson", "de": "Deine Lektion"}},
        ],
    },
    {
        "name": "tone",
        "place": "body",
        "parts": [
            {"id": "warm", "features": {"friendly": True}, "texts": {"en": "Lovely to see you.", "de": "Schön, dich zu sehen."}},
            {"id": "brisk", "texts": {"en": "Go!", "de": "Los!"}},
        ],
    },
    {
        "name": "ask",
        "place": "body",
        "parts": [
            {"id": "short", "texts": {"en": "Two minutes.", "de": "Zwei Minuten."}},
            {"id": "none", "texts": {"en": "", "de": ""}},
        ],
    },
]  # fmt: skip
COMPOSITION = {
    "slots": SLOTS,
    "forbidden": [[{"slot": "subject", "part": "question"}, {"slot": "tone", "part": "brisk"}]],
    "allow_nothing": True,
}
VARIABLES = [
    {"name": "progress", "sample": 40, "required": True},
    {"name": "name", "sample": "Ada", "required": True},
]
SAYABLE = 3 * 2 * 2 - 2
ADA = {"progress": 40, "name": "Ada"}


@pytest.fixture(scope="module")
def key(client: Client) -> str:
    client.make("composed", actions=[], composition=COMPOSITION, variables=VARIABLES)
    return "composed"


def ask(client: Client, **fields: Any) -> Any:
    body = {"experiment": "composed", "unit_id": "u", "variables": ADA, **fields}
    answer = client.post("/v1/messages/decide", body)
    assert answer.status in (200, 201), answer.raw
    return answer.body


def parts(answer: dict[str, Any]) -> dict[str, str]:
    return {one["slot"]: one["part"] for one in answer["slots"]}


def test_the_message_is_made_of_the_chosen_parts_in_the_persons_language(client: Client, key: str) -> None:
    titles = {"progress": "40% geschafft", "question": "Bereit, Ada?", "plain": "Deine Lektion"}
    tones = {"warm": "Schön, dich zu sehen.", "brisk": "Los!"}
    seen = set()
    for _ in range(80):
        answer = ask(client, locale="de-AT")
        chosen = parts(answer)
        seen.add(answer["action"]["id"])
        if chosen["say"] == "nothing":
            assert answer["message"] is None and answer["action"]["id"] == "nothing" and len(chosen) == 1
            continue
        assert answer["action"]["id"] == "|".join(f"{slot}={chosen[slot]}" for slot in ("subject", "tone", "ask"))
        body = tones[chosen["tone"]] + ("\nZwei Minuten." if chosen["ask"] == "short" else "")
        assert answer["message"] == {
            "locale": "de",
            "channel": "in_app",
            "title": titles[chosen["subject"]],
            "body": body,
            "call_to_action": "",
        }
    assert len(seen) > 8


def test_forbidden_pairs_never_occur_and_the_distribution_has_no_mass_on_them(client: Client, key: str) -> None:
    for _ in range(100):
        answer = ask(client)
        every = {one["id"]: one["probability"] for one in answer["ranking"]}
        assert len(every) == SAYABLE + 1 and math.fsum(every.values()) == pytest.approx(1, abs=1e-12)
        assert not [name for name in every if "subject=question" in name and "tone=brisk" in name]


def test_slots_have_the_exact_marginals_of_the_joint_distribution(client: Client, key: str) -> None:
    answer = next(found for found in iter(lambda: ask(client), None) if len(found["slots"]) == 4)
    every = {one["id"]: one["probability"] for one in answer["ranking"]}
    said = 1 - every["nothing"]
    for slot in answer["slots"][1:]:
        for one in slot["distribution"]:
            mass = math.fsum(p for name, p in every.items() if f"{slot['slot']}={one['part']}" in name.split("|"))
            assert one["probability"] == pytest.approx(mass / said, rel=1e-12)
        assert slot["propensity"] == {one["part"]: one["probability"] for one in slot["distribution"]}[slot["part"]]
    assert answer["slots"][0]["propensity"] == pytest.approx(said)
    assert math.prod(one["given_above"] for one in answer["slots"]) == pytest.approx(answer["propensity"], rel=1e-12)


def test_combinations_that_lack_a_value_are_excluded_before_the_draw_and_the_reason_names_the_part(
    client: Client, key: str, database_url: str
) -> None:
    answer = ask(client, variables={"progress": 5})
    reasons = {one["id"]: one["reason"] for one in answer["ineligible"]}
    assert len(reasons) == 2 and set(reasons.values()) == {"subject=question: placeholder 'name' has no value"}
    stored = "SELECT cardinality(eligible), channel FROM decisions WHERE id = %s"
    channel = None if answer["action"]["id"] == "nothing" else "in_app"
    assert query(database_url, stored, answer["decision_id"]) == [(SAYABLE + 1 - 2, channel)]


def test_excluded_combinations_and_other_channels_leave_nothing_to_say(client: Client, key: str) -> None:
    answer = ask(client, channel="push")
    assert answer["action"]["id"] == "nothing" and answer["message"] is None and answer["propensity"] == 1.0
    assert [one["part"] for one in answer["slots"]] == ["nothing"]
    one = "subject=plain|tone=warm|ask=none"
    assert {"id": one, "reason": "excluded", "code": "excluded", "params": {}} in ask(client, excluded_actions=[one])[
        "ineligible"
    ]


def test_a_retry_gets_the_same_message_and_slots(client: Client, key: str) -> None:
    for number in range(5):
        assert ask(client, decision_id=f"mine {number}") == ask(client, decision_id=f"mine {number}")


def test_a_request_for_a_composed_message_cannot_supply_actions(client: Client, key: str) -> None:
    answer = client.decide("composed", actions=[{"id": "x"}])
    assert answer.status == 422 and answer.body["errors"][0]["path"] == "/actions"


def test_a_fixed_arm_names_a_combination(client: Client) -> None:
    name = "subject=plain|tone=brisk|ask=none"
    arms = [{"key": "all", "share": 1.0, "policy": {"type": "fixed", "action": name}}]
    client.make("one-message", actions=[], composition=COMPOSITION, variables=VARIABLES, arms=arms)
    answer = client.post("/v1/messages/decide", {"experiment": "one-message", "unit_id": "u", "variables": ADA})
    assert answer.body["message"]["body"] == "Go!" and answer.body["propensity"] == 1.0


def test_when_caps_exclude_every_message_only_saying_nothing_is_left(client: Client) -> None:
    fatigue = {"caps": [{"limit": 1, "window_s": 3600}]}
    one = SLOTS[0] | {"parts": SLOTS[0]["parts"][2:]}
    small = {"slots": [one, SLOTS[1]], "allow_nothing": True}
    client.make("capped-composed", actions=[], composition=small, fatigue=fatigue)
    body = {"experiment": "capped-composed", "unit_id": "capped one", "excluded_actions": ["nothing"]}
    assert client.post("/v1/messages/decide", body).body["message"] is not None
    answer = client.post("/v1/messages/decide", {"experiment": "capped-composed", "unit_id": "capped one"}).body
    assert answer["message"] is None and answer["action"]["id"] == "nothing"


def slot(number: int, **change: Any) -> list[dict[str, Any]]:
    return [one | change if place == number else one for place, one in enumerate(SLOTS)]


def many(name: str, count: int) -> dict[str, Any]:
    made = [{"id": f"p{n}", "texts": {"en": f"text {n}"}} for n in range(count)]
    return {"name": name, "place": "body", "parts": made}


LONG = {"id": "long", "texts": {"en": "x" * 150}}
PAIR = [{"slot": "subject", "part": "plain"}, {"slot": "tone", "part": "warm"}]
BANDIT = {"type": "bandit", "algorithm": "squarecb"}


@pytest.mark.parametrize(
    ("change", "path", "words"),
    [
        ({"slots": SLOTS[:1]}, "/composition/slots", "at least 2"),
        ({"slots": slot(1, name="subject")}, "/composition/slots/1/name", "unique"),
        ({"slots": slot(1, name="say")}, "/composition/slots/1/name", "choose another"),
        ({"slots": slot(1, name="a|b")}, "/composition/slots/1/name", "small letters"),
        ({"slots": slot(1, parts=[*SLOTS[1]["parts"], SLOTS[1]["parts"][0]])}, "/composition/slots/1/parts/2/id", "unique"),
        ({"slots": slot(1, parts=[])}, "/composition/slots/1/parts", "at least 1"),
        ({"slots": slot(0, parts=[{"id": "a=b", "texts": {"en": "x"}}])}, "/composition/slots/0/parts/0/id", "letters, digits"),
        ({"slots": slot(0, parts=[{"id": "a", "texts": {"en": "{{ config }}"}}])},
         "/composition/slots/0/parts/0/texts/en", "not a declared variable"),
        ({"slots": slot(0, parts=[{"id": "a", "texts": {"en": "{% include 'x' %}"}}])},
         "/composition/slots/0/parts/0/texts/en", "cannot be read"),
        ({"slots": slot(0, parts=[{"id": "a", "texts": {"fr": "x"}}])}, "/composition/slots", "no locale in common"),
        ({"slots": [*slot(0, parts=[LONG]), {"name": "more", "place": "title", "parts": [LONG]}]},
         "/composition/slots", "the title has 301 characters"),
        ({"slots": slot(0, parts=[{"id": "a", "features": {"x": 1e300}, "texts": {"en": "x"}}])},
         "/composition/slots/0/parts/0/features", "scale it"),
        ({"slots": [one | {"place": "title"} for one in SLOTS]}, "/composition/slots", "has a body"),
        ({"slots": [many("a", 11), many("b", 10), many("c", 10)]}, "/composition/slots", "there are 1,100 combinations"),
        ({"slots": [many(name, 20) for name in "abcdef"]}, "/composition/slots", "there are 64,000,000 combinations"),
        ({"slots": [many("a", 11), many("b", 10), many("c", 10)],
          "forbidden": [[{"slot": "a", "part": "p1"}, {"slot": "b", "part": "p1"}]]},
         "/composition/slots", "more than 1,000 of them are not forbidden"),
        ({"slots": [many(name, 20) for name in "abcdef"],
          "forbidden": [[{"slot": a, "part": f"p{n}"}, {"slot": b, "part": f"p{m}"}]
                        for a, b in ("af", "bf") for n in range(20) for m in range(20)]},
         "/composition/slots", "64,000,000 combinations before"),
        ({"forbidden": [PAIR[:1]]}, "/composition/forbidden/0", "at least 2"),
        ({"forbidden": [[PAIR[0], {"slot": "mood", "part": "x"}]]}, "/composition/forbidden/0/1/slot", "no slot"),
        ({"forbidden": [[PAIR[0], {"slot": "tone", "part": "x"}]]}, "/composition/forbidden/0/1/part", "no such part"),
        ({"forbidden": [[PAIR[0], {"slot": "subject", "part": "progress"}]]}, "/composition/forbidden/0", "two slots"),
        ({"forbidden": [PAIR, [PAIR[0], {"slot": "tone", "part": "brisk"}]]},
         "/composition/slots/0/parts/2", "every combination with this part is forbidden"),
    ],
)  # fmt: skip
def test_a_wrong_composition_is_refused_and_the_error_names_the_field(
    client: Client, change: dict[str, Any], path: str, words: str
) -> None:
    definition = {"key": "wrong", "composition": {**COMPOSITION, "forbidden": [], **change}, "variables": VARIABLES,
                  "arms": [{"key": "all", "share": 1, "policy": {"type": "uniform"}}]}  # fmt: skip
    answer = client.post("/v1/experiments", definition)
    assert answer.status == 422, answer.raw
    found = [one for one in answer.body["errors"] if one["path"].startswith(path)]
    assert found and words in found[0]["message"], answer.body["errors"]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"actions": [{"id": "a"}]}, "/actions"),
        ({"arms": [{"key": "a", "share": 1.0, "policy": {"type": "fixed", "action": "a"}}]}, "/arms/0/policy/action"),
        ({"arms": [{"key": "a", "share": 1.0, "policy": BANDIT | {"slates": False}}]}, "/arms/0/policy/slates"),
        ({"arms": [{"key": "a", "share": 1.0, "policy": BANDIT | {"algorithm": "cover"}}]}, "/arms/0/policy/algorithm"),
        ({"composition": None, "arms": [{"key": "a", "share": 1.0, "policy": BANDIT | {"slates": True}}]},
         "/arms/0/policy/slates"),
        ({"composition": COMPOSITION | {"allow_nothing": False}, "fatigue": {"caps": []}}, "/composition/allow_nothing"),
        ({"fatigue": {"caps": [{"limit": 1, "window_s": 60, "action": "a"}]}}, "/fatigue/caps/0/action"),
    ],
)  # fmt: skip
def test_settings_that_a_composition_excludes_are_refused(client: Client, change: dict[str, Any], path: str) -> None:
    definition = {"key": "wrong", "composition": COMPOSITION, "variables": VARIABLES,
                  "arms": [{"key": "all", "share": 1.0, "policy": {"type": "uniform"}}], **change}  # fmt: skip
    answer = client.post("/v1/experiments", definition)
    assert answer.status == 422 and path in [one["path"] for one in answer.body["errors"]], answer.raw


def test_learning_arms_are_stored_as_slate_learners_and_read_back_unchanged(client: Client) -> None:
    arms = [{"key": "learned", "share": 1.0, "policy": BANDIT}]
    made = client.make("slates-learner", actions=[], composition=COMPOSITION, variables=VARIABLES, arms=arms)
    assert made["arms"][0]["policy"] == BANDIT | {"slates": True}
    shown = client.get("/v1/experiments/slates-learner").body
    assert shown["composition"]["forbidden"] == COMPOSITION["forbidden"]
    same = client.patch("/v1/experiments/slates-learner", {"arms": arms, "composition": shown["composition"]})
    assert same.status == 200 and same.body["config_version"] == 1
    more = shown["composition"] | {"forbidden": []}
    changed = client.patch("/v1/experiments/slates-learner", {"composition": more})
    assert changed.status == 200 and changed.body["config_version"] == 2
    assert client.patch("/v1/experiments/slates-learner", {"composition": None}).status == 422


def test_the_largest_composition_decides_within_its_deadline(client: Client) -> None:
    wide = {"slots": [many("a", 10), many("b", 10), many("c", 10)], "allow_nothing": True}
    client.make("wide", actions=[], composition=wide, arms=[{"key": "l", "share": 1.0, "policy": BANDIT}])
    answer = client.post("/v1/messages/decide", {"experiment": "wide", "unit_id": "u"})
    assert answer.status == 201 and len(answer.body["ranking"]) == 1001


def test_a_trigger_may_request_a_composed_message(client: Client, key: str) -> None:
    definition = {
        "key": "stalled",
        "experiment": "composed",
        "pattern": {"type": "event", "event": "done"},
        "delivery": {"to": "unit"},
    }
    refused = client.post("/v1/triggers", definition)
    assert [error["code"] for error in refused.body["errors"]] == ["trigger_variable_missing"] * 2
    supplied = {"name": "user.name", "progress": "progress"}
    answer = client.post("/v1/triggers", definition | {"variables": supplied})
    assert answer.status == 201, answer.raw
