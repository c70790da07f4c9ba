"""The bytes of a log's statistics, for models that go on counting with every round.

    4 bytes  length of the JSON, little-endian; then the JSON
             by line and number, in the JSON's order: distinct values (float64), and the sample's hashes (uint64) and values

Everything is sorted, so equal statistics have equal bytes.
"""

import json
import struct
from typing import Any

import numpy as np

from bandits.learner.feature_stats import LineStats, LogStats, NumberStats

_FIELDS = ("present", "mean", "squares", "low", "high", "whole", "rises", "falls", "first", "last", "limit")


def stats_to_bytes(stats: LogStats) -> bytes:
    """The bytes of statistics."""
    header, arrays = [], list[bytes]()
    for line in (stats.contexts, stats.actions):
        numbers = []
        for name, number in sorted(line.numbers.items()):
            hashes = sorted(number.sample)
            numbers.append([name, len(number.distinct), len(hashes), *(getattr(number, one) for one in _FIELDS)])
            arrays += [
                np.array(sorted(number.distinct), dtype="<f8").tobytes(),
                np.array(hashes, dtype="<u8").tobytes(),
                np.array([number.sample[row_hash] for row_hash in hashes], dtype="<f8").tobytes(),
            ]
        words = sorted(line.words.items())
        header.append({"rows": line.rows, "crowded": line.crowded, "words": words, "numbers": numbers})
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((struct.pack("<I", len(text)), text, *arrays))


def stats_from_bytes(content: bytes) -> LogStats:
    """The statistics of bytes that `stats_to_bytes` wrote. Raises `ValueError` on bytes of another form."""
    try:
        (size,) = struct.unpack_from("<I", content)
        reader, lines = _Reader(content, 4 + size), []
        for obj in json.loads(content[4 : 4 + size]):
            numbers = {one[0]: _number(reader, one[1], one[2], one[3:]) for one in obj["numbers"]}
            words = {str(word): int(count) for word, count in obj["words"]}
            lines.append(LineStats(int(obj["rows"]), numbers, words, bool(obj["crowded"])))
        contexts, actions = lines
    except (KeyError, TypeError, IndexError, struct.error) as error:
        raise ValueError(f"not the statistics of a log: {error}") from None
    if reader.at != len(content):
        raise ValueError("not the statistics of a log: their length is wrong")
    return LogStats(contexts, actions)


def _number(reader: "_Reader", distinct: int, sampled: int, fields: list[Any]) -> NumberStats:  # Any: JSON of a model
    values = dict(zip(_FIELDS, fields, strict=True))
    different = set(reader.take("<f8", distinct))
    hashes = reader.take("<u8", sampled)
    return NumberStats(**values, distinct=different, sample=dict(zip(hashes, reader.take("<f8", sampled), strict=True)))


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self._content, self.at = content, at

    def take(self, kind: str, count: int) -> list[Any]:  # Any: int or float, as the kind says
        values = np.frombuffer(self._content, dtype=kind, count=count, offset=self.at)
        self.at += values.nbytes
        return list(values.tolist())
