"""Everything that is derived from, or signed with, the installation's secret: one function, and one tag for each purpose.

A tag is the beginning of the message that HMAC-SHA256 sees. No tag is the beginning of another, so a value that was made for
one purpose is never good for another. Stored values depend on the tags: they never change.
"""

import hmac
from enum import Enum


class Purpose(Enum):
    """What a derived value is for. The value is the tag, separator included."""

    BODY_HASH = b"body\n"  # of a decide call, as it is stored
    CONTEXT_FIELD = b"context field\0"  # the key that hashes an experiment's private context fields
    DECISION_SEAL = b"decision seal 2\0"
    DEVICE = b"device\0"  # a browser in which somebody signed in
    ERASED_UNIT = b"erased unit\0"
    FIRING = b"firing\n"  # the id of a triggered message's decision
    HOLDOUT = b"global holdout\0"  # the seal of a version of the global holdout
    LOG_CHAIN = b"log chain\0"  # the key of the hashes over rows of the log
    NOTICE = b"notice\n"  # the part of a mail's Message-ID that names this installation
    RECEIPT = b"receipt\0"  # of an erasure
    RETRY_PAUSE = b"pause\n"  # the random part of a delivery's pause
    SESSION_COOKIES = b"loopwise session cookies"
    UNIT_TOKEN = b"unit token\0"
    WAIT = b"wait\n"  # the id of a decision of how long a triggered message waits
    WEBHOOK = b"webhook\n"  # the secret that a webhook's receiver checks signatures with
    # Messages of model versions begin with a digit, those of the first decision seals with "[": no tag begins like that.
    UNTAGGED = b""


def derive(secret: str, purpose: Purpose, message: bytes = b"") -> bytes:
    """HMAC-SHA256 of a message for one purpose, under the installation's secret; 32 bytes."""
    return hmac.digest(secret.encode(), purpose.value + message, "sha256")
