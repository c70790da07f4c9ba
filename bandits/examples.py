"""Logged decisions as training examples in Vowpal Wabbit's text format, each checked before VW sees it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bandits import slates
from bandits.distribution import FloatArray

MIN_PROPENSITY: Final = 1e-9
MAX_ABS_COST: Final = 1e6


class TrainingDataError(ValueError):
    """An example that would ruin a model. `index` is its position (from 0) in what `learn` was given."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"example {index}: {message}")
        self.index = index


class Example(NamedTuple):
    """One logged decision with its outcome."""

    shared_line: str  # encode_context(...)
    action_lines: Sequence[str]  # encode_action(...) of each eligible action, in logged order
    chosen: int  # index in action_lines
    propensity: float  # logged probability of the chosen action, in (0, 1]
    cost: float  # cost_of(reward, ...), in [0, 1]
    chances: Sequence[float] | FloatArray | None = None  # the whole logged distribution; only slates need it


def of_thinned(propensity: float, stands_for: float | None) -> float:
    """The propensity with which a row of a thinned log is learned.

    A row that was logged with probability 1 - pdrop stands for c = 1 / (1 - pdrop) rows, and the action stood in the log with
    p / c. Vowpal Wabbit weighs an example by the inverse propensity, so its regressions then get the very weights that it
    gives a line of dsjson with ``pdrop``. Loopwise's own learners use no propensity: they learn each row once.

    :param stands_for: c; None: the log was not thinned.
    """
    return propensity if stands_for is None else max(propensity / stands_for, MIN_PROPENSITY)


def example_text(example: Example) -> str:
    """The example in VW's text format, ending with the empty line that separates examples."""
    shared_line, lines, chosen, propensity, cost, _ = example
    label = f"0:{float(cost)!r}:{float(propensity)!r} "
    return "\n".join((shared_line, *lines[:chosen], label + lines[chosen], *lines[chosen + 1 :], "\n"))


def write_examples(path: Path, examples: Iterable[Example], *, as_slates: bool) -> int:
    """Writes the examples to a file that VW can learn from, and returns how many there are.

    Raises `TrainingDataError` on the first example that cannot be learned.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for example in examples:
            file.write(checked(count, example, as_slates=as_slates))
            count += 1
    return count


def checked(index: int, example: Example, *, as_slates: bool) -> str:
    """The text of an example that can be learned. Raises `TrainingDataError` for any other."""
    return _slates_text(index, example) if as_slates else checked_text(index, example)


def _check_label(index: int, example: Example) -> None:
    # A single propensity of 0 or NaN ruins an mtr model for good: the damage survives save and load.
    if not MIN_PROPENSITY <= example.propensity <= 1.0:
        raise TrainingDataError(index, f"propensity must be in (0, 1], got {example.propensity!r}")
    if not -MAX_ABS_COST <= example.cost <= MAX_ABS_COST:
        raise TrainingDataError(index, f"cost must be finite and at most 1e6, got {example.cost!r}")
    k = len(example.action_lines)
    if not 0 <= example.chosen < k:
        raise TrainingDataError(index, f"chosen must index one of {k} actions, got {example.chosen!r}")


def checked_text(index: int, example: Example) -> str:
    """`example_text` of an example that can be learned. Raises `TrainingDataError` for any other."""
    _check_label(index, example)
    k = len(example.action_lines)
    text = example_text(example)
    # Counting over the whole text is several times faster than looking at each line, and finds the same: the format has
    # K + 2 line ends, so no line may hold another; K - 1 lines and the chosen line begin with a namespace.
    starts = text.count("\n|") + example.action_lines[example.chosen].startswith("|")
    if text.count("\n") != k + 2 or starts != k or "\r" in text or not text.startswith("shared |"):
        raise TrainingDataError(index, "its lines differ from what encode_context and encode_action write")
    return text


def _slates_text(index: int, example: Example) -> str:
    _check_label(index, example)
    if example.chances is None:
        raise TrainingDataError(index, "slates learn from the whole logged distribution, which is missing")
    try:
        table = slates.table_of([slates.parts_of(line) for line in example.action_lines])
        return slates.example_text(table, example.shared_line, example.chances, example.chosen, example.cost)
    except ValueError as error:
        raise TrainingDataError(index, str(error)) from None
