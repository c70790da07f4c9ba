"""Makes the front of one process, with Flask behind it."""

from app.foundation.settings import Settings
from app.web.app import create_app
from app.web.front.front import Front


def create_front(settings: Settings | None = None) -> Front:
    """The RSGI application of one process, with its runtime started.

    :param settings: from the environment when not given.
    """
    app = create_app(settings)
    return Front(app, app.extensions["loopwise"])
