"""Vowpal Wabbit's algorithms with features at their own scale: `"scaling": true` in their policies.

A model is Vowpal Wabbit's own model and the statistics of every feature so far. A round counts its decisions first, then
scales their features with the new statistics, and learns. So learning, serving and an audit need the model's bytes alone.
As the statistics settle, the scale moves ever less; the weights follow it.

    offset 0   8 bytes  b"LOOPSC1\\n"
           8  32 bytes  SHA-256 of everything from 40 on
          40   4 bytes  length of the statistics, little-endian; then the statistics, and the model with its own envelope
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from bandits import slates, vw_model
from bandits.distribution import FloatArray
from bandits.examples import Example, TrainingDataError, checked
from bandits.learner.columns import LINES, Columns, text_of
from bandits.learner.feature_stats import LogStats
from bandits.learner.scaling import Scaler
from bandits.learner.stats_file import stats_from_bytes, stats_to_bytes
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy

MAGIC: Final = b"LOOPSC1\n"
_ENVELOPE: Final = 40
MOST_NUMBERS: Final = 256  # of contexts and of actions, whose statistics a model keeps; about 12 kB each
_LINE_BYTES: Final = 500  # of a scaled line that is kept


def initial_model(policy: BanditPolicy) -> bytes:
    """The bytes of an untrained model of this policy."""
    return _seal(LogStats(), vw_model.initial_model(policy))


def learn(parent_bytes: bytes, policy: BanditPolicy, examples: Iterable[Example]) -> bytes:
    """The child model: the parent after the examples in their order. The same bytes every time.

    All examples are checked first, so that a bad example changes nothing. Without examples the parent's bytes return.
    Raises `TrainingDataError` (an example) and `ModelError` (the parent).
    """
    stats, inner = _open(parent_bytes)
    examples = list(examples)
    if not examples:
        return parent_bytes
    for index, example in enumerate(examples):
        checked(index, example, as_slates=policy.slates)
        try:
            stats.add(example.shared_line, _parts(example.action_lines[example.chosen], policy))
        except ValueError as error:
            raise TrainingDataError(index, str(error)) from None
    for line in (stats.contexts, stats.actions):
        line.keep(MOST_NUMBERS)
    lines = _Lines(Scaler.learn(stats), policy)
    scaled = (
        example._replace(
            shared_line=lines.context(example.shared_line),
            action_lines=[lines.action(line) for line in example.action_lines],
        )
        for example in examples
    )
    return _seal(stats, vw_model.learn(inner, policy, scaled))


def inner_model(model_bytes: bytes) -> bytes:
    """Vowpal Wabbit's model in its envelope. Raises `ModelError` on damaged bytes."""
    return _open(model_bytes)[1]


def describe(model_bytes: bytes) -> dict[str, object]:
    """What a person should know of the features, as plain JSON values."""
    notes = Scaler.learn(_open(model_bytes)[0]).notes()
    return {"notes": [{"code": code, **params} for code, params in notes]}


class ScaledPredictor:
    """A model loaded for serving. It is thread-safe and never learns; no call changes a later answer.

    Raises `ModelError` when the bytes are damaged or their options differ from the policy's.
    """

    def __init__(self, model_bytes: bytes, policy: BanditPolicy) -> None:
        stats, inner = _open(model_bytes)
        self._lines = _Lines(Scaler.learn(stats), policy)
        self._inner = vw_model.VwPredictor(inner, policy)

    @property
    def examples(self) -> int:
        """Decisions that the model has learned from, each counted once."""
        return self._inner.examples

    @property
    def memory_bytes(self) -> int:
        """That of Vowpal Wabbit's model, and the scaled lines that are kept."""
        return self._inner.memory_bytes + LINES * _LINE_BYTES

    def distribution(self, shared_line: str, action_lines: Sequence[str], floor: float) -> FloatArray:
        """The distribution over the lines with the floor mixed in, shape (K,). Raises `ValueError` on unusable lines."""
        return self._inner.distribution(*self._scaled(shared_line, action_lines), floor)

    def own(self, shared_line: str, action_lines: Sequence[str]) -> list[list[float]]:
        """Every distribution that the model gives before the floor: a single one, or one per slot for slates."""
        return self._inner.own(*self._scaled(shared_line, action_lines))

    def close(self) -> None:
        """Frees memory. Further calls do nothing."""
        self._inner.close()

    def _scaled(self, shared_line: str, action_lines: Sequence[str]) -> tuple[str, list[str]]:
        return self._lines.context(shared_line), [self._lines.action(line) for line in action_lines]


class _Lines:
    """Scales lines. Actions repeat, so their lines are kept."""

    def __init__(self, scaler: Scaler, policy: BanditPolicy) -> None:
        self._contexts, self._actions, self._policy = Columns(scaler.contexts, 1), Columns(scaler.actions, 1), policy
        self.action = lru_cache(LINES)(self._action)

    def context(self, line: str) -> str:
        return text_of(self._contexts.read(line), "shared |c")

    def _action(self, line: str) -> str:
        parts = _parts(line, self._policy)
        return " ".join(text_of(self._actions.read(part), "|a") for part in parts)


def _parts(line: str, policy: BanditPolicy) -> Sequence[str]:
    """A combination's line is the lines of its parts."""
    return slates.parts_of(line) if policy.slates else [line]


def _seal(stats: LogStats, inner: bytes) -> bytes:
    counted = stats_to_bytes(stats)
    body = b"".join((struct.pack("<I", len(counted)), counted, inner))
    return b"".join((MAGIC, hashlib.sha256(body).digest(), body))


def _open(model_bytes: bytes) -> tuple[LogStats, bytes]:
    body = model_bytes[_ENVELOPE:]
    if len(body) < 4 or model_bytes[:8] != MAGIC:
        raise ModelError("not a model with scaled features: the first bytes are wrong or missing")
    if hashlib.sha256(body).digest() != model_bytes[8:_ENVELOPE]:
        raise ModelError("the model is damaged: truncated or changed after it was written")
    (size,) = struct.unpack_from("<I", body)
    try:
        return stats_from_bytes(body[4 : 4 + size]), body[4 + size :]
    except ValueError as error:
        raise ModelError(f"the model cannot be read: {error}") from None
