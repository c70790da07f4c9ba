"""Flask alone, as any WSGI server runs it, without the event loop in front: python -m tests.flask_server --port PORT"""

import sys

from app.commands.roles import run_web
from app.foundation.settings import from_environment

if __name__ == "__main__":
    run_web(from_environment(), "127.0.0.1", int(sys.argv[2]), "app.web.app:create_app", wsgi=True)
