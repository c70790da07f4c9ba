"""Vowpal Wabbit's algorithms, knowing which actions they tried and, with `"scaling": true`, features at their own scale.

A regression that knows nothing of an action predicts a cost of about 0. Where rewards are rare, nearly every cost is close
to 1, so an action that nobody has tried would look perfect and take over. So a model keeps which actions it has learned
from, and gives each other one exactly 1/K (`bandits.untried`).

With scaling, a model also keeps the statistics of every feature so far. A round counts its decisions first, then scales
their features with the new statistics, and learns. So learning, serving and an audit need the model's bytes alone. As the
statistics settle, the scale moves ever less; the weights follow it. `regcb` always scales, because the confidence bounds
of an unscaled number do not shrink.

    offset 0   8 bytes  b"LOOPSC2\\n"
           8  32 bytes  SHA-256 of everything from 40 on
          40   4 bytes  number of actions learned from, or 2^32 - 1: too many to keep; then 8 bytes of each
               4 bytes  length of the statistics, 0 without scaling; then they, and the model with its own envelope

Models with scaling that began before actions were kept are `b"LOOPSC1\\n"`, without them, and go on so. Numbers are
little-endian.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from bandits import slates, vw_model
from bandits.distribution import FloatArray
from bandits.examples import Example, TrainingDataError, checked
from bandits.learner.columns import LINES, Columns, text_of
from bandits.learner.feature_stats import LogStats
from bandits.learner.scaling import Scaler
from bandits.learner.stats_file import stats_from_bytes, stats_to_bytes
from bandits.model_file import ModelError
from bandits.policy import BanditPolicy
from bandits.untried import KEY_BYTES, key_of

FIRST_MAGIC: Final = b"LOOPSC1\n"
MAGIC: Final = b"LOOPSC2\n"
_ENVELOPE: Final = 40
MOST_TRIED: Final = 4096  # actions; where there are more, ids differ in every call and say nothing
_TOO_MANY: Final = 2**32 - 1
MOST_NUMBERS: Final = 256  # of contexts and of actions, whose statistics a model keeps; about 12 kB each
_LINE_BYTES: Final = 500  # of a scaled line that is kept


class Opened(NamedTuple):
    """The parts of a model."""

    tried: frozenset[bytes] | None  # keys of the actions learned from; None: not known, or too many
    stats: LogStats | None  # None: features are not scaled
    inner: bytes  # Vowpal Wabbit's model in its envelope


def initial_model(policy: BanditPolicy) -> bytes:
    """The bytes of an untrained model of this policy."""
    return seal(Opened(frozenset(), LogStats() if _scales(policy) else None, vw_model.initial_model(policy)))


def is_framed(model_bytes: bytes) -> bool:
    """Whether these are bytes of this module; otherwise they are a model of Vowpal Wabbit alone, or of another learner."""
    return model_bytes[:8] in (FIRST_MAGIC, MAGIC)


def learn(parent_bytes: bytes, policy: BanditPolicy, examples: Iterable[Example], passes: int = 1) -> bytes:
    """The child model: the parent after the examples in their order, `passes` times, once where actions are not kept.

    The same inputs give the same bytes.
    All examples are checked first, so that a bad example changes nothing. Without examples the parent's bytes return.
    Raises `TrainingDataError` (an example) and `ModelError` (the parent).
    """
    tried, stats, inner = _open(parent_bytes, policy)
    examples = list(examples)
    if not examples:
        return parent_bytes
    for index, example in enumerate(examples):
        checked(index, example, as_slates=policy.slates)
    if tried is not None:
        chosen = {example.action_lines[example.chosen] for example in examples}
        tried |= {key_of(part) for line in chosen for part in _parts(line, policy)}
        tried = tried if len(tried) <= MOST_TRIED else None
    if stats is not None:
        examples = _scaled(stats, policy, examples)
    child = vw_model.learn(inner, policy, examples, 1 if _is_first(parent_bytes) else passes)
    return seal(Opened(tried, stats, child), parent_bytes[:8])


def _scaled(stats: LogStats, policy: BanditPolicy, examples: list[Example]) -> list[Example]:
    """The examples with their features at their own scale, after the statistics have counted them."""
    for index, example in enumerate(examples):
        try:
            stats.add(example.shared_line, _parts(example.action_lines[example.chosen], policy))
        except ValueError as error:
            raise TrainingDataError(index, str(error)) from None
    for line in (stats.contexts, stats.actions):
        line.keep(MOST_NUMBERS)
    lines = _Lines(Scaler.learn(stats), policy)
    return [
        example._replace(
            shared_line=lines.context(example.shared_line),
            action_lines=[lines.action(line) for line in example.action_lines],
        )
        for example in examples
    ]


def inner_model(model_bytes: bytes, policy: BanditPolicy) -> bytes:
    """Vowpal Wabbit's model in its envelope. Raises `ModelError` on damaged bytes."""
    return _open(model_bytes, policy).inner


