"""Every field of the wizard's forms, by step: its name, which is its pointer in the definition, its kind, and how it begins.

Names with a colon belong to the form alone. ``:row`` names a row, which keeps that name when its position or key changes.
"""

from typing import Final

from app.design.feedback_config import STARS
from app.design.pages.definition_fields import CAP, KEY, POLICY
from app.design.people_config import PURPOSES
from app.foundation.pages.fields.kinds import (
    Boxes,
    Chosen,
    Duration,
    Flag,
    Kind,
    Number,
    Text,
    Typed,
    percent,
    percentage,
)
from app.foundation.pages.fields.trees import Members, Part, Rows
from app.foundation.pages.format import duration

NAME = Text(empty="", strip=False)
FALLBACK = Part({"to": Text("control"), "action": KEY, "margin": percent("10"), "probe": percent("5"), "tell": Flag()})
ARM = Part(
    {
        **{"key": KEY, "share": percent("0", needed=True), "policy": POLICY, "lineage_of": Text()},
        **{"apprentice": Flag(), "fallback": FALLBACK},
    }
)
MESSAGE_TEXT = Part({"locale": KEY, "title": NAME, "body": NAME, "call_to_action": NAME})
TEMPLATE = Part({"channel": Text(), "asks": Text(), "texts": Rows(MESSAGE_TEXT, ({"locale": "en"},))})
FEATURES = Members(empty={}, without={})
ACTION = Part(
    {
        ":row": Text(),
        "id": KEY,
        "payload": Members(empty=None, texts=("title", "text")),
        "features": FEATURES,
        "template": TEMPLATE,
    }
)
VARIABLE = Part({"name": KEY, "sample:kind": Text("text"), "sample": NAME, "required": Flag()})
PART_TEXT = Part({"text": NAME, "nothing": Flag()})
PART = Part({":row": Text(), "id": KEY, "features": FEATURES, "texts": Rows(PART_TEXT, ({},))})
SLOT = Part({"name": KEY, "place": Text("body"), "parts": Rows(PART, ({},))})
COMPOSITION = Part(
    {
        "channel": Text("in_app"),
        "allow_nothing": Flag(),
        "slots:languages": Rows(Part({"locale": KEY}), ({"locale": "en"},)),
        "slots": Rows(SLOT, ({"name": "title", "place": "title"}, {"name": "text"})),
        "forbidden": Boxes(),  # each holds the rows of two parts
        "forbidden:first": Text(),
        "forbidden:second": Text(),
    }
)
LISTS = Part({"positions": Number("3", whole=True, needed=True), "reward": Text("position")})
REWARD = Part(
    {
        "window_s": Duration("1", needed=True, unit="hours"),
        "default": Number("0", needed=True),
        "aggregation": Text("max"),
        "min": Number("0", needed=True),
        "max": Number("1", needed=True),
    }
)
FORMULA = Part({"text": Text(), "relearn": Flag("yes")})
FEEDBACK = Part(
    {
        "thumbs": Part({"up": Number(), "down": Number()}),
        "stars": Part({str(index): Number() for index in range(STARS)}),
        "score": Part({"low": Number(), "high": Number()}),
        "reasons": Rows(Part({"name": NAME, "value": Number(needed=True)})),
        "dismissed": Number(),
        "not_interested": Number(),
        "confidence": percent("100"),
        "mute_s": Duration("30"),
        "limit": Number("20", whole=True),
        "limit_window_s": Duration("1", unit="hours"),
    }
)
SAFETY = Part(
    {
        "unit_share": percent("5", needed=True),
        "reward_limit": Number(whole=True),
        "reward_limit_window_s": Duration("1", unit="hours"),
        "quarantine": Flag("yes"),
        "challenge": Flag("yes"),
        "challenge_every_s": Duration("7"),
    }
)
FATIGUE = Part(
    {
        "caps": Rows(CAP),
        "quiet_hours": Part({"start": KEY, "end": KEY, "time_zone": Text()}),
        "min_distance_s": Duration(unit="hours"),
    }
)
GROUP_CAP = Part({"by": Text("action"), "limit": Number(whole=True, needed=True), "window_s": Duration(needed=True)})
REPEATS = Part({"in_a_row": Number(whole=True), "by": Text("action"), "caps": Rows(GROUP_CAP)})
SCHEMA = Part({"name": NAME, "type": Text("text"), "example": Text()})
PROFILE = Part(
    {
        **{name: Flag("yes") for name in ("counts", "recency", "actions")},
        "tags": Flag(),
        "half_life_s": Duration("7"),
        "lookback": Number("100", whole=True),
    }
)
SOURCE = Part(
    {
        "type": Text("value"),
        **{"metric": KEY, "per": Text("decision"), "numerator": KEY, "denominator": KEY},
        **{"days": Number(needed=True), "until_days": Number(), "quantile": Number(needed=True)},
        "gap_s": Number(times=Number.times * 60, written=duration),
        **{"event": KEY, "value": Text("happened"), "field": KEY, "late_s": Duration(unit="hours")},
    }
)
COVARIATE = Part({"type": Text(""), "field": KEY, "days": Number("28")})
METRIC = Part(
    {
        **{"key": KEY, "name": KEY, "role": Text("secondary"), "source": SOURCE, "direction": Text("increase")},
        **{"window_s": Duration(), "winsorize": percent(), "min_effect": percent(), "covariate": COVARIATE},
        "on_crossed": Text("fall_back"),
    }
)
RULE = Part(
    {
        **{"alpha": percent("5"), "min_units": Number("100", whole=True)},
        **{"min_days": Number("7"), "max_days": Number()},
        **{"planned_units": Number(whole=True), "max_decisions_per_day": Number(whole=True)},
    }
)
PLAN = Part(
    {
        **{"mode": Text("metric"), "source": Text("typed"), "experiment": Text(), "kind": Text("proportion")},
        **{"value": Text(), "std": Text(), "effect": Text("10"), "power": Text("80"), "per_day": Text()},
        **{"means": Text(), "rounds": Text("5000"), "algorithm": Text("epsilon_greedy"), "floor": Text("5")},
        "reward_std": Text(),
    }
)
FIRST_ARMS: Final[tuple[Typed, ...]] = (
    {"key": "control", "share": "20", "policy": {"type": "fixed"}},
    {"key": "learned", "share": "60"},
    {"key": "uniform", "share": "20", "policy": {"type": "uniform"}},
)
ONE_VOICE: Final[Typed] = {
    "key": "reward",
    "name": "Reward per user",
    "role": "primary",
    "source": {"type": "reward", "per": "unit"},
}
STEPS: Final[dict[str, tuple[str, dict[str, Kind]]]] = {  # by name: the title, and the fields
    "purpose": ("Purpose", {"key": KEY, "name": KEY, "hypothesis": NAME}),
    "actions": (
        "Actions",
        {
            "actions:among": Text("list"),  # or ranked: lists of them; or composed
            "lists": LISTS,
            "actions": Rows(ACTION),
            "variables": Rows(VARIABLE),
            "composition": COMPOSITION,
        },
    ),
    "arms": (
        "Arms and traffic",
        {
            "arms": Rows(ARM, FIRST_ARMS, written=percentage),
            "control_arm": Text("0"),  # an index among the arms
            "arms:holdout": Flag(),
            "arms:holdout_share": percent(needed=True),
        },
    ),
    "reward": (
        "Reward",
        {
            **{"reward": REWARD, "reward:example": Text("1"), "reward_formula": FORMULA},
            **{"feedback": FEEDBACK, "safety": SAFETY},
        },
    ),
    "people": (
        "People",
        {
            **{"fatigue": FATIGUE, "repeats": REPEATS},
            "consent": Part({name: Text("unless_denied") for name in PURPOSES}),
            "profile:kept": Flag(),
            "profile": PROFILE,
            "context_schema": Rows(SCHEMA),
            "context_fields:kind": Text("all"),
            "context_fields:names": Chosen(),
            "context_fields:hashed": Chosen(),
            "retention_s": Duration(),
        },
    ),
    "metrics": ("Metrics and rule", {"metrics": Rows(METRIC), "segments": Chosen(), "decision_rule": RULE}),
    "plan": ("How long", {"plan": PLAN}),
    "review": ("Review", {}),
}
NAMES: Final = tuple(STEPS)
FORMS: Final = {step: Part(fields) for step, (_, fields) in STEPS.items() if fields}
WHOLE: Final = Part({name: kind for form in FORMS.values() for name, kind in form.fields.items()})
_STEP_OF: Final = {name.partition(":")[0]: step for step, form in FORMS.items() for name in form.fields}


def step_of(pointer: str) -> str:
    """The step that a field belongs to."""
    return _STEP_OF.get(pointer.split("/")[1].partition(":")[0] if pointer else "", "review")


def begun(document: Typed) -> Typed:
    """The saved fields, and how steps begin that nobody saved: where users decide often, the reward counts each of them once."""
    return document if "metrics" in document or not decides_often(document) else document | {"metrics": [ONE_VOICE]}


def decides_often(document: Typed) -> bool:
    """True when the draft says that a user decides more than once: it has limits, or keeps a past of each user."""
    fatigue, repeats = document.get("fatigue", {}), document.get("repeats", {})
    if repeats.get("caps") or repeats.get("in_a_row", "").strip():
        return True
    return bool(fatigue.get("caps") or fatigue.get("min_distance_s", "").strip() or document.get("profile:kept"))
