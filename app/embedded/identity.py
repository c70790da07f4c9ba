"""Choose the user that a server runs as. PostgreSQL refuses root, so root's servers run as `nobody` or in a user namespace.

This module never widens the permissions of other folders than those it is given, and never creates users.
"""

import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.embedded.errors import ServerError

_CLONE_NEWUSER = 0x10000000
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Identity:
    """A user for a child process."""

    user_id: int | None  # user to switch to; None: do not switch
    group_id: int | None  # group to switch to; None: do not switch
    namespace: bool  # True: stay root, but appear as `nobody` in a user namespace

    def popen_arguments(self) -> dict[str, Any]:
        """Return arguments for ``subprocess.Popen``; they take effect before ``enter``."""
        if self.user_id is None or self.namespace:
            return {}
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}

    def enter(self) -> None:
        """Enter the user namespace, if any. Call this in the child, between fork and exec."""
        if self.namespace:
            _enter_namespace(self.user_id or 65534, self.group_id or 65534)

    def own(self, path: Path) -> None:
        """Make this user the owner of a file or a whole folder. Only root has to do that."""
        if os.geteuid() != 0:
            return
        target = (0, 0) if self.user_id is None or self.namespace else (self.user_id, self.group_id or 0)
        if _owner(path) == target:
            return
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                os.lchown(os.path.join(folder, name), *target)
        os.lchown(path, *target)  # last, because the check above looks at the top folder only


def _owner(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_uid, status.st_gid


def ourselves() -> Identity:
    """Return the identity that changes nothing."""
    return Identity(None, None, False)


def choose(program: Path, folders: Sequence[Path]) -> Identity:
    """Return an identity that may run ``program`` and reach ``folders``, and is not root.

    For root this is `nobody`, or a user namespace if `nobody` cannot reach a folder (such as a checkout in /root).

    :raises ServerError: neither is possible.
    """
    if os.geteuid() != 0:
        return ourselves()
    nobody = pwd.getpwnam("nobody")
    plain = Identity(nobody.pw_uid, nobody.pw_gid, False)
    if _works(plain, program, folders):
        return plain
    namespace = Identity(nobody.pw_uid, nobody.pw_gid, True)
    if _LIBC is not None and _works(namespace, program, folders):
        return namespace
    paths = " and ".join(str(path) for path in (program, *folders))
    raise ServerError(
        f"PostgreSQL does not run as root, and the user `nobody` cannot reach {paths}. Run as an ordinary user, "
        "move the checkout and --data-dir out of folders closed to others, or set DATABASE_URL."
    )


def _works(identity: Identity, program: Path, folders: Sequence[Path]) -> bool:
    """Try it, because mode bits are not enough to know (ACLs, security modules, container profiles)."""

    def reach() -> None:
        identity.enter()
        for folder in folders:
            os.stat(folder / ".")

    try:
        result = subprocess.run(
            [program, "--version"],
            check=False,
            preexec_fn=reach,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            **identity.popen_arguments(),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return result.returncode == 0


def _enter_namespace(user_id: int, group_id: int) -> None:
    if _LIBC is None or _LIBC.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "this system does not allow user namespaces")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user_id} 0 1"), ("gid_map", f"{group_id} 0 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
