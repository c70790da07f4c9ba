"""The models of Vowpal Wabbit's own algorithms: predicts with their bytes, and learns new ones.

VW reads and writes models only as files, so every function here uses a private temporary directory and removes it
before it returns. Otherwise the functions take and return bytes, and the same inputs give the same bytes.

Serving never shares a workspace with learning: a prediction changes what a learning workspace saves.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from bandits import slates
from bandits.arguments import runtime_arguments, vw_arguments
from bandits.distribution import FloatArray, mix_floor
from bandits.examples import Example, write_examples
from bandits.model_file import ModelError, parse_options, read_header, seal, unseal
from bandits.policy import BanditPolicy
from bandits.untried import key_of, share_untried
from bandits.vw import SERVING, Scorer, open_workspace

_LINES: Final = 4096  # actions of which it is kept whether they were tried
_SEED: Final = re.compile(r"--random_seed \d{1,20}(?= |$)")


@lru_cache(maxsize=256)
def initial_model(policy: BanditPolicy) -> bytes:
    """The bytes of an untrained model of this policy: the parent of a lineage's first round."""
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        workspace = open_workspace(vw_arguments(policy))
        path = Path(folder, "model")
        workspace.save(str(path))
        workspace.finish()
        return seal(path.read_bytes(), 0)


def options_problem(payload: bytes, policy: BanditPolicy) -> str | None:
    """How the options in a VW file differ from this policy's; None when they agree. VW does not read the file.

    They must equal those of a fresh model, except for the random seed: VW saves the state of its generator there.
    """
    header = read_header(payload)
    wanted = read_header(unseal(initial_model(policy)).payload)
    actual, expected = parse_options(header.options), parse_options(wanted.options)
    if _SEED.sub("", header.options) != _SEED.sub("", wanted.options):
        names = sorted(name for name in {*actual, *expected} if actual.get(name) != expected.get(name))
        return f"the model's options differ from the policy's: {', '.join(names) or 'repeated or in another order'}"
    if header.bits != policy.bits:
        return f"the model has 2^{header.bits} weights, the policy 2^{policy.bits}"
    return None


class VwPredictor:
    """A model loaded for serving. It is thread-safe (one lock) and never learns; no call changes a later answer.

    Raises `ModelError` when the bytes are damaged or their options differ from the policy's.
    """

    def __init__(self, model_bytes: bytes, policy: BanditPolicy, tried: frozenset[bytes] | None = None) -> None:
        """Load a model; `tried` holds the keys of the actions that it has learned from, if that is known."""
        self._tried = None if tried is None else lru_cache(_LINES)(lambda line: key_of(line) in tried)
        self._latest: tuple[list[str], list[bool]] = ([], [])  # the lines of the last call, and whether each was tried
        self._examples, payload = unseal(model_bytes)
        self._uniform = self._examples < policy.explore_first
        self._slates = policy.slates
        problem = options_problem(payload, policy)
        if problem:
            raise ModelError(problem)
        with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
            path = Path(folder, "model")
            path.write_bytes(payload)
            workspace = open_workspace(f"{SERVING} {runtime_arguments(policy)}", "-i", str(path))
        self._scorer = Scorer(workspace, policy.bits, len(payload))

    def distribution(self, shared_line: str, action_lines: Sequence[str], floor: float) -> FloatArray:
        """The distribution over the lines with the floor mixed in, in float64. Raises `ValueError` like `probabilities`."""
        if not self._slates:
            return mix_floor(self.probabilities(shared_line, action_lines), floor)
        table = slates.table_of([slates.parts_of(line) for line in action_lines])
        return slates.joint(table, self._slot_probabilities(shared_line, table), floor)

    def own(self, shared_line: str, action_lines: Sequence[str]) -> list[list[float]]:
        """Every distribution that VW gives for these lines: a single one, or one per slot for slates."""
        if not self._slates:
            return [self.probabilities(shared_line, action_lines)]
        return self._slot_probabilities(shared_line, slates.table_of([slates.parts_of(line) for line in action_lines]))

    def probabilities(self, shared_line: str, action_lines: Sequence[str]) -> list[float]:
        """VW's own distribution over the lines, in their order, before the floor: float32 values, may hold zeros.

        They are not normalised to float64 precision; `mix_floor` does that. Raises `ValueError` when a line is empty or
        holds a line break, and after `close()`.
        """
        if not action_lines:
            raise ValueError("needs at least one action line")
        if self._slates:
            raise ValueError("a model of composed messages has a distribution per slot")
        if self._uniform:
            return [1.0 / len(action_lines)] * len(action_lines)
        return self._shared(self._scorer.scores(shared_line, action_lines), action_lines)

    def close(self) -> None:
        """Frees VW's memory. Further calls do nothing."""
        self._scorer.close()

    @property
    def examples(self) -> int:
        """Decisions that the model has learned from, each counted once."""
        return self._examples

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory that VW takes."""
        return self._scorer.memory_bytes

    def _slot_probabilities(self, shared_line: str, table: slates.Table) -> list[list[float]]:
        """VW's distribution per slot, in the table's order."""
        if len(table.slots) == 1:
            if len(table.slots[0]) > 1:
                raise ValueError("these actions are no combinations of parts")
            return [[1.0]]
        sizes = [len(possibilities) for possibilities in table.slots]
        if self._uniform:
            return [[1.0 / size] * size for size in sizes]
        text = slates.question_text(table, shared_line)
        answer = self._scorer.answer(text, 1 + sum(sizes) + len(sizes))
        # Per slot, (possibility, probability) pairs. VW puts its own draw first; Loopwise does not use it.
        first, *others = ([chance for _, chance in sorted(pairs)] for pairs in answer)
        return [first, *(self._shared(p, lines) for p, lines in zip(others, table.slots[1:], strict=True))]

    def _shared(self, probabilities: list[float], lines: Sequence[str]) -> list[float]:
        if self._tried is None:
            return probabilities
        known, tried = self._latest
        if lines != known:  # an experiment's actions are the same in most calls
            tried = [self._tried(line) for line in lines]
            self._latest = (list(lines), tried)
        return share_untried(probabilities, tried)


def learn(
    parent_bytes: bytes,
    policy: BanditPolicy,
    examples: Iterable[Example],
    passes: int = 1,
) -> bytes:
    """The child model: the parent after the examples in their order, `passes` times. The same bytes every time.

    All examples are checked first, so that a bad example changes nothing. Without examples the parent's bytes return.
    Raises `TrainingDataError` (an example), `ModelError` (the parent), `ValueError` (passes < 1). VW parses a file
    three times faster than single examples.
    """
    if passes < 1:
        raise ValueError("passes must be at least 1")
    learned, payload = unseal(parent_bytes)
    problem = options_problem(payload, policy)
    if problem:
        raise ModelError(problem)
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        data = Path(folder, "examples")
        count = write_examples(data, examples, as_slates=policy.slates)
        if count == 0:
            return parent_bytes
        for _ in range(passes):
            payload = _learn_file(payload, policy, data, Path(folder))
    return seal(payload, learned + count)


def _learn_file(payload: bytes, policy: BanditPolicy, data: Path, folder: Path) -> bytes:
    parent, child = folder / "parent", folder / "child"
    parent.write_bytes(payload)
    open_workspace(runtime_arguments(policy), "-i", str(parent), "-d", str(data), "-f", str(child)).finish()
    return child.read_bytes()
