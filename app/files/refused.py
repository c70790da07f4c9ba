"""The error for files that cannot be used."""

from app.foundation.errors import Unprocessable


class FileRefused(Unprocessable):
    """A file cannot be read or imported. One sentence says what is wrong, on which line, and what to do."""

    def __init__(self, sentence: str) -> None:
        super().__init__("file_refused", sentence)
