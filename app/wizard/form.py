"""The wizard's forms as text: which fields each step has, what they begin with, and how posted forms become them.

What was typed is kept as {"FIELD": text, ..., "rows": [{"FIELD": text, ...}, ...]} for each step. A field of a row is called
``rows-PLACE-FIELD`` in forms. The step of actions also keeps "variables", a list of the same kind, and posts one action at a
time; its "among" says whether these actions are chosen among ("list", or empty) or a "composition" ("composed"; see
``wizard_composition``). Nothing is judged here; ``wizard_document`` reads the texts.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import MultiDict

from app.wizard import message as wizard_message
from bandits.policy import ALGORITHMS, COMMON, DEFAULT_FLOOR, DEFAULT_INTERACTIONS

Typed = dict[str, Any]

STEPS = (
    ("purpose", "Purpose"),
    ("actions", "Actions"),
    ("arms", "Arms and traffic"),
    ("reward", "Reward"),
    ("people", "People"),
    ("metrics", "Metrics and rule"),
    ("plan", "How long"),
    ("review", "Review"),
)
NAMES = tuple(name for name, _ in STEPS)
FORMS = NAMES[:-1]
PARAMETERS = tuple(dict.fromkeys(name for known in (COMMON, *ALGORITHMS.values()) for name in known))
FIELDS: Mapping[str, tuple[str, ...]] = {
    "purpose": ("name", "key", "hypothesis"),
    "actions": ("among",),
    "arms": ("control", "holdout", "holdout_share"),
    "reward": (
        *("window", "unit", "default", "aggregation", "min", "max", "example"),
        *("thumbs_up", "thumbs_down", "stars_1", "stars_2", "stars_3", "stars_4", "stars_5", "score_low", "score_high"),
        *(
            "dismissed",
            "not_interested",
            "confidence",
            "mute",
            "mute_unit",
            "limit",
            "limit_window",
            "limit_unit",
            "empty",
        ),
    ),
    "people": (
        *("quiet_start", "quiet_end", "quiet_zone", "distance", "distance_unit"),
        *("consent_personalise", "consent_learn", "consent_analyse", "consent_message"),
        *("profile", "profile_counts", "profile_recency", "profile_actions", "profile_tags"),
        *("half_life", "half_life_unit", "lookback"),
        *("context", "context_names", "context_hashed", "retention", "retention_unit", "empty"),
    ),
    "metrics": ("segments", "alpha", "min_units", "min_days", "max_days"),
    "plan": (
        "mode",
        "source",
        "experiment",
        "kind",
        "value",
        "std",
        "effect",
        "power",
        "per_day",
        "means",
        "rounds",
        "algorithm",
        "floor",
        "reward_std",
    ),
}
ROWS: Mapping[str, tuple[str, ...]] = {
    "actions": ("row", "id", "kind", "title", "text", "payload", "features", "template"),
    "reward": ("name", "value"),
    "people": ("limit", "window", "unit", "channel", "action", "across"),
    "arms": ("key", "kind", "action", "share", "algorithm", "floor", "interactions", *PARAMETERS),
    "metrics": (
        "key",
        "name",
        "role",
        "type",
        "metric",
        "per",
        "numerator",
        "denominator",
        "days",
        "gap",
        "direction",
        "window",
        "unit",
        "winsorize",
        "min_effect",
    ),
}
VARIABLE = ("name", "kind", "sample", "required")
PLURAL = ("interactions",)  # fields of several boxes; their values stand behind each other
_ROW = re.compile(r"(rows|texts|variables)-(\d{1,3})-([a-z0-9_]+)")


def learned_row(key: str, share: str) -> dict[str, str]:
    """A learning arm with what is a good first choice."""
    floor = f"{DEFAULT_FLOOR * 100:g}"
    shared = {"algorithm": "squarecb", "floor": floor, "interactions": " ".join(DEFAULT_INTERACTIONS)}
    return _whole("arms", {"key": key, "kind": "bandit", "share": share} | shared)


def _whole(step: str, given: dict[str, str]) -> dict[str, str]:
    return {name: given.get(name, "") for name in ROWS[step]}


def new_row(step: str) -> dict[str, str]:
    """An empty row of a step."""
    if step == "arms":
        return learned_row("", "0")
    return _whole(
        step,
        {"role": "secondary", "type": "value", "per": "decision", "direction": "increase", "unit": "days"}
        | {"across": "platform"},
    )


START: Mapping[str, Typed] = {
    "purpose": {},
    "actions": {"rows": []},
    "arms": {
        "control": "0",
        "rows": [
            learned_row("control", "20") | {"kind": "fixed"},
            learned_row("learned", "60"),
            learned_row("uniform", "20") | {"kind": "uniform"},
        ],
    },
    "reward": {
        "window": "1",
        "unit": "hours",
        "default": "0",
        "aggregation": "max",
        "min": "0",
        "max": "1",
        "example": "1",
        "confidence": "100",
        "mute": "30",
        "mute_unit": "days",
        "limit": "20",
        "limit_window": "1",
        "limit_unit": "hours",
    },
    "people": {
        "distance_unit": "hours",
        **{f"consent_{name}": "unless_denied" for name in ("personalise", "learn", "analyse", "message")},
        **{f"profile_{name}": "yes" for name in ("counts", "recency", "actions")},
        "half_life": "7",
        "half_life_unit": "days",
        "lookback": "100",
        "context": "all",
        "retention_unit": "days",
    },
    "metrics": {"rows": [], "alpha": "5", "min_units": "100", "min_days": "7", "max_days": ""},
    "plan": {
        "mode": "metric",
        "source": "typed",
        "kind": "proportion",
        "effect": "10",
        "power": "80",
        "rounds": "5000",
        "algorithm": "epsilon_greedy",
        "floor": "5",
    },
}  # what a step shows before somebody saved it


def of_step(typed: Typed, step: str) -> Typed:
    """What was typed in a step, complete: every field is there."""
    given = typed.get(step, START[step])
    found: Typed = {name: given.get(name, "") for name in FIELDS[step]}
    if step in ROWS:
        found["rows"] = [_whole(step, row) for row in given.get("rows", [])]
    if step == "actions":
        found["variables"] = [{name: row.get(name, "") for name in VARIABLE} for row in given.get("variables", [])]
        found["composition"] = given.get("composition")
    return found


def posted(step: str, form: "MultiDict[str, str]") -> Typed:
    """A posted form as it is kept."""
    found: Typed = {name: clean(form.get(name, "")) for name in FIELDS[step]}
    if step in ROWS:
        found["rows"] = [_whole(step, row) for row in _posted_rows(form, "rows", ROWS[step])]
    return found


def _posted_rows(form: "MultiDict[str, str]", what: str, names: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows ``WHAT-PLACE-FIELD`` of a form, in their order."""
    rows: dict[int, dict[str, str]] = {}
    for name in form:
        match = _ROW.fullmatch(name)
        if match and match[1] == what and match[3] in names:
            values = form.getlist(name) if match[3] in PLURAL else [form[name]]
            rows.setdefault(int(match[2]), {})[match[3]] = clean(" ".join(values))
    return [rows[place] for place in sorted(rows)]


