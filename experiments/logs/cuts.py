"""The values of a context field as a few groups: frequent values as they are, many numbers as quantile bins.

Cuts depend on contexts alone. This module must never see a reward: groups chosen by what was earned would look good by
chance.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from experiments.validation import DataError, IntArray

BINS = 4
OTHER, NONE = "(other)", "(none)"


class Cut(NamedTuple):
    """The groups of a field's values."""

    names: list[str]
    """Of the groups: bins from low to high, else the most frequent first; "(other)" and "(none)" last."""
    codes: IntArray
    """(n,) index into `names`."""
    edges: list[float]
    """Upper ends of all bins but the last; empty where values are not binned."""


def cut(values: Sequence[object], most: int = 8) -> Cut:
    """The groups of n values of JSON; None is a value that is missing.

    More than `most` different numbers are cut at their quartiles, each bin with its upper end. Of other values the `most`
    most frequent stay, and the rest is "(other)". Raises `DataError` without values.
    """
    if not values:
        raise DataError("there are no values to cut", fix="pass one per row")
    present = [item for item in values if item is not None]
    numbers = [float(item) for item in present if isinstance(item, int | float) and not isinstance(item, bool)]
    if len(numbers) == len(present) and len(set(numbers)) > most:
        return _bins(values, np.array(numbers))
    texts = [None if item is None else _text(item) for item in values]
    counts = Counter(text for text in texts if text is not None)
    kept = sorted(counts, key=lambda text: (-counts[text], text))[:most]
    return _coded([NONE if text is None else text if text in kept else OTHER for text in texts], kept, [])


def _bins(values: Sequence[object], numbers: np.ndarray) -> Cut:
    inner = np.quantile(numbers, np.arange(1, BINS) / BINS, method="lower")
    edges = [float(edge) for edge in np.unique(inner) if edge < numbers.max()]
    names = [f"up to {edges[0]:.6g}"] if edges else []
    names += [f"over {low:.6g}, up to {high:.6g}" for low, high in pairwise(edges)]
    names += [f"over {edges[-1]:.6g}"] if edges else ["all numbers"]
    index = iter(np.searchsorted(edges, numbers, side="left"))
    return _coded([NONE if item is None else names[next(index)] for item in values], names, edges)


def _coded(texts: list[str], names: list[str], edges: list[float]) -> Cut:
    there = set(texts)
    names = [name for name in names if name in there] + [name for name in (OTHER, NONE) if name in there - set(names)]
    codes = {name: code for code, name in enumerate(names)}
    return Cut(names, np.array([codes[text] for text in texts], dtype=np.int64), edges)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:.6g}"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
