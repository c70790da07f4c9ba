"""One run of one row: load, the fault, recovery, the comparison of ledger and log."""

import threading
import time
from typing import Final

from tests.faults.rows import Row
from tests.faults.stage import SOON_S, THREADS, Ledger, Stage, Told, make_experiment
from tests.service import wait_for

BEFORE: Final = 40  # decisions that are acknowledged before the fault, and again after it


def one_run(stage: Stage, row: Row, key: str) -> Told:
    """Do the fault once to an installation under load.

    :param key: of a new experiment.
    """
    make_experiment(stage, key)
    ledger, stop = Ledger(), threading.Event()
    said = stage.up.output()
    threads = [threading.Thread(target=_load, args=(stage, ledger, stop, number)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(ledger.decided) > BEFORE, SOON_S, "load")
        row.inflict(stage)
        began = time.monotonic()
        wait_for(stage.answers, SOON_S, "recovery")
        recovery_s = time.monotonic() - began
        after = len(ledger.decided)
        wait_for(lambda: len(ledger.decided) > after + BEFORE, SOON_S, "load after the fault")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    silence_s = ledger.silence_s
    lost = stage.compare(ledger)
    lines = stage.up.output().removeprefix(said).splitlines()
    return Told(len(ledger.decided), lost, recovery_s, dict(ledger.statuses), silence_s, ledger.longest_s, lines)


def _load(stage: Stage, ledger: Ledger, stop: threading.Event, number: int) -> None:
    turn = 0
    while not stop.is_set():
        turn += 1
        stage.ask(ledger, f"{stage.key}-{number}-{turn}")
        time.sleep(0.01)
