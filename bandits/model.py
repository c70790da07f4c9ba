"""Predicts with a model's bytes, and learns new ones. No other module may import Vowpal Wabbit.

VW reads and writes models only as files, so every function here uses a private temporary directory and removes it
before it returns. Otherwise the functions take and return bytes, and the same inputs give the same bytes.

Serving never shares a workspace with learning: a prediction changes what a learning workspace saves.
"""

import re
import tempfile
import threading
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol, cast

import pylibvw  # type: ignore[import-not-found,import-untyped,unused-ignore]
import vowpalwabbit  # type: ignore[import-untyped,unused-ignore]

from bandits import slates
from bandits.arguments import runtime_arguments, vw_arguments
from bandits.distribution import FloatArray, mix_floor, uniform
from bandits.examples import Example, write_examples
from bandits.model_file import ModelError, parse_options, read_header, seal, unseal
from bandits.policy import BanditPolicy, FixedPolicy, Policy

# Parsing takes four fifths of a prediction, and the action lines of a catalogue repeat. So a Predictor keeps a line
# parsed when it sees it for the second time. VW's example objects are large: the bound keeps them under 32 MiB.
MAX_CACHED_LINES: Final = 1024
MAX_SEEN_LINES: Final = 8192
EXAMPLE_BYTES: Final = 31_000  # measured growth per kept line
_SEED: Final = re.compile(r"--random_seed \d{1,20}(?= |$)")


class ParsedLine(Protocol):
    """VW's example object."""

    def get_action_scores(self) -> list[float]: ...


class Workspace(Protocol):
    """What this package uses of VW's workspace, which has no types of its own."""

    def predict(self, text: str) -> list[list[tuple[int, float]]]: ...
    def save(self, path: str) -> None: ...
    def finish(self) -> None: ...
    def _parse(self, text: str) -> list[ParsedLine]: ...


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


class Predictor:
    """A model loaded for serving. It is thread-safe (one lock) and never learns; no call changes a later answer.

    Raises `ModelError` when the bytes are damaged or their options differ from the policy's.
    """

    def __init__(self, model_bytes: bytes, policy: BanditPolicy) -> None:
        self._examples, payload = unseal(model_bytes)
        self._uniform = self._examples < policy.explore_first
        self._slates = policy.slates
        self._bits = policy.bits
        self._lock = threading.Lock()
        self._cache: dict[str, ParsedLine] = {}
        self._seen: set[int] = set()
        self._peak_examples = 0
        problem = options_problem(payload, policy)
        if problem:
            raise ModelError(problem)
        with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
            path = Path(folder, "model")
            path.write_bytes(payload)
            self._workspace: Workspace | None = open_workspace(f"-t {runtime_arguments(policy)}", "-i", str(path))

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
        with self._lock:
            workspace = self._opened()
            shared, actions, transient = self._parse(workspace, shared_line, action_lines)
            try:
                pylibvw.vw.predict_multi(workspace, [shared, *actions])
                scores = shared.get_action_scores()
            finally:
                _hand_back(workspace, [shared, *transient])
                self._trim(workspace)
        if len(scores) != len(action_lines):
            raise ValueError("the first line must be a shared line and the others actions")
        return scores

    def close(self) -> None:
        """Frees VW's memory. Further calls do nothing."""
        with self._lock:
            if self._workspace is not None:
                self._drop_cache(self._workspace)
                self._workspace.finish()
                self._workspace = None

    @property
    def examples(self) -> int:
        """Decisions that the model has learned from, each counted once."""
        return self._examples

    @property
    def memory_bytes(self) -> int:
        """Estimate: 16 bytes per weight, and VW's pool of parsed lines, which never shrinks before `close`."""
        return (16 << self._bits) + EXAMPLE_BYTES * self._peak_examples

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
        with self._lock:
            self._peak_examples = max(self._peak_examples, 1 + sum(sizes) + len(sizes))
            answer = self._opened().predict(text)
        # Per slot, (possibility, probability) pairs. VW puts its own draw first; Loopwise does not use it.
        return [[chance for _, chance in sorted(pairs)] for pairs in answer]

    def _opened(self) -> Workspace:
        if self._workspace is None:
            raise ValueError("this predictor is closed")
        return self._workspace

    def _parse(
        self, workspace: Workspace, shared_line: str, lines: Sequence[str]
    ) -> tuple[ParsedLine, list[ParsedLine], list[ParsedLine]]:
        """The parsed shared line, the actions in order, and the actions to hand back after use."""
        if len(set(lines)) != len(lines):
            raise ValueError("two actions have the same line")
        actions = list(map(self._cache.get, lines))
        missing = [index for index, action in enumerate(actions) if action is None]
        parsed = workspace._parse("\n".join([shared_line, *(lines[index] for index in missing)]))
        if len(parsed) != 1 + len(missing):
            _hand_back(workspace, parsed)
            raise ValueError("a line holds a line break or nothing")
        transient = []
        for index, example in zip(missing, parsed[1:], strict=True):
            actions[index] = example
            if not self._keep(lines[index], example):
                transient.append(example)
        self._peak_examples = max(self._peak_examples, 1 + len(self._cache) + len(transient))
        return parsed[0], cast(list[ParsedLine], actions), transient

    def _keep(self, line: str, example: ParsedLine) -> bool:
        """Keeps a line that is parsed for the second time; returns whether it did."""
        seen = hash(line) in self._seen
        if seen:
            self._cache[line] = example
        else:
            self._seen.add(hash(line))
        return seen

    def _trim(self, workspace: Workspace) -> None:
        if len(self._cache) > MAX_CACHED_LINES:
            self._drop_cache(workspace)
        if len(self._seen) > MAX_SEEN_LINES:
            self._seen.clear()

    def _drop_cache(self, workspace: Workspace) -> None:
        _hand_back(workspace, list(self._cache.values()))
        self._cache.clear()


def _hand_back(workspace: Workspace, examples: list[ParsedLine]) -> None:
    # VW leaks parsed examples that are not handed back.
    if examples:
        pylibvw.vw._finish_example_multi_ex(workspace, examples)


def distribution(
    policy: Policy,
    predictor: Predictor | None,
    shared_line: str,
    action_lines: Sequence[str],
    action_ids: Sequence[str],
) -> FloatArray:
    """The distribution over the eligible actions, shape (K,), in their order. Serving and audit both call this.

    Fixed: 1 on its action; uniform when that is not eligible. Bandit: uniform while `predictor` is None (nothing
    learned yet), otherwise VW's distribution with the exploration floor mixed in. Raises `ValueError` when there is no
    action or the lines and ids differ in number.
    """
    if len(action_ids) != len(action_lines):
        raise ValueError(f"{len(action_lines)} action lines for {len(action_ids)} action ids")
    if isinstance(policy, FixedPolicy) and policy.action in action_ids:
        return mix_floor(
            [1.0 if action_id == policy.action else 0.0 for action_id in action_ids],
            0.0,
        )
    if not isinstance(policy, BanditPolicy) or predictor is None:
        return uniform(len(action_ids))
    return predictor.distribution(shared_line, action_lines, policy.exploration_floor)


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


def open_workspace(arguments: str, *paths: str) -> Workspace:
    """A workspace, for this package only. ``arguments`` never come from a user; ``paths`` may hold spaces."""
    try:
        return cast(Workspace, vowpalwabbit.Workspace(arg_list=[*arguments.split(), *paths]))
    except RuntimeError as error:  # VW raises nothing else, also when its header's checksum is wrong
        raise ModelError(f"Vowpal Wabbit refused the model: {error}") from None
