"""Templates of experiments: what a new draft can begin with. Texts and numbers are examples that people replace."""

from typing import Final, NamedTuple

from app.foundation.fields import JsonObject
from app.foundation.pages.fields.kinds import Typed
from app.wizard.document import Document
from app.wizard.form import FORMS, ONE_VOICE
from app.wizard.typed import typed_of

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S


class Example(NamedTuple):
    """A template of an experiment."""

    title: str
    words: str
    definition: Document  # without a key and a name


def _learned(control: str, share: float = 0.5) -> list[JsonObject]:
    """The control's action for a half, and an arm that learns for the others."""
    return [
        {"key": "control", "share": 1 - share, "policy": {"type": "fixed", "action": control}},
        {"key": "learned", "share": share, "policy": {"type": "bandit"}},
    ]


def _email(id: str, title: str) -> JsonObject:
    texts = {"en": {"title": title, "body": "Hello {{ name }}, here is what is new.", "call_to_action": "Read more"}}
    return {"id": id, "template": {"channel": "email", "texts": texts}}


def _in_app(id: str, title: str, body: str) -> JsonObject:
    texts = {"en": {"title": title, "body": body, "call_to_action": "Show me"}}
    return {"id": id, "template": {"channel": "in_app", "texts": texts}}


def _guardrail(metric: str, name: str) -> JsonObject:
    source = {"type": "value", "metric": metric}
    return {"key": metric, "name": name, "role": "guardrail", "source": source, "direction": "decrease"}


EXAMPLES: Final[dict[str, Example]] = {
    "subject_lines": Example(
        "Subject lines of an e-mail",
        "Three subject lines; a reward of 1 when somebody opens the e-mail; unsubscribing must not get worse.",
        {
            "hypothesis": "A subject line that suits the person is opened more often than the one that we send today.",
            "actions": [
                _email("today", "News for {{ name }}"),
                _email("question", "{{ name }}, did you know this?"),
                _email("short", "Three new things"),
            ],
            "variables": [{"name": "name", "sample": "Ada", "required": True}],
            "arms": _learned("today"),
            "control_arm": "control",
            "reward": {"window_s": 2 * DAY_S, "aggregation": "max", "min": 0, "max": 1},
            "metrics": [_guardrail("unsubscribed", "Unsubscribed")],
        },
    ),
    "recommendation_list": Example(
        "List of recommendations",
        "Your app sends its candidates and asks for the best three; each position has a reward of its own.",
        {
            "hypothesis": "Recommendations that suit the person are clicked more often than a list in random order.",
            "actions": [],
            "lists": {"positions": 3, "reward": "position"},
            "arms": [
                {"key": "control", "share": 0.5, "policy": {"type": "uniform"}},
                {"key": "learned", "share": 0.5, "policy": {"type": "bandit"}},
            ],
            "control_arm": "control",
            "reward": {"window_s": HOUR_S, "aggregation": "max", "min": 0, "max": 1},
            "metrics": [
                {
                    "key": "bought",
                    "name": "Bought within a week",
                    "role": "secondary",
                    "source": {"type": "event", "event": "purchase", "value": "happened"},
                    "window_s": 7 * DAY_S,
                }
            ],
        },
    ),
    "in_app_message": Example(
        "In-app message with caps",
        "Two messages or none; at most one a day and three a week, and none at night; people may rate them.",
        {
            "hypothesis": "The right tip at the right time is used more often than the same tip for everybody.",
            "actions": [
                _in_app("tour", "New here, {{ name }}?", "Take the tour: it needs three minutes."),
                _in_app("tip", "A tip for you", "You can do this faster."),
                {"id": "nothing"},
            ],
            "variables": [{"name": "name", "sample": "Ada", "required": True}],
            "arms": _learned("tour"),
            "control_arm": "control",
            "reward": {"window_s": DAY_S, "aggregation": "max", "min": 0, "max": 1},
            "feedback": {"thumbs": {"up": 1, "down": 0}},
            "fatigue": {
                "caps": [{"limit": 1, "window_s": DAY_S}, {"limit": 3, "window_s": 7 * DAY_S}],
                "quiet_hours": {"start": "22:00", "end": "08:00"},
            },
            "metrics": [ONE_VOICE, _guardrail("dismissed", "Dismissed without reading")],
        },
    ),
    "price_display": Example(
        "How a price is shown",
        "Three ways to show the same price; the revenue of a week per user, without a few extreme baskets deciding.",
        {
            "hypothesis": "People who see what a day costs buy more often than people who see the price of a year.",
            "actions": [
                {"id": "per_year", "payload": {"text": "120 a year"}},
                {"id": "per_month", "payload": {"text": "10 a month, billed once a year"}},
                {"id": "per_day", "payload": {"text": "33 cents a day, billed once a year"}},
            ],
            "arms": [
                {"key": "control", "share": 0.34, "policy": {"type": "fixed", "action": "per_year"}},
                {"key": "per_month", "share": 0.33, "policy": {"type": "fixed", "action": "per_month"}},
                {"key": "per_day", "share": 0.33, "policy": {"type": "fixed", "action": "per_day"}},
            ],
            "control_arm": "control",
            "reward": {"window_s": 7 * DAY_S, "aggregation": "sum", "min": 0, "max": 1000},
            "metrics": [
                {
                    "key": "revenue",
                    "name": "Revenue per user",
                    "role": "primary",
                    "source": {"type": "reward", "per": "unit"},
                    "winsorize": 0.99,
                },
                _guardrail("refunded", "Refunded"),
            ],
            "decision_rule": {"min_days": 14},
        },
    ),
}


STEPS: Final = [step for step in FORMS if step not in ("purpose", "plan")]  # that a template fills


def typed(name: str) -> Typed:
    """Every field of the forms, as a template fills it; without a key and a name.

    :raises KeyError: no such template.
    """
    return typed_of({"key": name, **EXAMPLES[name].definition}) | {"key": "", "name": ""}
