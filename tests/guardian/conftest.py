"""Numpy's warnings are errors: a warning that reaches a user is a defect."""

import warnings
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def numpy_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield
