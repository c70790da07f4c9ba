"""Secrets in files of mode 0600. Each is created once, and never logged."""

import os
import secrets
from pathlib import Path


def read_or_make(path: Path) -> str:
    """Return the secret in ``path``: 256 random bits as URL-safe text, created by the first call."""
    if not path.exists():
        write(path, secrets.token_urlsafe(32))
    return path.read_text(encoding="ascii").strip()


def write(path: Path, text: str) -> None:
    """Write a secret that only its owner can read. A crash leaves the old file or the new file, never a part."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
