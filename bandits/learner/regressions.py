"""Regressions of the reward on context and action by Vowpal Wabbit: `cb_adf` over the chosen action's line alone.

With the label probability 1 and one action, `cb_adf` is a plain regression of the cost, here minus the centred reward. Several
passes are needed: from the same log, one pass is far worse than ridge regression and several passes are mostly better.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from bandits.distribution import FloatArray
from bandits.model_file import ModelError, parse_options, read_header
from bandits.vw import SERVING, Scorer, open_workspace

PASSES: Final = 10
BITS: Final = 18
_COMMON: Final = f"--cb_adf --hash all --random_seed 17 --bit_precision {BITS}"
FLAGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Best where the truth is linear and the features are many.
        "ca": "--interactions ca --learning_rate 2.0 --power_t 0.5",
        # Best on most other worlds: the products of two context features, too.
        "cca": "--interactions ca --interactions cca --ignore_linear c --learning_rate 0.5 --power_t 0.5",
    }
)
# Vowpal Wabbit does not keep these in a model.
_RUNTIME: Final = "--save_resume --preserve_performance_counters --quiet --no_stdin"
_L2: Final[Mapping[str, str]] = MappingProxyType({"ca": "--l2 1e-4", "cca": "--l2 1e-5"})

Lines = Sequence[tuple[str, str]]  # (scaled context, scaled chosen action)


def learn(name: str, parent: bytes | None, lines: Lines, rewards: FloatArray) -> bytes:
    """A regression after the lines in their order: one pass on from its parent, or several passes from nothing."""
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        data, before, after = Path(folder, "data"), Path(folder, "before"), Path(folder, "after")
        texts = (
            f"{shared}\n0:{-reward:.9g}:1 {action}\n\n" for (shared, action), reward in zip(lines, rewards, strict=True)
        )
        _write(data, texts)
        if parent is None:
            cache = f"--passes {PASSES} --holdout_off --kill_cache --cache_file"
            arguments = f"{_COMMON} {FLAGS[name]} {_L2[name]} {_RUNTIME} {cache}"
            workspace = open_workspace(arguments, str(Path(folder, "cache")), "-d", str(data), "-f", str(after))
        else:
            before.write_bytes(parent)
            arguments = f"{_L2[name]} {_RUNTIME}"
            workspace = open_workspace(arguments, "-i", str(before), "-d", str(data), "-f", str(after))
        workspace.finish()
        return after.read_bytes()


def predict(payload: bytes, lines: Lines) -> FloatArray:
    """Predicted centred rewards of the lines, shape (n,)."""
    loaded = scorer(payload)
    try:
        return -np.array([loaded.scores(shared, [action])[0] for shared, action in lines])
    finally:
        loaded.close()


def scorer(payload: bytes) -> Scorer:
    """A regression loaded for serving; its scores are minus the centred rewards."""
    with tempfile.TemporaryDirectory(prefix="loopwise-") as folder:
        model = Path(folder, "model")
        model.write_bytes(payload)
        return Scorer(open_workspace(f"{SERVING} {_RUNTIME}", "-i", str(model)), BITS, len(payload))


def check_options(name: str, payload: bytes) -> None:
    """Raises `ModelError` when the options in a file are not those of this regression: VW could be told to write files."""
    if parse_options(read_header(payload).options) != parse_options(read_header(_empty(name)).options):
        raise ModelError(f"the options of the regression {name!r} differ from its definition")


@lru_cache(maxsize=8)
def _empty(name: str) -> bytes:
    return learn(name, None, [("shared |c", "|a =0")], np.zeros(1))


def _write(path: Path, texts: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(texts)
