"""Numpy's warnings are errors here, too."""

from tests.reporting.conftest import numpy_warnings_are_errors

__all__ = ["numpy_warnings_are_errors"]
