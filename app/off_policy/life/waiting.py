"""What a person asked of the worker is tried once; if it fails, the log and the person are told why."""

from collections.abc import Callable
from typing import Final

import structlog

from app.foundation.errors import LoopwiseError
from app.registry.signed_bytes import ModelRefused
from bandits.examples import TrainingDataError
from bandits.model_file import ModelError
from experiments.validation import DataError

OF_THE_DATA: Final = (DataError, LoopwiseError, ModelError, TrainingDataError, ModelRefused)

log = structlog.get_logger()


def tried(begin: Callable[[], bool], note: Callable[[str], None], failed: str, **whose: object) -> bool:
    """Try it. False: another process does, or it failed, which is noted, because it would fail again at every wake-up.

    :param note: stores what the person is shown.
    :param failed: the event that is logged, with ``whose``.
    """
    try:
        return begin()
    except OF_THE_DATA as error:
        problem = str(error)
        log.warning(failed, **whose, error=problem)
    except Exception:
        problem = "This is a fault of Loopwise; the worker's log says more."
        log.exception(failed, **whose)
    note(problem)
    return False
