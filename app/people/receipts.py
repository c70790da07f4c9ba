"""Receipts of erasures: signed, so that what is missing from a log is known to be erased and not lost."""

import hmac
from typing import Any

import orjson
from sqlalchemy import Connection

from app.foundation.secrets import Purpose, derive
from app.people.store import erasures


def sign(secret: str, receipt: dict[str, Any]) -> str:
    """HMAC-SHA256 (hex) over a receipt without its signature."""
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    plain = orjson.dumps(unsigned, option=orjson.OPT_SORT_KEYS)
    return derive(secret, Purpose.RECEIPT, plain).hex()


def forgotten(connection: Connection, secret: str, experiment: str) -> set[tuple[str, int]]:
    """(arm, version) of every model of an experiment that a receipt with a good signature names as forgotten."""
    found = set()
    for receipt in erasures.receipts(connection):
        if hmac.compare_digest(sign(secret, receipt), str(receipt.get("signature"))):
            for line in receipt["models"]:
                if line["experiment"] == experiment:
                    found |= {(line["arm"], number) for number in line["forgotten_versions"]}
    return found
