"""Webhooks for their receiver: checks that a call is from Loopwise, and reads it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time

from loopwise_client import reading
from loopwise_client.errors import LoopwiseError
from loopwise_client.model import Delivery

TOLERANCE_S = 300.0


class InvalidSignature(LoopwiseError):
    """The call is not from Loopwise, was changed on its way, or is too old. Answer it with 400 and do nothing else."""


def verify(
    secret: str, header: str | None, body: bytes, tolerance_s: float = TOLERANCE_S, *, now_s: float | None = None
) -> Delivery:
    """Check a call and read it. Remember ``delivery_id`` and ignore repetitions: a message may be sent more than once.

    The signature is HMAC-SHA256 with the secret over the time, a dot and the body, compared in constant time.

    :param secret: of the webhook, as it was shown when the webhook was created.
    :param header: the value of ``Loopwise-Signature``, ``t=<Unix time>,v1=<hex digits>``; None: the call has no such header.
    :param body: the bytes as they arrived, before anything parses them.
    :param tolerance_s: how many seconds the call's time may lie from now, before or after.
    :param now_s: Unix time; None: the clock's.
    :raises InvalidSignature: ignore the body.
    :raises ValueError: no secret was given.
    """
    if not secret:
        raise ValueError("give the webhook's secret")
    parts = dict(part.strip().partition("=")[::2] for part in (header or "").split(","))
    sent_at, signature = parts.get("t", ""), parts.get("v1", "")
    expected = hmac.new(secret.encode(), sent_at.encode("utf-8", "replace") + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        raise InvalidSignature("the signature does not belong to this body and secret")
    if not re.fullmatch(r"[0-9]{1,15}", sent_at):
        raise InvalidSignature("the signature's time is not a number")
    age_s = (time.time() if now_s is None else now_s) - int(sent_at)
    if not abs(age_s) <= tolerance_s:
        raise InvalidSignature(f"the call was signed {age_s:.0f} seconds ago; at most {tolerance_s:g} are accepted")
    try:
        return reading.delivery(json.loads(body))
    except (KeyError, TypeError, ValueError, RecursionError):
        raise InvalidSignature("the body is not a delivery") from None