def posted_action(form: "MultiDict[str, str]", do: str) -> dict[str, str]:
    """The form of one action.

    :param do: ``language`` adds a text to its message, ``forget-1`` removes the second one.
    """
    texts = _posted_rows(form, "texts", wizard_message.TEXT)
    verb, _, place = do.partition("-")
    if verb == "language":
        texts.append({})
    elif verb == "forget" and place.isdecimal():
        texts = [one for number, one in enumerate(texts) if number != int(place)]
    message = wizard_message.kept(clean(form.get("channel", "")), clean(form.get("asks", "")), texts)
    return {name: clean(form.get(name, "")) for name in ROWS["actions"]} | {"template": message}


def posted_variables(form: "MultiDict[str, str]", do: str) -> list[dict[str, str]]:
    """The variables that texts may name.

    :param do: ``variable`` adds one, ``drop-1`` removes the second one.
    """
    rows = [{name: row.get(name, "") for name in VARIABLE} for row in _posted_rows(form, "variables", VARIABLE)]
    verb, _, place = do.partition("-")
    if verb == "variable":
        rows.append(dict.fromkeys(VARIABLE, "") | {"kind": "text"})
    elif verb == "drop" and place.isdecimal():
        rows = [one for number, one in enumerate(rows) if number != int(place)]
    return rows


def with_rows_done(step: str, typed: Typed, do: str) -> Typed:
    """What was typed, after a button that adds, duplicates or removes a row (``add``, ``duplicate-2``, ``remove-2``)."""
    if "rows" not in typed:
        return typed
    rows = list(typed["rows"])
    verb, _, text = do.partition("-")
    place = int(text) if text.isdecimal() and int(text) < len(rows) else None
    control = typed.get("control", "")
    if verb == "add":
        rows.append(new_row(step))
    elif verb == "duplicate" and place is not None:
        # Two arms cannot have all the traffic of one each: the copy begins without any.
        copied = {"key": f"{rows[place]['key']}-2"} if "key" in ROWS[step] else {}
        rows.append(rows[place] | copied | ({"share": "0"} if step == "arms" else {}))
    elif verb == "remove" and place is not None:
        del rows[place]
        if control.isdecimal() and int(control) >= place:
            control = "" if int(control) == place else str(int(control) - 1)
    return typed | {"rows": rows} | ({"control": control} if "control" in typed else {})


def with_action_done(
    rows: list[dict[str, str]], action: dict[str, str], do: str
) -> tuple[list[dict[str, str]], str | None]:
    """The list of actions after the form of one was posted, and which row to look at then.

    :param do: beside adding or replacing the posted one: ``duplicate-ROW``, ``remove-ROW`` or ``edit-ROW``.
    """
    rows, seen = list(rows), None
    verb, _, wanted = do.partition("-")
    if not is_empty(action):
        seen = action["row"] = action["row"] or new_name()
        known = [row["row"] for row in rows]
        place = known.index(seen) if seen in known else len(rows)
        rows[place : place + 1] = [action]
    places = {row["row"]: place for place, row in enumerate(rows)}
    if wanted not in places or verb not in ("remove", "duplicate", "edit"):
        return rows, seen
    place = places[wanted]
    if verb == "remove":
        del rows[place]
        return rows, None
    if verb == "edit":
        return rows, wanted
    copy = rows[place] | {"row": new_name(), "id": f"{rows[place]['id']}-2"}
    rows.insert(place + 1, copy)
    return rows, copy["row"]


def new_name() -> str:
    """A name for a row, by which it is found again wherever it stands."""
    return secrets.token_hex(4)


def is_empty(action: dict[str, str]) -> bool:
    """True when nothing was typed into the form of an action."""
    typed = any(action[name].strip() for name in ("id", "title", "text", "payload", "features"))
    return not typed and wizard_message.is_empty(action["template"])


def clean(text: str) -> str:
    """A text as typed, but with one kind of line end, and without NUL, which PostgreSQL cannot store."""
    return text.replace("\r\n", "\n").replace("\0", "")
