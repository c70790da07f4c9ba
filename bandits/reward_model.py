"""A regression of the reward on context and action, for off-policy estimators that need a reward model.

It is Vowpal Wabbit's squared-loss learner on the platform's own encoding. It never serves and is never stored, so it
needs no signature. It must never be fitted on a row that it will predict: the caller cuts the folds.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bandits.vw import open_workspace

ARGUMENTS: Final = "--hash all --interactions ca --interactions aa --random_seed 17 --quiet --no_stdin"
PASSES: Final = 3  # a single pass over the few thousand rows of a fold leaves most of the signal in the residual


def row_line(shared_line: str, action_line: str) -> str:
    """One example line of a (context, action) pair, from the lines that ``bandits.encoding`` wrote."""
    return f"{shared_line.removeprefix('shared ')} {action_line}"


def fit(lines: Sequence[str], rewards: Sequence[float]) -> bytes:
    """Fit on rows, in their order.

    :param lines: from ``row_line``, one per row.
    :param rewards: finite, one per row, in the reward's unit.
    """
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        data, model = Path(folder, "rows"), Path(folder, "model")
        text = "".join(f"{float(reward)!r} {line}\n" for reward, line in zip(rewards, lines, strict=True))
        data.write_text(text * PASSES, encoding="utf-8", newline="\n")
        open_workspace(ARGUMENTS, "-d", str(data), "-f", str(model)).finish()
        return model.read_bytes()


def predict(model: bytes, lines: Sequence[str], low: float, high: float) -> NDArray[np.float64]:
    """Predicted rewards, shape (n,), clipped to [low, high]."""
    if not lines:
        return np.zeros(0)
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        data, path, out = Path(folder, "rows"), Path(folder, "model"), Path(folder, "out")
        path.write_bytes(model)
        data.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
        arguments = "-t --quiet --no_stdin"
        open_workspace(arguments, "-i", str(path), "-d", str(data), "-p", str(out)).finish()
        predictions = np.loadtxt(out, dtype=np.float64, ndmin=1)
    return np.clip(predictions, low, high)
