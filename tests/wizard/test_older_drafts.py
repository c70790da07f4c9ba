"""A draft from before fields were named by their pointers can be continued, and nothing in it is lost."""

import json
from typing import Any

import pytest
from sqlalchemy import text

from app.design import drafts
from app.design.experiment_config import ExperimentConfig
from app.foundation.pages.fields.kinds import Typed
from app.foundation.pages.fields.trees import texts_of
from app.foundation.store.migrate import upgrade
from app.wizard.check import check
from app.wizard.form import WHOLE
from tests.service import engine_of

TEMPLATE = json.dumps(
    {"channel": "push", "asks": "stars", "texts": [{"locale": "en", "title": "T", "body": "Hi", "call_to_action": ""}]}
)
STORED = json.dumps({"channel": "push", "texts": {"de": {"title": "", "body": "Ja", "call_to_action": "Los"}}})
ACTION = {"kind": "text", "title": "", "text": "", "payload": "", "features": "", "template": ""}
OLDER: dict[str, Any] = {
    "purpose": {"key": "older", "name": "Typed before", "hypothesis": "Why\nnot"},
    "actions": {
        "among": "list",
        "rows": [
            ACTION | {"row": "a1", "id": "say", "title": "Title", "text": "Text", "template": TEMPLATE},
            ACTION | {"row": "b2", "id": "stored", "kind": "json", "payload": '{"a": 1}', "template": STORED},
            ACTION | {"row": "c3", "id": "silent", "features": '{"n": 2}'},
        ],
        "variables": [{"name": "user", "kind": "number", "sample": "3", "required": "yes"}],
        "composition": {
            **{"channel": "email", "nothing": "yes", "languages": ["en", "de"], "first": "", "second": "p2"},
            "slots": [
                {
                    "name": "subject",
                    "place": "title",
                    "parts": [{"row": "p1", "id": "x", "features": "{}", "texts": ["X", ""], "empty": ["", "yes"]}],
                },
                {
                    "name": "tone",
                    "place": "body",
                    "parts": [{"row": "p2", "id": "y", "features": "", "texts": ["Y", "Z"], "empty": ["", ""]}],
                },
            ],
            "pairs": [["p1", "p2"]],
        },
    },
    "arms": {
        "control": "0",
        "holdout": "yes",
        "holdout_share": "5",
        "rows": [
            {"key": "control", "kind": "fixed", "action": "say", "share": "35"},
            {
                **{
                    "key": "learned",
                    "kind": "bandit",
                    "algorithm": "squarecb",
                    "share": "60",
                    "floor": "7",
                    "bits": "12",
                },
                "interactions": "context*action action*action",
            },
        ],
    },
    "reward": {
        **{
            "window": "2",
            "unit": "hours",
            "default": "0",
            "aggregation": "mean",
            "min": "0",
            "max": "1",
            "example": "1 0",
        },
        **{"thumbs_up": "1", "thumbs_down": "0", **{f"stars_{count}": "" for count in range(1, 6)}, "mute": "3"},
        **{"mute_unit": "days", "confidence": "50", "limit": "20", "limit_window": "1", "limit_unit": "hours"},
        "rows": [{"name": "too long", "value": "0.2"}],
        "empty": "",
    },
    "people": {
        **{"quiet_start": "22:00", "quiet_end": "08:00", "quiet_zone": "Europe/Vienna", "distance": "90"},
        **{"distance_unit": "minutes", "consent_message": "if_granted", "profile": "yes", "profile_counts": "yes"},
        **{"profile_recency": "", "profile_actions": "yes", "profile_tags": "", "half_life": "7"},
        **{"half_life_unit": "days", "lookback": "50", "context": "only", "context_names": "plan, street"},
        **{"context_hashed": "street", "retention": "90", "retention_unit": "days", "empty": ""},
        "rows": [{"limit": "2", "window": "7", "unit": "days", "channel": "push", "action": "", "across": "platform"}],
    },
    "metrics": {
        "rows": [
            {
                **{
                    "key": "visits",
                    "name": "",
                    "role": "guardrail",
                    "type": "sessions",
                    "gap": "45",
                    "min_effect": "2",
                },
                **{"direction": "increase", "window": "3", "unit": "days", "winsorize": "99"},
            }
        ],
        **{"segments": "land, device", "alpha": "10", "min_units": "7", "min_days": "1", "max_days": ""},
    },
    "plan": {"mode": "bandit", "means": "0.1\n0.3", "rounds": "2000"},
}


