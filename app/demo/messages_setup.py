"""The definitions of the messages' demo: experiments, feedback schema, caps, triggers."""

from app.demo.client import Client
from app.demo.course import BUTTONS, LESSONS, NUDGES, SUBJECTS, TONES
from app.foundation.fields import JsonObject

NUDGE, HEADLINES, LISTS, CAPS, ONCE = (
    f"course-{name}" for name in ("nudges", "headlines", "lessons", "reminders", "once")
)
MILESTONE, STALLED = "course-milestone", "course-stalled"
CONTROL = "control"
FORBIDDEN = ("ranking", "warm")  # a subject and a tone that must not be combined
LESSONS_OF_MILESTONE = 4
STALLED_DAYS = 2.5
WINDOW_S = 2.0
UNHURRIED_S = (
    10.0  # the window of the experiment whose value is compared with the truth: a slow machine loses no reward
)
WEEK_S = 3600.0  # the cap's window; all reminders of a run are sent within it
TITLES = {"discover": "Something new", "five-minutes": "Five minutes", "overtake": "So close"}
BODIES = {
    "discover": "Lesson {{ lessons | plus: 1 }} answers a question that you had.",
    "five-minutes": "You did {{ lessons }} {{ lessons | plural: one: 'lesson', other: 'lessons' }}. The next one is short.",
    "overtake": "One more lesson and you pass somebody.",
}
TEXTS = {"subject": {"question": "Did you know?", "short": "Two minutes", "ranking": "You are third"},
         "tone": {"warm": "Good to see you.", "plain": "Your next lesson is ready.", "bold": "Take the lead."},
         "button": {"now": "Start now", "later": "Remind me tonight"}}  # fmt: skip
PLACES = {"subject": "title", "tone": "body", "button": "call_to_action"}


def create(client: Client, day_s: float) -> None:
    """Define and start everything; change existing experiments to these definitions where that is possible."""
    for definition in (_nudges(day_s), _headlines(), _lists(), _caps(), _once()):
        path = f"/v1/experiments/{definition['key']}"
        if client.call("GET", path, allow=(404,))[0] == 404:
            client.call("POST", "/v1/experiments", definition)
        else:
            client.call("PATCH", path, {"fatigue": definition.get("fatigue")})
        client.call("POST", f"{path}/start")
    for trigger in _triggers(day_s):
        path = f"/v1/triggers/{trigger['key']}"
        if client.call("GET", path, allow=(404,))[0] == 404:
            client.call("POST", "/v1/triggers", trigger)
        else:
            client.call("PATCH", path, {"pattern": trigger["pattern"]})
        client.call("POST", f"{path}/start")


def _bandit(interactions: list[str]) -> JsonObject:
    parameters = {"interactions": interactions, "gamma_scale": 30, "learning_rate": 1.0}
    return {"type": "bandit", "algorithm": "squarecb", "parameters": parameters, "exploration_floor": 0.05}


def _two_learners() -> list[JsonObject]:
    """Two learning arms: one uses the context, the other learns what is best for all."""
    return [
        {"key": "learned", "share": 0.5, "policy": _bandit(["context*action"])},
        {"key": "same_for_all", "share": 0.5, "policy": _bandit([])},
    ]


def _nudges(day_s: float) -> JsonObject:
    actions: list[JsonObject] = [
        {"id": name, "template": {"texts": {"en": {"title": TITLES[name], "body": BODIES[name]}}}}
        for name in NUDGES.values()
    ]
    return {
        "key": NUDGE,
        "name": "Nudges for learners who stall or reach a milestone",
        "hypothesis": "The nudge that suits somebody is rated higher than one for all.",
        "actions": [*actions, {"id": "nothing"}],
        "variables": [{"name": "lessons", "sample": 4, "required": True}],
        "arms": [
            {"key": "learned", "share": 0.7, "policy": _bandit(["context*action"])},
            {"key": CONTROL, "share": 0.3, "policy": {"type": "uniform"}},
        ],
        "control_arm": CONTROL,
        "reward": {"window_s": max(3 * day_s, 2.0), "default": 0, "aggregation": "max"},
        "feedback": {"stars": [0, 0.25, 0.5, 0.75, 1], "not_interested": 0, "confidence": 0.8},
        "fatigue": {"caps": [{"limit": 4, "window_s": max(7 * day_s, 1.0)}]},
        "profile": {"half_life_s": 604800},
        "segments": ["persona"],
    }


def _headlines() -> JsonObject:
    features: dict[str, dict[str, str]] = {"subject": SUBJECTS, "tone": TONES, "button": BUTTONS}
    slots = [
        {
            "name": slot,
            "place": PLACES[slot],
            "parts": [{"id": part, "texts": {"en": TEXTS[slot][part]}} for part in of.values()],
        }
        for slot, of in features.items()
    ]
    pair = [{"slot": "subject", "part": FORBIDDEN[0]}, {"slot": "tone", "part": FORBIDDEN[1]}]
    return {
        "key": HEADLINES,
        "name": "Headlines made of subject, tone and button",
        "composition": {"slots": slots, "forbidden": [pair]},
        "arms": _two_learners(),
        "control_arm": "same_for_all",
        "reward": {"window_s": WINDOW_S},
    }


def _lists() -> JsonObject:
    actions = [{"id": name, "features": {"topic": topic}} for name, topic in LESSONS.items()]
    return {
        "key": LISTS,
        "name": "Three lessons to go on with",
        "actions": actions,
        "arms": _two_learners(),
        "control_arm": "same_for_all",
        "reward": {"window_s": WINDOW_S},
    }


def _reminder(limit: int, window_s: float, policy: JsonObject) -> JsonObject:
    cap = {"limit": limit, "window_s": window_s, "across": "experiment"}
    return {
        "actions": [
            {"id": "reminder", "template": {"texts": {"en": {"body": "Your course waits."}}}},
            {"id": "nothing"},
        ],
        "arms": [{"key": "all", "share": 1, "policy": policy}],
        "reward": {"window_s": UNHURRIED_S},
        "fatigue": {"caps": [cap]},
    }


def _caps() -> JsonObject:
    definition = _reminder(3, WEEK_S, {"type": "uniform"})
    return {"key": CAPS, "name": "Reminders, at most three a week", **definition}


def _once() -> JsonObject:
    definition = _reminder(1, 86_400.0, {"type": "fixed", "action": "reminder"})
    return {"key": ONCE, "name": "One reminder a day, whoever asks how often", **definition}


def _triggers(day_s: float) -> list[JsonObject]:
    shared = {
        "experiment": NUDGE,
        "delivery": {"to": "unit"},
        "variables": {"lessons": "lessons"},
        "context": {name: name for name in ("persona", "device", "topic")},
    }
    milestone = {"type": "milestone", "event": "lesson_done", "property": "lessons", "at_least": LESSONS_OF_MILESTONE}
    stalled = {"type": "absence", "event": "lesson_done", "for_s": max(STALLED_DAYS * day_s, 1.0)}
    return [
        {"key": MILESTONE, "name": "Some lessons done", "pattern": milestone, "priority": 1, **shared},
        {"key": STALLED, "name": "No lesson for days", "pattern": stalled, **shared},
    ]
