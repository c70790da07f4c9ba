"""A composed message as forms keep it: slots, their parts with a text in each language, and the pairs that never meet.

It is kept as {"channel", "nothing", "languages": [text], "slots": [{"name", "place", "parts": [{"row", "id", "features", "texts":
[text], "empty": ["yes" or ""]}]}], "pairs": [[row, row]], "first", "second"}. A part's texts stand in the order of the languages.
Pairs name parts by their rows, so that they follow when a slot or a part gets another name.
"""

import json
import re
from typing import TYPE_CHECKING, Any

from app.wizard.form import Typed, clean, new_name

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

    from app.wizard.numbers import Reader

PLACES = (("title", "the title"), ("body", "the text"), ("call_to_action", "the button"))
_PLACE = r"(\d{1,3})"


def start() -> Typed:
    """What a composition begins with: a title and a text, to be filled."""
    slots = [_slot("title", "title", 1), _slot("text", "body", 1)]
    return {
        **{"channel": "in_app", "nothing": "", "languages": ["en"], "slots": slots},
        **{"pairs": [], "first": "", "second": ""},
    }


def _slot(name: str, place: str, languages: int) -> Typed:
    return {"name": name, "place": place, "parts": [_part(languages)]}


def _part(languages: int) -> Typed:
    return {"row": new_name(), "id": "", "features": "", "texts": [""] * languages, "empty": [""] * languages}


def posted(form: "MultiDict[str, str]") -> Typed:
    """The posted form. A pair that was chosen joins the others, also when another button was pressed."""
    languages = _places(form, f"languages-{_PLACE}")
    found: Typed = {name: clean(form.get(name, "")) for name in ("channel", "nothing", "first", "second")}
    found["languages"] = [clean(form[f"languages-{place}"]) for place in languages]
    found["slots"] = [
        _posted_slot(form, f"slots-{place}-", languages) for place in _places(form, f"slots-{_PLACE}-name")
    ]
    known = {part["row"] for slot in found["slots"] for part in slot["parts"]}
    pairs = [clean(pair).split(" ") for pair in form.getlist("pairs")]
    if found["first"] and found["second"]:
        pairs.append([found["first"], found["second"]])
        found |= {"first": "", "second": ""}
    return found | {"pairs": [pair for pair in pairs if len(pair) == 2 and known.issuperset(pair)]}


def _places(form: "MultiDict[str, str]", name: str) -> list[int]:
    return sorted({int(match[1]) for field in form if (match := re.fullmatch(name, field))})


def _posted_slot(form: "MultiDict[str, str]", prefix: str, languages: list[int]) -> Typed:
    own = {name: clean(form.get(f"{prefix}{name}", "")) for name in ("name", "place")}
    places = _places(form, f"{prefix}parts-{_PLACE}-row")
    return own | {"parts": [_posted_part(form, f"{prefix}parts-{place}-", languages) for place in places]}


def _posted_part(form: "MultiDict[str, str]", prefix: str, languages: list[int]) -> Typed:
    own = {name: clean(form.get(f"{prefix}{name}", "")) for name in ("row", "id", "features")}
    lists = {name: [clean(form.get(f"{prefix}{name}-{n}", "")) for n in languages] for name in ("texts", "empty")}
    return own | lists


def done(kept: Typed, do: str) -> str:
    """Carry a button out; returns the name of what to look at then, empty: the button was not one of these.

    :param do: ``slot``, ``part-SLOT``, ``copy-SLOT[-PART]``, ``remove-SLOT[-PART]``, ``up-SLOT``, ``down-SLOT``, ``language``,
        ``forget-LANGUAGE``, ``pair`` (``posted`` took it already), ``meet-PAIR``.
    """
    verb, *rest = do.split("-")
    places = [int(one) for one in rest if one.isdecimal() and len(one) < 4]
    if verb in ("language", "forget"):
        _do_language(kept, verb, places)
        return "languages"
    if verb in ("pair", "meet"):
        if verb == "meet" and places and places[0] < len(kept["pairs"]):
            del kept["pairs"][places[0]]
        return "pairs"
    slots = kept["slots"]
    if verb == "slot":
        slots.append(_slot("", "body", len(kept["languages"])))
        return f"slots-{len(slots) - 1}"
    if verb not in ("part", "copy", "remove", "up", "down") or not places or places[0] >= len(slots):
        return ""
    if verb == "part":
        parts = slots[places[0]]["parts"]
        parts.append(_part(len(kept["languages"])))
        return f"slots-{places[0]}-parts-{len(parts) - 1}"
    if verb in ("up", "down"):
        return f"slots-{_moved(slots, places[0], -1 if verb == 'up' else 1)}"
    return _do_part(kept, verb, places) if len(places) > 1 else _do_slot(kept, verb, places[0])


def _do_language(kept: Typed, verb: str, places: list[int]) -> None:
    parts = [part for slot in kept["slots"] for part in slot["parts"]]
    lists = [kept["languages"], *(part[name] for part in parts for name in ("texts", "empty"))]
    for one in lists:
        if verb == "language":
            one.append("")
        elif places and places[0] < len(one) > 1:
            del one[places[0]]


def _moved(slots: list[Typed], place: int, by: int) -> int:
    there = max(0, min(len(slots) - 1, place + by))
    slots.insert(there, slots.pop(place))
    return there


def _do_slot(kept: Typed, verb: str, place: int) -> str:
    slots = kept["slots"]
    old = slots[place]
    if verb == "remove":
        del slots[place]
        _forget_pairs(kept, {part["row"] for part in old["parts"]})
        return "slots"
    parts = [_copy(part) for part in old["parts"]]
    slots.insert(place + 1, old | {"name": f"{old['name']}_2", "parts": parts})
    _copy_pairs(kept, {before["row"]: part["row"] for before, part in zip(old["parts"], parts, strict=True)})
    return f"slots-{place + 1}"


