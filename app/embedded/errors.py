"""The error of the embedded servers. Its message must never contain a password."""


class ServerError(RuntimeError):
    """A server or a child process could not be started, stopped or found; the message says what to do."""
