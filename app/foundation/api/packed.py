"""Bodies of requests that came packed (Content-Encoding)."""

import zlib
from typing import Final

from app.foundation.api.written import too_large
from app.foundation.errors import BadRequest

_GZIP: Final = 16 + zlib.MAX_WBITS  # zlib's number for a gzip header and trailer
_PLAIN: Final = ("", "identity")
_MOST_MEMBERS: Final = 64  # parts of one gzip body; each costs a copy of what follows it


def unpack(body: bytes, encoding: str | None, limit: int) -> bytes:
    """Return a body unpacked. A bomb costs no more memory than ``limit``.

    :param encoding: the value of Content-Encoding; null: the request has none.
    :param limit: bytes that the unpacked body may have.
    :raises TooLarge: it has more.
    :raises BadRequest: it is packed in another way, or damaged.
    """
    named = (encoding or "").strip().lower()
    if named in _PLAIN or not body:
        return body
    if named not in ("gzip", "x-gzip"):
        raise BadRequest(
            "unknown_encoding", f"Content-Encoding {named[:40]!r} is not read; send gzip, or the plain body."
        )
    pieces, size, rest = list[bytes](), 0, body
    while rest and len(pieces) < _MOST_MEMBERS:
        reader = zlib.decompressobj(_GZIP)
        try:
            piece = reader.decompress(rest, limit + 1 - size)
        except zlib.error:
            raise _damaged() from None
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        if not reader.eof:
            raise _damaged()
        pieces.append(piece)
        rest = reader.unused_data
    if rest:
        raise _damaged()
    return b"".join(pieces)


def _damaged() -> BadRequest:
    return BadRequest("malformed_gzip", "The body is not gzip, or it is cut off; send it again, or unpacked.")
