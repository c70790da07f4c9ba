"""Log lines of every process: one JSON object each, without the values of local variables, which may be secrets."""

import logging
import sys

import orjson
import structlog


def configure(level: str) -> None:
    """Set up structlog and the standard library's logging for this process. ``level`` as LOOPWISE_LOG_LEVEL."""
    threshold = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _dumps(document: object, **_: object) -> str:
    return orjson.dumps(document, default=str).decode()
