"""The one error of the embedded servers. It must never carry a password."""


class ServerError(RuntimeError):
    """A server or a child process could not be started, stopped or found; the message says what to do."""
