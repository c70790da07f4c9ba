"""Derived values: one tag for each purpose, none of which can be mistaken for another, and none of which ever changes."""

import hashlib
import hmac
from itertools import permutations

import pytest

from app.foundation.secrets import Purpose, derive

TAGGED = [purpose for purpose in Purpose if purpose is not Purpose.UNTAGGED]


def test_no_tag_begins_another_or_a_message_without_a_tag() -> None:
    assert [pair for pair in permutations(TAGGED, 2) if pair[0].value.startswith(pair[1].value)] == []
    assert [purpose for purpose in TAGGED if purpose.value[:1] in b"0123456789["] == []


def test_a_derived_value_is_hmac_sha256_of_tag_and_message() -> None:
    expected = hmac.new(b"secret", b"webhook\n7\n1", hashlib.sha256).digest()
    assert derive("secret", Purpose.WEBHOOK, b"7\n1") == expected


DIGESTS = {
    Purpose.BODY_HASH: "f1882f1aeb336728",
    Purpose.CONTEXT_FIELD: "a7d70b02fae8ebb7",
    Purpose.DECISION_SEAL: "41b89894b03dc590",
    Purpose.DEVICE: "cb7f1ae7e918fa0a",
    Purpose.ERASED_UNIT: "79de13df48107de0",
    Purpose.HOLDOUT: "ebe8243d6c43f34d",
    Purpose.LOG_CHAIN: "61958200784b5efc",
    Purpose.FIRING: "a7ee103138898d04",
    Purpose.NOTICE: "06eca27ffddadc9a",
    Purpose.RECEIPT: "c0e6af5ad6535a8b",
    Purpose.RETRY_PAUSE: "6b6d22508b3adcfd",
    Purpose.SESSION_COOKIES: "b734ea4df8a741d9",
    Purpose.UNIT_TOKEN: "6c9bb65fb76f21b8",
    Purpose.UNTAGGED: "e763b2f94c7ba00a",
    Purpose.WAIT: "e00a4be936468797",
    Purpose.WEBHOOK: "1b7246e53fcff935",
}


@pytest.mark.parametrize("purpose", Purpose)
def test_values_that_are_stored_or_handed_out_never_change(purpose: Purpose) -> None:
    assert derive("a secret of this installation", purpose, b"7").hex()[:16] == DIGESTS[purpose]


def test_without_a_message_the_tag_is_the_message() -> None:
    assert derive("secret", Purpose.RECEIPT) == hmac.digest(b"secret", b"receipt\0", "sha256")
