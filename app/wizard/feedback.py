"""What people's answers are worth: the feedback schema of the wizard's step of rewards, as texts and back."""

from decimal import Decimal
from typing import Any

from app.design.feedback_config import DEFAULT_LIMITS, STARS
from app.foundation.pages.typed import span, text
from app.wizard.form import Typed
from app.wizard.numbers import Reader, given, seconds, whole

PAIRS = {"thumbs": ("up", "down"), "score": ("low", "high")}
HUNDREDTH = Decimal("0.01")
_BOTH = "Give both values, or none."
_EVERY = "Give all five values, or none."
_NOTHING = DEFAULT_LIMITS.model_dump()
_DEFAULTS = DEFAULT_LIMITS.model_dump(exclude_none=True)


def feedback_of(typed: Typed, reader: Reader) -> dict[str, Any] | None:
    """The schema; null when no answer is worth anything and all else is as it would be without one."""
    confidence = reader.number(typed["confidence"], "confidence", HUNDREDTH)
    taken = given(
        confidence=confidence,
        mute_s=seconds(typed, "mute", reader, "mute_unit"),
        limit=whole(reader.number(typed["limit"], "limit")),
        limit_window_s=seconds(typed, "limit_window", reader, "limit_unit"),
    )
    worth = _worth(typed, reader)
    if worth or _DEFAULTS | taken != _DEFAULTS:
        return worth | taken
    return {} if "feedback" in typed["empty"].split() else None


def _worth(typed: Typed, reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind, sides in PAIRS.items():
        names = [f"{kind}_{side}" for side in sides]
        values = _together(typed, names, _BOTH, reader)
        if values:
            found[kind] = dict(zip(sides, values, strict=True))
    stars = _together(typed, [f"stars_{count}" for count in range(1, STARS + 1)], _EVERY, reader)
    if stars:
        found["stars"] = stars
    reasons = _reasons(typed, reader)
    kept = reasons or "reasons" in typed["empty"].split()
    return found | given(
        reasons=reasons if kept else None,
        dismissed=reader.number(typed["dismissed"], "dismissed"),
        not_interested=reader.number(typed["not_interested"], "not_interested"),
    )


def _together(typed: Typed, names: list[str], needed: str, reader: Reader) -> list[float]:
    """Values that stand together or not at all."""
    if not any(typed[name].strip() for name in names):
        return []
    return [reader.number(typed[name], name, needed=needed) or 0.0 for name in names]


def _reasons(typed: Typed, reader: Reader) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, row in enumerate(typed["rows"]):
        value = reader.number(row["value"], f"rows-{place}-value", needed="Say what this reason is worth.")
        if not row["name"]:
            reader.wrong(f"rows-{place}-name", "Give the reason a name, as your app sends it.")
        elif row["name"] in found:
            reader.wrong(f"rows-{place}-name", "Another reason has this name; give each its own.")
        else:
            found[row["name"]] = value or 0.0
    return found


def typed_feedback(spec: dict[str, Any] | None) -> Typed:
    """A schema of a configuration as texts."""
    known = _NOTHING | (spec or {})
    found = {
        f"{kind}_{side}": text((known.get(kind) or {}).get(side)) for kind, sides in PAIRS.items() for side in sides
    }
    stars = known.get("stars") or [None] * STARS
    found |= {f"stars_{count}": text(value) for count, value in enumerate(stars, 1)}
    found |= {name: text(known.get(name)) for name in ("dismissed", "not_interested", "limit")}
    found["confidence"] = text(known["confidence"], 100)
    found["mute"], found["mute_unit"] = span(known["mute_s"])
    found["limit_window"], found["limit_unit"] = span(known["limit_window_s"])
    reasons = known.get("reasons")
    empty = ["feedback"] * (spec is not None and known | {"reasons": None} == _NOTHING) + ["reasons"] * (reasons == {})
    rows = [{"name": name, "value": text(value)} for name, value in (reasons or {}).items()]
    return found | {"rows": rows, "empty": " ".join(empty)}
