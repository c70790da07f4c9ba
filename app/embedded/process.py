"""Child processes that end with this process: start, wait, stop, ports, logs, and locks that a child holds.

This module does not depend on the programs that it starts. It never waits without a deadline. Use it from the main thread
only, because Linux sends the parent-death signal when the *thread* that forked ends.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from app.embedded.errors import ServerError
from app.embedded.identity import Identity, ourselves

_PR_SET_PDEATHSIG = 1
LOG_BYTES = 10_000_000  # a larger log is emptied; its lines are kept once
# Loaded before any fork: a child between fork and exec must not run the dynamic loader.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when its parent ends, however it ends. Does nothing outside Linux."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def spawn(  # noqa: PLR0913 - the parameters of subprocess.Popen that we use, and two of ours
    argv: Sequence[str | os.PathLike[str]],
    *,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    identity: Identity | None = None,
    death_signal: int = signal.SIGKILL,
    stdin: int = subprocess.DEVNULL,
    keep_fds: Sequence[int] = (),
    cwd: str | os.PathLike[str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a child in a session of its own, so that a terminal's Ctrl-C reaches only us.

    :param log: the file for both output streams; None: the streams of this process.
    :param identity: the user of the child; None: the user of this process.
    :param keep_fds: descriptors that the child inherits, such as a lock that must last as long as the child.
    :raises ServerError: the program cannot be executed.
    """
    identity = identity or ourselves()
    output = open_log(log) if log else None
    try:
        return subprocess.Popen(
            [os.fspath(part) for part in argv],
            stdin=stdin,
            stdout=output,
            stderr=output,
            env=dict(environment) if environment is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_before_exec(identity, death_signal),
            pass_fds=keep_fds,
            **identity.popen_arguments(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(f"cannot start {os.fspath(argv[0])}: {error}") from error
    finally:
        if output is not None:
            os.close(output)


def _before_exec(identity: Identity, death_signal: int) -> Callable[[], None]:
    """Return a function that a child runs before its program: switch to its user, and end with this process."""
    parent = os.getpid()

    def prepare() -> None:
        identity.enter()  # first, because a change of user clears the death signal
        die_with_parent(death_signal)
        if os.getppid() != parent and sys.platform == "linux":
            os._exit(1)  # the parent ended before the death signal was set

    return prepare


def rotate(path: Path) -> None:
    """Keep the lines of a long log in ``.1``, and empty it. Its writers append and never notice. On a full disk the lines go."""
    if not path.exists() or path.stat().st_size <= LOG_BYTES:
        return
    old = path.with_suffix(path.suffix + ".1")
    old.unlink(missing_ok=True)
    try:
        with open(os.open(old, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept, path.open("rb") as lines:
            shutil.copyfileobj(lines, kept)
    except OSError:
        old.unlink(missing_ok=True)
    os.truncate(path, 0)


def open_log(path: Path) -> int:
    """Open a log for appending (mode 0600) and return the descriptor."""
    rotate(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def log_tail(path: Path, lines: int = 20) -> str:
    """Return the last lines of a log, indented for a message."""
    if not path.exists():
        return f"(no log at {path})"
    text = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in text) or f"({path} is empty)"


def stop(process: "subprocess.Popen[bytes]", signal_number: int, deadline_s: float) -> int:
    """Signal a child, wait, then kill it and the rest of its own children. Returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal_number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(deadline_s)
    if process.poll() is None:
        kill_tree(process.pid)
    kill_group(process.pid)
    return process.wait(5)


def kill_group(pid: int) -> None:
    """Kill all remaining processes of a child's session, if any."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def kill(pid: int, number: int) -> None:
    """Signal a process, if it still runs."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def stopped(pid: int) -> list[int]:
    """Return those of a process and its descendants that are stopped (SIGSTOP), on systems with /proc."""
    frozen = []
    for candidate in (pid, *_descendants(pid)):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{candidate}/stat").read_text(encoding="utf-8", errors="replace")
            if stat.rpartition(")")[2].split()[0] == "T":
                frozen.append(candidate)
    return frozen


def kill_tree(pid: int) -> None:
    """Kill a child and its descendants. PostgreSQL's processes have a session each, and stopped ones obey only SIGKILL."""
    for descendant in [*_descendants(pid), pid]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(descendant, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Return all descendants of a process, on systems with /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for parent in family:  # the list grows during the loop
        family += [child for child, its_parent in parents.items() if its_parent == parent]
    return family[1:]


def wait_until(ready: Callable[[], bool], deadline_s: float, interval_s: float = 0.01) -> bool:
    """Poll until ``ready()``; returns False if the deadline passes first."""
    end = time.monotonic() + deadline_s
    while not ready():
        if time.monotonic() >= end:
            return False
        time.sleep(interval_s)
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port that was free a moment ago."""
    with _bound(host, 0) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def claimed_port(host: str, port: int) -> Iterator[None]:
    """Keep a port from other servers of Loopwise for the duration of a block, and make sure that nobody has it now.

    The web server's sockets share their port, so without this two servers on one port would answer in turn.

    :raises ServerError: the port is taken, or this host has none to listen on.
    """
    with socket.socket(socket.AF_UNIX) as claim:
        if (
            sys.platform == "linux"
        ):  # an abstract name: it is gone with its process, and belongs to a network as ports do
            try:
                claim.bind(f"\0loopwise web {host} {port}")
            except OSError:
                raise _taken(host, port) from None
        check_port(host, port)
        yield


def check_port(host: str, port: int) -> None:
    """Make sure that this process could listen on the port now.

    :raises ServerError: it could not; the error is one sentence that says what to change.
    """
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(host, port) from None
        raise ServerError(
            f"nobody can listen on port {port} of {host} here ({error.strerror}); choose others with --host and --port."
        ) from None


def _taken(host: str, port: int) -> ServerError:
    return ServerError(f"port {port} of {host} is in use; choose another one with --port.")


def _bound(host: str, port: int) -> socket.socket:
    probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
    except OSError:
        probe.close()
        raise
    return probe


def lock_file(path: Path, deadline_s: float = 0.0) -> int | None:
    """Take an exclusive lock and return its descriptor, or None if another process has the lock.

    The lock ends when the last process with the descriptor ends or closes it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    if wait_until(taken, deadline_s, 0.05):
        return descriptor
    os.close(descriptor)
    return None


@contextlib.contextmanager
def held_for_child(path: Path, what: str, deadline_s: float = 10.0) -> Iterator[int]:
    """Lock ``path`` for a child that inherits the descriptor, so that the lock lasts exactly as long as the child.

    A start waits for a server that is still stopping, and a second server on the same files is refused.

    :param what: the name of the server, for the error.
    :raises ServerError: another process has the lock past the deadline.
    """
    descriptor = lock_file(path, deadline_s)
    if descriptor is None:
        raise ServerError(f"{what} is still running on {path.parent}; stop that process first.")
    try:
        yield descriptor
    finally:
        os.close(descriptor)
