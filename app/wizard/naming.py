"""Ids that nobody typed, from the words that people read: so that keys and ids stay hidden until somebody wants them."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final

from app.foundation.pages.fields.kinds import Typed

LONGEST: Final = 60  # characters of a suggested id
LONGEST_OF_PART: Final = 40


def suggested(words: str, longest: int = LONGEST) -> str:
    """Small letters, digits and dashes; empty where the words have none of them. ``wizard.js`` does the same while typing."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", words) if not unicodedata.combining(sign)).lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:longest].rstrip("-")


def fill_ids(tree: Typed) -> None:
    """Give every id that is empty in a step's fields one of its own, from what people read beside it."""
    if "key" in tree and not tree["key"].strip():
        tree["key"] = suggested(tree["name"])
    _fill(tree.get("metrics", []), "key", lambda row: (row["name"], row["source"]["metric"]))
    _fill(tree.get("actions", []), "id", _words_of)
    for slot in tree.get("composition", {}).get("slots", []):
        _fill(slot["parts"], "id", lambda part: (text["text"] for text in part["texts"]), LONGEST_OF_PART)


def _words_of(action: Typed) -> Iterable[str]:
    texts = (row[name] for row in action["template"]["texts"] for name in ("title", "body"))
    return (action["payload:title"], action["payload:text"], *texts, *(row["value"] for row in action["payload:rows"]))


def _fill(rows: list[Typed], name: str, words_of: Callable[[Typed], Iterable[str]], longest: int = LONGEST) -> None:
    taken = {row[name].strip() for row in rows}
    for row in rows:
        made = next((made for words in words_of(row) if (made := suggested(words, longest))), "")
        if row[name].strip() or not made:
            continue
        number = 2
        row[name] = made
        while row[name] in taken:
            row[name] = f"{made[: longest - 5]}-{number}"
            number += 1
        taken.add(row[name])