def describe(model_bytes: bytes, policy: BanditPolicy) -> dict[str, object]:
    """What a person should know of scaled features, as plain JSON values; empty without scaling."""
    stats = _open(model_bytes, policy).stats
    if stats is None:
        return {}
    notes = Scaler.learn(stats).notes()
    return {"notes": [{"code": code, **params} for code, params in notes]}


def load(model_bytes: bytes, policy: BanditPolicy) -> "ScaledPredictor | vw_model.VwPredictor":
    """A model loaded for serving. Raises `ModelError` when the bytes are damaged or do not fit the policy."""
    tried, stats, inner = _open(model_bytes, policy)
    predictor = vw_model.VwPredictor(inner, policy, tried)
    return predictor if stats is None else ScaledPredictor(stats, predictor, policy)


class ScaledPredictor:
    """A model with scaled features. It is thread-safe and never learns; no call changes a later answer."""

    def __init__(self, stats: LogStats, inner: vw_model.VwPredictor, policy: BanditPolicy) -> None:
        self._lines = _Lines(Scaler.learn(stats), policy)
        self._inner = inner

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


def _scales(policy: BanditPolicy) -> bool:
    return policy.scaling or policy.algorithm == "regcb"


def _is_first(model_bytes: bytes) -> bool:
    return model_bytes[:8] == FIRST_MAGIC


def seal(opened: Opened, magic: bytes = MAGIC) -> bytes:
    """The bytes of a model."""
    tried, stats, inner = opened
    counted = b"" if stats is None else stats_to_bytes(stats)
    keys = sorted(tried or ())
    first = struct.pack("<I", _TOO_MANY if tried is None else len(keys)) + b"".join(keys)
    body = b"".join((b"" if magic == FIRST_MAGIC else first, struct.pack("<I", len(counted)), counted, inner))
    return b"".join((magic, hashlib.sha256(body).digest(), body))


def _open(model_bytes: bytes, policy: BanditPolicy) -> Opened:
    """The parts of a model. Raises `ModelError` on damage, and where the model scales and the policy does not, or the reverse."""
    body = model_bytes[_ENVELOPE:]
    if len(body) < 12 or not is_framed(model_bytes):
        raise ModelError("not a model of a policy of this kind: the first bytes are wrong or missing")
    if hashlib.sha256(body).digest() != model_bytes[8:_ENVELOPE]:
        raise ModelError("the model is damaged: truncated or changed after it was written")
    try:
        tried, at = (None, 0) if _is_first(model_bytes) else _keys(body)
        (size,) = struct.unpack_from("<I", body, at)
        begin, end = at + 4, at + 4 + size
        stats = stats_from_bytes(body[begin:end]) if size else None
    except (ValueError, struct.error) as error:
        raise ModelError(f"the model cannot be read: {error}") from None
    if _scales(policy) != (stats is not None):
        raise ModelError("the model's features are scaled and the policy's are not, or the reverse")
    return Opened(tried, stats, body[end:])


def _keys(body: bytes) -> tuple[frozenset[bytes] | None, int]:
    """The keys, and where they end."""
    (count,) = struct.unpack_from("<I", body)
    if count == _TOO_MANY:
        return None, 4
    ends = [4 + KEY_BYTES * place for place in range(count + 1)]
    return frozenset(body[begin:end] for begin, end in pairwise(ends)), ends[-1]
