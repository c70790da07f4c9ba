"""Open files as they come: packed or not, with or without a byte order mark, and never a line that fills the memory."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from app.files.refused import FileRefused

LONGEST_LINE: Final = 16 << 20  # bytes; a decision with thousands of actions has less than one million
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_PACKED: Final = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ": "packed with xz",
    b"\x28\xb5\x2f\xfd": "packed with zstd",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def beginning(path: Path, size: int = 4) -> bytes:
    """Return the first bytes of a file, unpacked.

    :raises FileRefused: there is no such file, it is empty, or it is of a kind that is not read.
    """
    if path.is_dir():
        raise FileRefused(f"{path} is a folder; give one file")
    with unpacked(path) as file:
        start = file.read(size)
    kind = next((kind for mark, kind in _PACKED.items() if start.startswith(mark)), None)
    if kind is not None:
        raise FileRefused(f"{path.name} is {kind}; give plain UTF-8 text, gzip or Parquet")
    return start


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes; gzip is recognised by its content.

    :raises FileRefused: it cannot be opened, or what is packed is damaged.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw, mode="rb") as file:
                yield file  # type: ignore[misc]  # reads bytes like any other
    except FileNotFoundError:
        raise FileRefused(f"there is no file {path}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise FileRefused(f"{path.name} is damaged: its gzip data end or break in the middle; pack it again") from None
    except OSError as error:
        raise FileRefused(f"{path.name} cannot be read: {error.strerror or error}") from None


def byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with their numbers from 1, each with its line end.

    :raises FileRefused: a line is longer than ``LONGEST_LINE``, or the file cannot be read.
    """
    with unpacked(path) as file:
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                limit = LONGEST_LINE >> 20
                raise FileRefused(f"{path.name}, line {number}: longer than {limit} MiB; give one record per line")
            yield number, line.removeprefix(_BOM) if number == 1 else line


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines as text, each with its line end.

    :raises FileRefused: a line is not UTF-8, or longer than ``LONGEST_LINE``.
    """
    for number, line in byte_lines(path):
        try:
            yield line.decode()
        except UnicodeDecodeError:
            raise FileRefused(f"{path.name}, line {number}: not UTF-8 text; save it as UTF-8") from None
