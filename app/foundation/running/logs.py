"""Log lines of every process: one JSON object each, from our own code and from libraries alike.

Without the values of local variables, and without those messages of errors that repeat values: see ``log_errors``.
"""

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

from app.foundation.running import request_ids
from app.foundation.running.log_errors import show_errors, words_of
from app.foundation.running.log_sink import SINK

# Each wake-up of each task is a line or two in these, every few seconds and for ever; at the level debug they speak.
_TALKATIVE = ("celery.app.trace", "celery.worker.strategy", "celery.beat")
_GRANIAN = "_granian"

log = structlog.get_logger()


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging for this process. ``level`` as LOOPWISE_LOG_LEVEL."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[_add_ids, structlog.processors.add_log_level, *_shared()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_Direct,
        cache_logger_on_first_use=False,  # a test, or a role, configures after the first line
    )
    root = logging.getLogger()
    root.handlers[:] = [_Handler()]
    root.setLevel(threshold)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG if threshold <= logging.DEBUG else logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def of_granian() -> dict[str, Any]:
    """Granian's own configuration of logging: its lines go to our handler."""
    return {"handlers": {}, "formatters": {}, "loggers": {_GRANIAN: {"handlers": [], "propagate": True}}}


def _shared() -> list[structlog.typing.Processor]:
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), show_errors]


def _add_ids(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event.update(request_ids.current())
    return event


class _Direct:
    """What structlog writes to: the processors' last result goes to the sink as it is."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, **document: Any) -> None:
        SINK.write(document)

    debug = info = warning = error = critical = exception = log = msg


class _Handler(logging.Handler):
    """Lines of the standard library's loggers, which are our libraries'."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            SINK.write(self._document(record))
        except Exception as error:  # noqa: BLE001 - a line that cannot be formatted must not end the thread that logs it
            SINK.write({"event": "log_line_unreadable", "logger": record.name, "error": words_of(error)})

    def _document(self, record: logging.LogRecord) -> dict[str, Any]:
        if isinstance(record.args, dict) and record.exc_info and "exc" in record.args and record.exc_info[1]:
            # Celery repeats the error of a task in its message.
            record.args = {**record.args, "exc": words_of(record.exc_info[1])}
        document: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        document |= request_ids.current() | {"level": record.levelname.lower(), "exc_info": record.exc_info}
        for processor in _shared():
            document = processor(None, record.levelname.lower(), document)  # type: ignore[assignment]
        return document


def _uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    log.critical("uncaught", exc_info=error)


def _uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
    log.critical("thread_died", thread=given.thread.name if given.thread else "", exc_info=given.exc_value)
