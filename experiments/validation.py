"""Checks of arrays, and a sentence for every problem.

Every public function of this package that takes raw arrays checks them here first, so a NaN propensity raises an error
and never becomes a NaN in a report. This module must never repair data silently: it returns the same numbers as
float64, or raises `DataError`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ArrayLike: TypeAlias = npt.ArrayLike

# Distributions come from float32 libraries, whose sums are off by up to 4e-6; more than this is a mistake.
DISTRIBUTION_TOLERANCE = 1e-5


class DataError(ValueError):
    """Input that cannot be evaluated. The message is a sentence: what is wrong, where, and what to do.

    `problem` and `fix` are clauses without a full stop; `row` is the 0-based index of the first offending row, or None
    when the problem is not in one row. A caller with a better location (a line of a file) builds its own sentence.
    """

    def __init__(self, problem: str, *, fix: str, row: int | None = None) -> None:
        self.problem = problem
        self.fix = fix
        self.row = row
        super().__init__(self.sentence(None if row is None else f"at row {row} (counting from 0)"))

    def sentence(self, location: str | None) -> str:
        """The full sentence with `location` (such as "on line 7"); None leaves it out."""
        where = "" if location is None else f" {location}"
        return f"{self.problem}{where}: {self.fix}."


def vector(name: str, values: ArrayLike, *, minimum_length: int = 1) -> FloatArray:
    """`values` as a one-dimensional float64 array without NaN or infinity."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} holds something that is not a number", fix="pass numbers only") from error
    if array.ndim != 1:
        raise DataError(f"{name} has {array.ndim} dimensions", fix="pass one number per row")
    if array.size < minimum_length:
        raise DataError(f"{name} has {array.size} rows", fix=f"at least {minimum_length} are needed")
    finite = np.isfinite(array)
    refuse_first(~finite, array, f"{name} is {{value}}", "drop the row or repair the value; it must be a finite number")
    return array


def refuse_first(bad: BoolArray, values: FloatArray, problem: str, fix: str) -> None:
    """Raises for the first row where `bad` holds; `{value}` in `problem` becomes the value of that row."""
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(problem.format(value=f"{values[row]:.6g}"), fix=fix, row=row)


def propensities(name: str, values: ArrayLike) -> FloatArray:
    """Logged probabilities of chosen actions: each in (0, 1]."""
    array = vector(name, values)
    fix = "a chosen action had a probability above 0 and at most 1; find out why the log says otherwise"
    refuse_first((array <= 0) | (array > 1), array, f"{name} is {{value}}", fix)
    return array


def probabilities(name: str, values: ArrayLike) -> FloatArray:
    """Probabilities: each in [0, 1]."""
    array = vector(name, values)
    refuse_first((array < 0) | (array > 1), array, f"{name} is {{value}}", "a probability lies between 0 and 1")
    return array


def rewards(name: str, values: ArrayLike, low: float, high: float) -> FloatArray:
    """Rewards inside their declared range [low, high]."""
    array = vector(name, values)
    fix = f"the declared range is {low:g} to {high:g}; declare a wider range or repair the reward"
    refuse_first((array < low) | (array > high), array, f"{name} is {{value}}", fix)
    return array


def same_length(**arrays: FloatArray | IntArray | None) -> int:
    """The length of all arrays that are not None; raises when they differ."""
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"columns have different lengths ({listed})", fix="pass one value of each column per row")
    return next(iter(lengths.values()))


def matrix(name: str, values: ArrayLike, columns: int | None = None) -> FloatArray:
    """`values` as a finite float64 array of shape (rows, columns)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.size == 0 or (columns is not None and array.shape[1] != columns):
        wanted = "(rows, actions)" if columns is None else f"(rows, {columns})"
        raise DataError(f"{name} has shape {array.shape}", fix=f"pass an array of shape {wanted}")
    bad = np.asarray(~np.isfinite(array).all(axis=1))
    refuse_first(bad, array.sum(axis=1), f"{name} holds {{value}}", "every entry must be a finite number")
    return array


def distributions(name: str, values: ArrayLike, columns: int | None = None) -> FloatArray:
    """Rows of probabilities over an action set: each entry in [0, 1], each row summing to 1 within 1e-5."""
    array = matrix(name, values, columns)
    outside = np.asarray(((array < 0) | (array > 1)).any(axis=1))
    refuse_first(outside, array.min(axis=1), f"{name} holds a probability of {{value}}", "each lies between 0 and 1")
    sums = array.sum(axis=1)
    fix = "probabilities over one action set must sum to 1; pass every eligible action"
    refuse_first(np.abs(sums - 1) > DISTRIBUTION_TOLERANCE, sums, f"{name} sums to {{value}}", fix)
    return array


def codes(name: str, values: ArrayLike, upper: int) -> IntArray:
    """Integer codes in 0..upper-1, such as chosen action indexes."""
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"{name} has shape {array.shape}", fix="pass one integer per row")
    if array.dtype.kind not in "biuf":
        fix = "pass whole numbers from 0, or use experiments.frames, which takes labels"
        raise DataError(f"{name} holds labels and not codes", fix=fix)
    whole = vector(name, array)
    bad = (whole != np.floor(whole)) | (whole < 0) | (whole >= upper)
    refuse_first(bad, whole, f"{name} is {{value}}", f"it must be a whole number from 0 to {upper - 1}")
    return whole.astype(np.int64)


def counts(values: ArrayLike, rows: int) -> FloatArray:
    """How many decisions each row stands for, shape (rows,): finite numbers above 0."""
    found = vector("count", values)
    if len(found) != rows:
        raise DataError("count has another length than the rewards", fix="pass one number per row")
    refuse_first(found <= 0, found, "count is {value}", "it must be above 0: leave out rows that count as none")
    return found


def fraction(name: str, value: float) -> float:
    """A number strictly between 0 and 1, such as alpha."""
    if not 0 < value < 1:
        raise DataError(f"{name} is {value}", fix="it must lie strictly between 0 and 1")
    return float(value)


def positive(name: str, value: float) -> float:
    """A finite number above 0."""
    if not (np.isfinite(value) and value > 0):
        raise DataError(f"{name} is {value}", fix="it must be a finite number above 0")
    return float(value)


def value_range(low: float, high: float) -> tuple[float, float]:
    """A declared range of rewards with low < high, both finite."""
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise DataError(f"the reward range is {low} to {high}", fix="give two finite numbers, the lower one first")
    return float(low), float(high)
