"""The wizard's step of people: how often they are spoken to, what they agreed to, what is kept of them; as texts and back."""

import re
from typing import Any

from app.design.people_config import PURPOSES, ProfileSpec
from app.foundation.pages.typed import span, text
from app.wizard.form import Typed
from app.wizard.numbers import Reader, given, seconds, whole

ALL, ONLY = "all", "only"
SUMMED_UP = ("counts", "recency", "actions", "tags")
_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]*))(?:[,\n]|$)')


def people_of(typed: Typed, reader: Reader) -> dict[str, Any]:
    """The parts of a configuration that the step makes; null where there is none."""
    return {
        "fatigue": _fatigue(typed, reader),
        "consent": _consent(typed),
        "profile": _profile(typed, reader) if typed["profile"] else None,
        "context_fields": _context_fields(typed, reader),
        "retention_s": seconds(typed, "retention", reader, "retention_unit"),
    }


def _fatigue(typed: Typed, reader: Reader) -> dict[str, Any] | None:
    caps = [_cap(row, f"rows-{place}-", reader) for place, row in enumerate(typed["rows"])]
    quiet = {name: typed[f"quiet_{name}"].strip() for name in ("start", "end", "zone")}
    found: dict[str, Any] = given(min_distance_s=seconds(typed, "distance", reader, "distance_unit"))
    if any(quiet.values()):
        found["quiet_hours"] = {"start": quiet["start"], "end": quiet["end"], "time_zone": quiet["zone"] or "UTC"}
    if caps or found:
        return {"caps": caps} | found
    return {} if "fatigue" in typed["empty"].split() else None


def _cap(row: dict[str, str], prefix: str, reader: Reader) -> dict[str, Any]:
    limit = reader.number(row["limit"], f"{prefix}limit", needed="Say how many messages at most.")
    window = seconds(row, "window", reader, "unit", prefix=prefix, needed="Say within which time.")
    return {
        "limit": 1 if limit is None else whole(limit),
        "window_s": 1.0 if window is None else window,
        "channel": row["channel"] or None,
        "action": row["action"] or None,
        "across": row["across"] or "platform",
    }


def _consent(typed: Typed) -> dict[str, Any] | None:
    found = {name: typed[f"consent_{name}"] or "unless_denied" for name in PURPOSES}
    asked = set(found.values()) != {"unless_denied"}
    return found if asked or "consent" in typed["empty"].split() else None


def _profile(typed: Typed, reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {name: bool(typed[f"profile_{name}"]) for name in SUMMED_UP}
    lookback = whole(reader.number(typed["lookback"], "lookback"))
    return found | given(half_life_s=seconds(typed, "half_life", reader, "half_life_unit"), lookback=lookback)


def _context_fields(typed: Typed, reader: Reader) -> list[dict[str, Any]] | None:
    names, hashed = listed_names(typed["context_names"]), listed_names(typed["context_hashed"])
    if typed["context"] != ONLY:
        if names or hashed:
            reader.wrong("context", "Choose that only these fields are used, or empty the two lists of names.")
        return None
    names += [name for name in hashed if name not in names]
    return [{"name": name, "hashed": name in hashed} for name in names]


def listed_names(text: str) -> list[str]:
    """Names with commas or new lines between them; one in double quotes may hold a comma itself."""
    found = []
    for match in _NAME.finditer(text):
        name = match[2].strip() if match[1] is None else match[1].replace('""', '"')
        if name:
            found.append(name)
    return found


def names_as_text(names: list[str]) -> str:
    """The other way round."""
    odd = [name != name.strip() or any(mark in name for mark in ',\n"') for name in names]
    quoted = [
        '"' + name.replace('"', '""') + '"' if strange else name for name, strange in zip(names, odd, strict=True)
    ]
    return ", ".join(quoted)


def typed_people(known: dict[str, Any]) -> Typed:
    """The step's parts of a configuration as texts."""
    fatigue, consent, fields = known.get("fatigue"), known.get("consent"), known.get("context_fields")
    quiet = (fatigue or {}).get("quiet_hours") or {"start": "", "end": "", "time_zone": ""}
    profile = known.get("profile") or ProfileSpec().model_dump(mode="json")
    found: Typed = {"rows": [_typed_cap(cap) for cap in (fatigue or {}).get("caps", [])]}
    found |= {"quiet_start": quiet["start"], "quiet_end": quiet["end"], "quiet_zone": quiet["time_zone"]}
    for name, value in (
        ("distance", (fatigue or {}).get("min_distance_s")),
        ("retention", known.get("retention_s")),
        ("half_life", profile["half_life_s"]),
    ):
        found[name], found[f"{name}_unit"] = ("", "days") if value is None else span(value)
    found |= {f"consent_{name}": (consent or {}).get(name, "unless_denied") for name in PURPOSES}
    found |= {"profile": "yes" if known.get("profile") else "", "lookback": text(profile["lookback"])}
    found |= {f"profile_{name}": "yes" if profile[name] else "" for name in SUMMED_UP}
    found["context"] = ALL if fields is None else ONLY
    found["context_names"] = names_as_text([one["name"] for one in fields or []])
    found["context_hashed"] = names_as_text([one["name"] for one in fields or [] if one["hashed"]])
    empty = ["fatigue"] * (fatigue is not None and not any(fatigue.values()))
    empty += ["consent"] * (consent is not None and set(consent.values()) == {"unless_denied"})
    return found | {"empty": " ".join(empty)}


def _typed_cap(cap: dict[str, Any]) -> dict[str, str]:
    window, unit = span(cap["window_s"])
    found = {"limit": text(cap["limit"]), "window": window, "unit": unit, "across": cap["across"]}
    return found | {name: cap[name] or "" for name in ("channel", "action")}
