"""What changed, in words: names of fields as people say them, shares in percent, times in their unit."""

from app.foundation.pages.format import NO_VALUE, duration, json_text, number, percent

SHARES = {"share", "holdout", "exploration_floor", "floor_start", "alpha", "min_effect", "winsorize"}
NAMES = {
    "actions": "Actions",
    "arms": "Arms",
    "context_fields": "Context fields",
    "context_schema": "Context schema",
    "decision_rule": "Decision rule",
    "hypothesis": "Hypothesis",
    "metrics": "Metrics",
    "name": "Name",
    "policy": "Policy",
    "reward": "Reward",
    "share": "Share",
    "shares": "Shares",
    "status": "Status",
    "window_s": "Window",
}


def name_of(path: str) -> str:
    """A path such as ``arms/learned/share`` as "Arms, learned: share"."""
    if not path:
        return "Details"
    *parents, last = [NAMES.get(part, part) for part in path.split("/")]
    words = last.removesuffix("_s").replace("_", " ")
    if not parents:
        return words[:1].upper() + words[1:]
    return f"{', '.join(part.replace('_', ' ') for part in parents)}: {words[:1].lower() + words[1:]}"


def value_of(path: str, value: object) -> str:
    """A value as people say it: 0.2 of a share is 20%, 3600 of ``window_s`` is 1 hour, and a list has commas."""
    last = path.rsplit("/", 1)[-1]
    of_shares = "shares" in path.split("/")
    if value is None or value == "":
        return NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if last in SHARES or of_shares:
            return percent(value)
        return duration(value) if last.endswith("_s") else number(value)
    if isinstance(value, dict):
        known = {key: item for key, item in value.items() if item not in (None, "", [], {})}
        return ", ".join(f"{name_of(key).lower()} {value_of(f'{path}/{key}', item)}" for key, item in known.items())
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(map(str, value)) or NO_VALUE
    return value if isinstance(value, str) else json_text(value)
