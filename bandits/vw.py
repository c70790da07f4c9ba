"""Vowpal Wabbit's workspaces: opening them, and asking them for the scores of actions. Only `bandits` may use this module.

VW reads and writes models only as files, so callers use a private temporary directory and remove it before they return.
"""

import threading
from collections.abc import Sequence
from typing import Final, Protocol, cast

import pylibvw  # type: ignore[import-not-found,import-untyped,unused-ignore]
import vowpalwabbit  # type: ignore[import-untyped,unused-ignore]

from bandits.model_file import ModelError

# Parsing takes four fifths of a prediction, and the action lines of a catalogue repeat. So a Predictor keeps a line
# parsed when it sees it for the second time. VW's example objects are large: the bound keeps them under 32 MiB.
MAX_CACHED_LINES: Final = 1024
MAX_SEEN_LINES: Final = 8192
# Of a workspace that only predicts. VW makes so many examples in advance, of 31 kB each, and more when it parses more lines;
# its default is 256.
SERVING: Final = "-t --example_queue_limit 2"
EXAMPLE_BYTES: Final = 32_000  # measured growth per kept line
WORKSPACE_BYTES: Final = 750_000  # measured, without weights and examples
WEIGHT_BYTES: Final = 4  # of a weight of a model that only predicts
PAGE_BYTES: Final = 4096  # a page without a learned weight takes no memory
STORED_BYTES: Final = 16  # of a learned weight in a model's file


class ParsedLine(Protocol):
    """VW's example object."""

    def get_action_scores(self) -> list[float]: ...


class Workspace(Protocol):
    """What this package uses of VW's workspace, which has no types of its own."""

    def predict(self, text: str) -> list[list[tuple[int, float]]]: ...
    def save(self, path: str) -> None: ...
    def finish(self) -> None: ...
    def _parse(self, text: str) -> list[ParsedLine]: ...


class Scorer:
    """A workspace that predicts for lines of actions. It is thread-safe (one lock) and never learns."""

    def __init__(self, workspace: Workspace, bits: int, file_bytes: int) -> None:
        """:param file_bytes: size of the model's file, which holds only the weights that are not 0."""
        self._workspace: Workspace | None = workspace
        self._lock = threading.Lock()
        self._cache: dict[str, ParsedLine] = {}
        self._seen: set[int] = set()
        self._latest: tuple[list[str], list[ParsedLine]] | None = None  # of the last call, if all of them are kept
        self._weight_bytes = min(WEIGHT_BYTES << bits, PAGE_BYTES * (file_bytes // STORED_BYTES))
        self.peak_examples = 0

    @property
    def memory_bytes(self) -> int:
        """Estimate of VW's memory. Its pool of parsed lines never shrinks before `close`."""
        return WORKSPACE_BYTES + self._weight_bytes + EXAMPLE_BYTES * self.peak_examples

    def scores(self, shared_line: str, action_lines: Sequence[str]) -> list[float]:
        """VW's score of each action line, in their order, float32 values.

        Raises `ValueError` when a line is empty, holds a line break or is there twice, and after `close()`.
        """
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

    def answer(self, text: str, examples: int) -> list[list[tuple[int, float]]]:
        """VW's own answer to a text of this many examples."""
        with self._lock:
            self.peak_examples = max(self.peak_examples, examples)
            return self._opened().predict(text)

    def close(self) -> None:
        """Frees VW's memory. Further calls do nothing."""
        with self._lock:
            if self._workspace is not None:
                self._drop_cache(self._workspace)
                self._workspace.finish()
                self._workspace = None

    def _opened(self) -> Workspace:
        if self._workspace is None:
            raise ValueError("this predictor is closed")
        return self._workspace

    def _parse(
        self, workspace: Workspace, shared_line: str, lines: Sequence[str]
    ) -> tuple[ParsedLine, list[ParsedLine], list[ParsedLine]]:
        """The parsed shared line, the actions in order, and the actions to hand back after use."""
        if self._latest is not None and lines == self._latest[0]:  # an experiment's actions are the same in most calls
            parsed = workspace._parse(shared_line)
            if len(parsed) != 1:
                _hand_back(workspace, parsed)
                raise ValueError("a line holds a line break or nothing")
            return parsed[0], self._latest[1], []
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
        self.peak_examples = max(self.peak_examples, 1 + len(self._cache) + len(transient))
        self._latest = None if transient else (list(lines), cast(list[ParsedLine], actions))
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
        self._latest = None


def _hand_back(workspace: Workspace, examples: list[ParsedLine]) -> None:
    # VW leaks parsed examples that are not handed back.
    if examples:
        pylibvw.vw._finish_example_multi_ex(workspace, examples)


def open_workspace(arguments: str, *paths: str) -> Workspace:
    """A workspace, for this package only. ``arguments`` never come from a user; ``paths`` may hold spaces."""
    try:
        return cast(Workspace, vowpalwabbit.Workspace(arg_list=[*arguments.split(), *paths]))
    except RuntimeError as error:  # VW raises nothing else, also when its header's checksum is wrong
        raise ModelError(f"Vowpal Wabbit refused the model: {error}") from None
