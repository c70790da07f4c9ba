"""`make mutants`: change the core line by line, and report each change that no test notices.

Each mutant (`tests.mutants.operators`) replaces its module in a process of its own, which runs the tests that
`tests.mutants.core` lists for it and stops at the first failure. Files are never changed. This process holds the foreign
libraries and none of our modules, so that a fork of it begins at once.

Arguments are paths of the core's files; without any, all are changed. Ends with 1 when a mutant survives.
"""

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flask_openapi  # noqa: F401 - loaded before the fork, as are those below
import hypothesis
import pandas  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import statsmodels.api  # noqa: F401
import vowpalwabbit  # noqa: F401

from tests.mutants.core import CORE, EQUIVALENT, Target
from tests.mutants.operators import Mutant, mutants

JOBS = int(os.environ.get("JOBS", "2"))
PATIENCE = 8  # times as long as the tests take without a change: then the mutant hangs, which a test would notice
SERVERS = """
import json, sys
from tests.conftest import Servers
servers = Servers()
print(json.dumps(servers.start()), flush=True)
sys.stdin.read()
servers.stop()
"""


class _Mutated(importlib.abc.MetaPathFinder, importlib.machinery.SourceFileLoader):
    """Gives one module another source."""

    def __init__(self, path: str, source: str) -> None:
        super().__init__(path.removesuffix(".py").replace("/", "."), path)
        self.source = source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:  # noqa: ARG002
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def get_code(self, fullname: str) -> Any:  # noqa: ARG002 - the names that the import system gives
        return compile(self.source, self.path, "exec", dont_inherit=True)


class _Addresses:
    """Tells the tests of a fork which servers are there, as xdist's controller tells its workers."""

    def __init__(self, servers: str) -> None:
        self.servers = servers

    def pytest_configure(self, config: Any) -> None:
        config.workerinput = {"loopwise_servers": self.servers, "workerid": f"gw{os.getpid()}"}


@contextmanager
def _servers() -> Iterator[str]:
    """The tests' servers, started by a process of their own: starting them takes our modules."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as p:
        assert p.stdin is not None and p.stdout is not None
        yield p.stdout.readline()
        p.stdin.close()


def _begin(target: Target, source: str, servers: str, patience_s: float) -> int:
    """Run a target's tests on another source, in a fork whose id is returned; it ends with 0 when they all pass."""
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(round(patience_s))
    quiet = os.open(os.environ.get("MUTANTS_LOG", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    sys.meta_path.insert(0, _Mutated(target.path, source))
    hypothesis.settings.register_profile(
        "mutants",
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        database=None,
        derandomize=True,
        deadline=None,
    )
    hypothesis.settings.load_profile("mutants")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception"]
    if not target.servers:
        options.append(f"--confcutdir={Path(target.tests[0]).parent}")
    os._exit(pytest.main([*options, *target.tests], plugins=[_Addresses(servers)]))


def _mutants_of(target: Target) -> list[Mutant]:
    source = Path(target.path).read_text(encoding="utf-8")
    made = list(mutants(source, target.only))
    for before, after in target.texts:
        assert source.count(before) == 1, f"{target.path} holds {source.count(before)} times {before!r}"
        made.append(Mutant(f"text: {after}", before, source.replace(before, after)))
    return made


def _survivors(target: Target, servers: str) -> Iterator[Mutant]:
    began = time.monotonic()
    _, status = os.waitpid(_begin(target, Path(target.path).read_text(encoding="utf-8"), servers, 300), 0)
    assert status == 0, f"the tests of {target.path} fail without any change"
    patience_s = 10 + PATIENCE * (time.monotonic() - began)
    running: dict[int, Mutant] = {}
    for mutant in _mutants_of(target):
        if len(running) == JOBS:
            yield from _ended(running)
        running[_begin(target, mutant.source, servers, patience_s)] = mutant
    while running:
        yield from _ended(running)


def _ended(running: dict[int, Mutant]) -> Iterator[Mutant]:
    """The next mutant whose tests ended, if they all passed."""
    pid, status = os.wait()
    mutant = running.pop(pid)
    if status == 0:
        yield mutant


def _check(target: Target, servers: str) -> int:
    """Try every mutant of a file and print what came out; returns how many deserve a look."""
    began = time.monotonic()
    known = EQUIVALENT.get(target.path, {})
    survived = set()
    for mutant in _survivors(target, servers):
        survived.add(mutant.name)
        if mutant.name not in known:
            print(f"  survives  {mutant.name}\n        was {mutant.before}", flush=True)
    stale = set(known) - survived
    for name in sorted(stale):
        print(f"  is no equivalent mutant any more  {name}")
    total, new, took_s = len(_mutants_of(target)), survived - set(known), time.monotonic() - began
    counts = f"{total} mutants, {len(survived & set(known))} equivalent, {len(new)} survive"
    print(f"{target.path}: {counts}, {took_s:.0f} s", flush=True)
    return len(new) + len(stale)


def main() -> int:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading every plugin takes longer than most of these tests
    gc.freeze()  # what is here already is no garbage of a fork's
    asked = [target for target in CORE if not sys.argv[1:] or target.path in sys.argv[1:]]
    with _servers() as servers:
        return int(sum([_check(target, servers) for target in asked]) > 0)


if __name__ == "__main__":
    sys.exit(main())
