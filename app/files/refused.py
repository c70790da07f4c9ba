"""The error of every file that is read."""

from app.foundation.errors import Unprocessable


class FileRefused(Unprocessable):
    """A file that cannot be read or imported: one sentence that says what is wrong, on which line, and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__("file_refused", sentence)
