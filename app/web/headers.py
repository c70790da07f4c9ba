"""The headers that every answer has, and how an answered request is counted and noted: the same whichever server answers."""

import structlog

from app.foundation import metrics
from app.foundation.settings import Settings

HEADERS = {
    "Content-Security-Policy": "default-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # answers are about people, or hold secrets; files of the pages have a header of their own
}

log = structlog.get_logger()


def of_all(settings: Settings) -> dict[str, str]:
    """The headers of all answers of this installation."""
    hsts = settings.hsts_s if settings.public_url.startswith("https:") else 0
    return HEADERS | ({"Strict-Transport-Security": f"max-age={hsts}"} if hsts else {})


def note(settings: Settings, method: str, route: tuple[str, str | None], status: int, seconds: float) -> None:
    """Count an answered request, and log it if that is asked for.

    :param route: the endpoint, and its rule: the access log has the rule instead of the path, and no address, because both
        may be about a person.
    """
    endpoint, rule = route
    metrics.observe_request(endpoint, status, seconds)
    if settings.access_log:
        log.info("request", method=method, route=rule, status=status, seconds=round(seconds, 6))


def note_refused(settings: Settings, method: str, route: tuple[str, str | None], calls: int) -> None:
    """Count requests that were refused before anything was done for them; they have no time."""
    endpoint, rule = route
    metrics.count_refused(endpoint, calls)
    if settings.access_log:
        log.info("requests_refused", method=method, route=rule, status=503, calls=calls)
