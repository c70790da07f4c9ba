"""The bytes of a model: a small envelope around Vowpal Wabbit's file, read here without VW.

VW loads a truncated file without an error, and a crafted header can make it write files. So this module checks a
model's bytes before VW sees them. The envelope holds the number of learned examples and a SHA-256 of the rest. It
reveals damage, not forgery: the platform signs models.

    offset 0   8 bytes  b"LOOPVW1\\n"
           8   8 bytes  examples learned, little-endian
          16  32 bytes  SHA-256 of bytes 8..16 and of everything from 48 on
          48            VW's model file, version 9.11.9, written with --save_resume

VW's own file: length-prefixed version, length-prefixed id, "m", min and max label (float32), bits, lda, ngrams and
skips (uint32), length-prefixed options, length-prefixed checksum, then the state of each reduction, and from there to
the end one 16-byte record per non-zero weight: index (uint32), weight, adaptive and normalising sums (float32).
"""

import hashlib
import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"LOOPVW1\n"
VW_VERSION: Final = "9.11.9"
ENVELOPE_BYTES: Final = 48
MAX_OPTIONS_BYTES: Final = 4096
WEIGHT_RECORD: Final = np.dtype([("index", "<u4"), ("values", "<f4", (3,))])


class ModelError(ValueError):
    """Bytes that are no usable model: damaged, of another version, or with options other than the policy's."""


class Envelope(NamedTuple):
    """An opened model."""

    examples: int  # learned decisions, each counted once however many passes
    payload: bytes  # VW's own file


class Header(NamedTuple):
    """The start of VW's file."""

    version: str  # VW version that wrote it
    bits: int  # log2 of the number of weights
    options: str  # command line kept in the file
    end: int  # offset in the payload of the first byte after the header's checksum


def seal(payload: bytes, examples: int) -> bytes:
    """VW's file after `examples` learned examples, in its envelope."""
    counted = struct.pack("<Q", examples)
    return b"".join((MAGIC, counted, hashlib.sha256(counted + payload).digest(), payload))


def unseal(model_bytes: bytes) -> Envelope:
    """Opens the envelope. Raises `ModelError` on any damage, even a missing last byte."""
    if len(model_bytes) <= ENVELOPE_BYTES or model_bytes[:8] != MAGIC:
        raise ModelError("not a Loopwise model: the first bytes are wrong or missing")
    counted, payload = model_bytes[8:16], model_bytes[ENVELOPE_BYTES:]
    if hashlib.sha256(counted + payload).digest() != model_bytes[16:ENVELOPE_BYTES]:
        raise ModelError("the model is damaged: truncated or changed after it was written")
    return Envelope(struct.unpack("<Q", counted)[0], payload)


def read_header(payload: bytes) -> Header:
    """Parses VW's header without VW. Raises `ModelError` unless version 9.11.9 could have written it."""
    try:
        version, at = _prefixed(payload, 0, 64)
        _, at = _prefixed(payload, at, 256)
        kind, _, _, bits, lda, ngrams, skips = struct.unpack_from("<cffIIII", payload, at)
        options, at = _prefixed(payload, at + 25, MAX_OPTIONS_BYTES)
        checksum_bytes = struct.unpack_from("<I", payload, at)[0]
    except (struct.error, UnicodeDecodeError) as error:
        raise ModelError(f"the model's header cannot be read: {error}") from None
    if version != VW_VERSION:
        raise ModelError(f"the model was written by Vowpal Wabbit {version!r}, this is {VW_VERSION}")
    if kind != b"m" or lda or ngrams or skips or checksum_bytes != 4:
        raise ModelError("the model's header has fields that Loopwise never writes")
    return Header(version, bits, options.strip(), at + 8)


def parse_options(options: str) -> dict[str, tuple[str, ...]]:
    """`--name [value]` pairs, also `--name=value`; a repeated name collects its values. Raises `ModelError`."""
    parsed: dict[str, tuple[str, ...]] = {}
    name = ""
    for token in options.split():
        if token.startswith("--") and len(token) > 2:
            name, equals, value = token[2:].partition("=")
            parsed[name] = parsed.get(name, ()) + ((value,) if equals else ())
        elif token.startswith("-") or not name:
            raise ModelError(f"unexpected option in the model's header: {token!r}")
        else:
            parsed[name] += (token,)
    return parsed


def read_weights(payload: bytes, start: int) -> NDArray[np.void]:
    """The weight records from offset `start` to the end, shape (n,). Raises `ModelError` on a partial last record."""
    body = memoryview(payload)[start:]
    if start > len(payload) or len(body) % WEIGHT_RECORD.itemsize:
        raise ModelError("the model ends in the middle of a weight")
    return np.frombuffer(body, dtype=WEIGHT_RECORD)


def _prefixed(payload: bytes, at: int, limit: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<I", payload, at)
    if size > limit or at + 4 + size > len(payload):
        raise ModelError("the model's header is longer than any that Loopwise writes")
    return payload[at + 4 : at + 4 + size].rstrip(b"\0").decode(), at + 4 + size
