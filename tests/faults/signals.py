"""SIGTERM and SIGHUP in every stage: nothing half-written stays, and the same command goes on."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

from tests import processes
from tests.faults import kills, workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.kills import Phase, struck
from tests.faults.trial import Trial

FAREWELL = "interrupted; run the same command again to go on"
KEPT = ("hf_home/", ".incomplete")
"""What came of a download stays for the next pull."""


def _signalled(number: signal.Signals, phase: Phase) -> Callable[[Path, int], Outcome]:
    def send(trial: Trial, _workers: list[int]) -> bool:
        trial.process.send_signal(number)
        return trial.process.wait() != 0

    def strike(folder: Path, _n: int) -> Outcome:
        trial, workers = struck(phase, folder, random.Random(f"{number} {phase.name}"), send)
        wrong = trial.message(FAREWELL, code=130)
        wrong += [f"{n} times said" for n in [trial.stderr.count(FAREWELL)] if n != 1]
        wrong += [f"left over: {name}" for name in trial.partials() if not all(part in name for part in KEPT)]
        wrong += [f"the child lives on: {pid}" for pid in workers if not processes.ends_within(pid, 5)]
        message = trial.said()
        with workshop.hub() as server:
            again = workshop.trial(phase.work, trial.folder, server).run()
        wrong += again.message(code=0) + workshop.unlike_whole(phase.work, again)
        return outcome("exit 130; the same command again goes on to the end", wrong, message=message)

    return strike


ROWS = tuple(
    Fault(number.name, f"while it {phase.name}", "exit 130, one line, a rerun goes on", _signalled(number, phase))
    for number in (signal.SIGTERM, signal.SIGHUP)
    for phase in kills.PARENT[1:]
)
