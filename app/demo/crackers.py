"""The data of the demo: which household bought which brand of crackers, at which prices. See ATTRIBUTION.md."""

import csv
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from app.foundation.fields import JsonObject

BRANDS = ("sunshine", "kleebler", "nabisco", "private")
BEST_SELLER = "nabisco"
PERMUTATION_SEED = 1994


class Purchase(NamedTuple):
    """One visit to the shop, as the app sees it before its recommendation."""

    number: int  # row of the file, from 1
    household: str
    context: JsonObject  # features of the household from its earlier purchases
    actions: list[JsonObject]  # the four brands with today's price and promotions
    bought: str


def purchases() -> Iterator[Purchase]:
    """Every purchase, in a fixed random order, with the household's history up to it."""
    with open(Path(__file__).with_name("cracker_purchases.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(PERMUTATION_SEED).shuffle(rows)
    history: dict[str, list[str]] = {}
    for row in rows:
        past = history.setdefault(row["household"], [])
        yield Purchase(int(row["purchase"]), row["household"], _context(past), _actions(row, past), row["bought"])
        past.append(row["bought"])


def _context(past: list[str]) -> JsonObject:
    if not past:
        return {"purchases": 0}
    counts = Counter(past)
    return {
        "purchases": min(len(past), 20) / 20,
        "last": past[-1],
        "favourite": max(BRANDS, key=lambda brand: counts[brand]),
        "share": {brand: round(counts[brand] / len(past), 4) for brand in BRANDS},
    }


def _actions(row: dict[str, str], past: list[str]) -> list[JsonObject]:
    """The brands with today's offer and this household's history with each brand."""
    return [
        {
            "id": brand,
            "features": {
                "price": round(int(row[f"price_cents_{brand}"]) / 100, 2),
                "display": row[f"display_{brand}"] == "1",
                "feature_ad": row[f"feature_{brand}"] == "1",
                "loyalty": round((past.count(brand) + 0.25) / (len(past) + 1), 4),
                "bought_last": past[-1:] == [brand],
            },
        }
        for brand in BRANDS
    ]
