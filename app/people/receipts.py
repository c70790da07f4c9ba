"""Receipts of erasures: signed, so that rows that are missing from a log are known to be erased and not lost."""

import hmac
from collections.abc import Mapping

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection

from app.foundation.secrets import Purpose, derive
from app.people.documents import Receipt
from app.people.store import erasures


def sign(secret: str, receipt: Mapping[str, JsonValue]) -> str:
    """HMAC-SHA256 (hex) over a receipt without its signature."""
    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    plain = orjson.dumps(unsigned, option=orjson.OPT_SORT_KEYS)
    return derive(secret, Purpose.RECEIPT, plain).hex()


def forgotten(connection: Connection, secret: str, experiment: str) -> set[tuple[str, int]]:
    """(arm, version) of every model of an experiment that a receipt with a good signature names as forgotten."""
    models = set()
    for receipt in erasures.receipts(connection):
        if hmac.compare_digest(sign(secret, receipt), str(receipt.get("signature"))):
            for model in Receipt.model_validate(receipt).models:
                if model.experiment == experiment:
                    models |= {(model.arm, number) for number in model.forgotten_versions}
    return models