@pytest.fixture
def tree(empty_database_url: str) -> Typed:
    """The typed document of an older draft after the upgrade."""
    upgrade(empty_database_url, "0006")
    with engine_of(empty_database_url) as engine, engine.begin() as connection:
        query = "INSERT INTO drafts (typed, version, created_by, updated_by) VALUES (:typed, 3, 'a', 'a') RETURNING id"
        draft_id = connection.execute(text(query), {"typed": json.dumps(OLDER)}).scalar_one()
    upgrade(empty_database_url)
    with engine_of(empty_database_url) as engine:
        draft = drafts.get(engine, draft_id)
        assert drafts.unfinished(engine)[0].title == "Typed before"
    assert draft.typed["saved"] == list(OLDER)
    return dict(draft.typed["document"])


def config_of(tree: Typed) -> ExperimentConfig:
    checked = check(tree)
    assert checked.problems == {}
    assert checked.config is not None
    return checked.config


def test_every_field_of_an_older_draft_has_a_field_of_today(tree: Typed) -> None:
    fields = {name for name, _ in texts_of(WHOLE.complete(tree))}
    assert {name for name, _ in texts_of(tree)} <= fields
    assert WHOLE.complete(tree)["plan"]["means"] == "0.1\n0.3"


def test_actions_arms_and_reward_of_an_older_draft_stay(tree: Typed) -> None:
    config = config_of(tree)
    assert (config.key, config.name, config.hypothesis) == ("older", "Typed before", "Why\nnot")
    assert [action.payload for action in config.actions] == [{"title": "Title", "text": "Text"}, {"a": 1}, None]
    assert config.actions[0].template is not None
    assert config.actions[0].template.asks == "stars"
    assert config.actions[1].template is not None
    assert config.actions[1].template.texts["de"].call_to_action == "Los"
    assert config.actions[2].features == {"n": 2}
    assert [(arm.key, arm.share) for arm in config.arms] == [("control", 0.35), ("learned", 0.6), ("holdout", 0.05)]
    assert config.arms[1].policy["exploration_floor"] == 0.07
    assert config.arms[1].policy["parameters"] == {"bits": 12, "interactions": ["context*action", "action*action"]}
    assert config.control_arm == "control"
    assert (config.reward.window_s, config.reward.aggregation) == (7200, "mean")
    assert config.metrics[0].source.model_dump() == {"type": "sessions", "gap_s": 2700}
    assert (config.metrics[0].winsorize, config.decision_rule.alpha) == (0.99, 0.1)
    assert config.segments == ["land", "device"]


def test_feedback_and_people_of_an_older_draft_stay(tree: Typed) -> None:
    config = config_of(tree)
    assert config.feedback is not None
    assert (config.feedback.thumbs, config.feedback.stars) != (None, None)
    assert (config.feedback.reasons, config.feedback.confidence) == ({"too long": 0.2}, 0.5)
    assert config.fatigue is not None
    assert config.fatigue.min_distance_s == 5400
    assert config.fatigue.caps[0].window_s == 7 * 86_400
    assert config.consent is not None
    assert config.consent.message == "if_granted"
    assert config.profile is not None
    assert (config.profile.recency, config.profile.lookback) == (False, 50)
    assert [(field.name, field.hashed) for field in config.context_fields or []] == [("plan", False), ("street", True)]
    assert config.retention_s == 90 * 86_400


def test_the_composed_message_of_an_older_draft_stays(tree: Typed) -> None:
    composed = check(tree | {"actions:among": "composed"})
    assert composed.problems["/composition/forbidden:first"] == "Choose the other part of the pair, or none."
    assert composed.document["composition"]["forbidden"] == [
        [{"slot": "subject", "part": "x"}, {"slot": "tone", "part": "y"}]
    ]
    assert composed.document["composition"]["slots"][0]["parts"][0]["texts"] == {"en": "X", "de": ""}
