"""Packs a model's bytes for storage, and unpacks them only if their signature and hash are right.

Vowpal Wabbit model files can carry options that write files when loaded, so it
never gets bytes that this platform did not sign.
"""

import hashlib
import hmac
import zlib
from typing import NamedTuple

from sqlalchemy import Connection

from app.foundation.secrets import Purpose, derive
from app.registry.store import models
from app.registry.store.models import NewVersion, VersionInfo


class ModelRefused(Exception):
    """The stored bytes are not the signed bytes."""


class SignedRow(NamedTuple):
    """What a version's signature is over, and the signature."""

    experiment_id: int
    arm: str
    number: int
    sha256: str
    signature: str


class Packed(NamedTuple):
    """A model ready to be stored."""

    model: bytes  # zlib
    sha256: str  # hex, of the plain bytes
    signature: str  # hex


def pack(plain: bytes, secret: str, experiment_id: int, arm: str, number: int) -> Packed:
    """Compress, hash and sign."""
    sha256 = hashlib.sha256(plain).hexdigest()
    return Packed(zlib.compress(plain, 1), sha256, _sign(secret, experiment_id, arm, number, sha256))


def unpack(info: VersionInfo, packed: bytes, secret: str) -> bytes:
    """The plain bytes.

    :raises ModelRefused: signature or hash differ, or the bytes do not decompress.
    """
    expected = _sign(secret, info.experiment_id, info.arm, info.number, info.sha256)
    name = f"version {info.number} of arm {info.arm!r}"
    if info.forgotten:
        raise ModelRefused(f"{name} was forgotten: a unit that it had learned from was erased")
    if not hmac.compare_digest(expected, info.signature):
        raise ModelRefused(f"{name} was not signed with this LOOPWISE_SECRET_KEY")
    try:
        plain = zlib.decompress(packed)
    except zlib.error as error:
        raise ModelRefused(f"{name} cannot be decompressed: {error}") from None
    if hashlib.sha256(plain).hexdigest() != info.sha256:
        raise ModelRefused(f"{name} does not have the SHA-256 that was signed")
    return plain


def is_signed_by(secret: str, row: SignedRow) -> bool:
    """True when a stored version was signed with this secret; its bytes are not looked at."""
    expected = _sign(secret, row.experiment_id, row.arm, row.number, row.sha256)
    return hmac.compare_digest(expected.encode(), row.signature.encode())


def load(connection: Connection, version_id: int, secret: str) -> tuple[VersionInfo, bytes]:
    """A stored version and its verified bytes.

    :raises ModelRefused: see ``unpack``.
    """
    info, packed = models.load(connection, version_id)
    return info, unpack(info, packed, secret)


def store(connection: Connection, plain: bytes, secret: str, version: NewVersion) -> tuple[int, str]:
    """Sign and store a version; returns its id and SHA-256."""
    packed = pack(plain, secret, version.experiment_id, version.arm, version.number)
    version_id = models.add(connection, version, model=packed.model, sha256=packed.sha256, signature=packed.signature)
    return version_id, packed.sha256


def _sign(secret: str, experiment_id: int, arm: str, number: int, sha256: str) -> str:
    message = f"{experiment_id}/{number}/{sha256}/{arm}".encode()
    return derive(secret, Purpose.UNTAGGED, message).hex()