def _do_part(kept: Typed, verb: str, places: list[int]) -> str:
    slot, place = places[:2]
    parts = kept["slots"][slot]["parts"]
    if place >= len(parts):
        return ""
    if verb == "remove":
        _forget_pairs(kept, {parts.pop(place)["row"]})
        return f"slots-{slot}"
    copy = _copy(parts[place]) | {"id": f"{parts[place]['id']}-2"}
    parts.insert(place + 1, copy)
    _copy_pairs(kept, {parts[place]["row"]: copy["row"]})
    return f"slots-{slot}-parts-{place + 1}"


def _copy(part: Typed) -> Typed:
    return part | {"row": new_name(), "texts": list(part["texts"]), "empty": list(part["empty"])}


def _forget_pairs(kept: Typed, rows: set[str]) -> None:
    kept["pairs"] = [pair for pair in kept["pairs"] if rows.isdisjoint(pair)]


def _copy_pairs(kept: Typed, copies: dict[str, str]) -> None:
    """What an original never meets, its copy does not meet either."""
    pairs = [pair for pair in kept["pairs"] if not copies.keys().isdisjoint(pair)]
    kept["pairs"] += [[copies.get(row, row) for row in pair] for pair in pairs]


def composition_of(kept: Typed, reader: "Reader") -> dict[str, Any]:
    """The part of a configuration that the form makes."""
    languages = [one.strip() for one in kept["languages"]]
    for place, one in enumerate(languages):
        if one in languages[:place]:
            reader.wrong(f"languages-{place}", "This language stands here twice; keep one.")
    slots, named = [], {}
    for place, slot in enumerate(kept["slots"]):
        name = slot["name"].strip()
        parts = [_part_of(part, languages, f"slots-{place}-parts-{n}-", reader) for n, part in enumerate(slot["parts"])]
        slots.append({"name": name, "place": slot["place"], "parts": parts})
        for part, made in zip(slot["parts"], parts, strict=True):
            named[part["row"]] = {"slot": name, "part": made["id"]}
    for here, other in (("first", "second"), ("second", "first")):
        if kept[other] and not kept[here]:
            reader.wrong(here, "Choose the other part of the pair, or none.")
    return {
        "slots": slots,
        "forbidden": [[named[row] for row in pair] for pair in kept["pairs"]],
        "channel": kept["channel"],
        "allow_nothing": bool(kept["nothing"]),
    }


def _part_of(part: Typed, languages: list[str], prefix: str, reader: "Reader") -> dict[str, Any]:
    features = reader.json(part["features"], f"{prefix}features")
    texts: dict[str, str] = {}
    for locale, text, empty in zip(languages, part["texts"], part["empty"], strict=True):
        if text or empty:
            texts.setdefault(locale, text)
    return {"id": part["id"].strip(), "features": {} if features is None else features, "texts": texts}


def typed_composition(spec: dict[str, Any]) -> Typed:
    """A stored composition as texts."""
    parts = [part for slot in spec["slots"] for part in slot["parts"]]
    languages = list(dict.fromkeys(locale for part in parts for locale in part["texts"]))
    rows, slots = {}, []
    for place, slot in enumerate(spec["slots"]):
        typed = []
        for number, part in enumerate(slot["parts"]):
            row = rows[slot["name"], part["id"]] = f"{place}.{number}"
            typed.append(_typed_part(part, row, languages))
        slots.append({"name": slot["name"], "place": slot["place"], "parts": typed})
    pairs = [[rows[one["slot"], one["part"]] for one in pair] for pair in spec["forbidden"]]
    return {
        **{"channel": spec["channel"], "nothing": "yes" if spec["allow_nothing"] else "", "languages": languages},
        **{"slots": slots, "pairs": pairs, "first": "", "second": ""},
    }


def _typed_part(part: dict[str, Any], row: str, languages: list[str]) -> Typed:
    texts = part["texts"]
    return {
        "row": row,
        "id": part["id"],
        "features": "" if part["features"] == {} else json.dumps(part["features"], ensure_ascii=False),
        "texts": [texts.get(locale, "") for locale in languages],
        "empty": ["yes" if texts.get(locale) == "" else "" for locale in languages],
    }


def field_of(parts: list[str]) -> str:
    """The field that a JSON pointer into a composition belongs to; languages stand in it by name (see ``with_place``)."""
    match parts:
        case ["slots", slot, "parts", part, "texts", *locale, "[key]"]:
            return f"languages-{'/'.join(locale)}"
        case ["slots", slot, "parts", part, "texts", *locale]:
            return f"slots-{slot}-parts-{part}-texts-{'/'.join(locale)}"
        case ["slots", slot, "parts", part, "features", *_]:
            return f"slots-{slot}-parts-{part}-features"
        case ["slots", slot, "parts", part, *_]:
            return f"slots-{slot}-parts-{part}-id"
        case ["slots", slot, "name" | "place" | "parts" as name]:
            return f"slots-{slot}-{name}"
        case ["slots", *_]:
            return "slots"
        case ["forbidden", pair, *_]:
            return f"pairs-{pair}"
        case ["forbidden"]:
            return "pairs"
        case ["allow_nothing"]:
            return "nothing"
        case ["channel"]:
            return "channel"
    return "among"


def with_place(field: str, kept: Typed) -> str:
    """The field with the place of its language instead of the name."""
    match = re.fullmatch(r"(languages|slots-\d+-parts-\d+-texts)-(.*)", field, re.S)
    if match is None:
        return field
    languages = [one.strip() for one in kept.get("languages", [])]
    return f"{match[1]}-{languages.index(match[2]) if match[2] in languages else 0}"
