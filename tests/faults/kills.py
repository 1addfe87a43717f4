"""`kill -9` of the parent and of the child from random moments of every stage on, and then the same command again."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests import processes
from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import Trial, plain
from tests.faults.workshop import Work

SEED = 8
ATTEMPTS = 5
"""At a moment that may be over before it is struck."""


@dataclass(frozen=True)
class Phase:
    """A stage in which a work is struck: from when `moment` is true on, up to `seconds` later."""

    name: str
    work: Work
    moment: Callable[[Trial], object]
    seconds: float
    codes: tuple[int, ...] = (1, 3)
    """How the command may end whose child is killed."""
    may_lack: str = "\0"
    """Part of the names of files that need not be there after the second run."""


def begun(trial: Trial) -> bool:
    """The interpreter has started it."""
    return processes.has_in_memory(trial.process.pid, "libpython") or processes.has_in_memory(
        trial.process.pid, "python3"
    )


def pulling(trial: Trial) -> bool:
    return any(path.stat().st_size > 2**20 for path in _there(trial.folder / "hf_home", "*.incomplete"))


def writing(trial: Trial) -> bool:
    """A file is being converted or quantized."""
    return any(path.stat().st_size for path in _there(trial.folder / "xdg_cache_home", "*.partial"))


def quantizing(trial: Trial) -> list[int]:
    return trial.workers() if writing(trial) else []


def calibrating(trial: Trial) -> list[int]:
    """A child has the model, and there is no contender yet."""
    return [] if trial.contenders() else [pid for pid in trial.workers() if processes.has_in_memory(pid, ".gguf")]


def loading(trial: Trial) -> list[int]:
    rows = trial.contenders()
    return trial.workers() if rows and rows[0]["status"] == "running" else []


def answering(trial: Trial) -> list[int]:
    rows = trial.contenders()
    return trial.workers() if rows and rows[0]["load_seconds"] is not None else []


def looking(trial: Trial) -> list[int]:
    """The first child: what this build of llama.cpp is."""
    return trial.workers()


def _there(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.rglob(pattern) if path.exists()] if folder.exists() else []


PARENT = (
    Phase("starts", workshop.CHAIN, begun, 1.5),
    Phase("pulls", workshop.PULL, pulling, 0.5),
    Phase("converts", workshop.CONVERT, writing, 0.5),
    Phase("quantizes", workshop.QUANTIZE, quantizing, 0.5),
    Phase("calibrates", workshop.CALIBRATE, calibrating, 1.0),
    Phase("loads the model", workshop.ANSWER, loading, 0.3),
    Phase("answers", workshop.AGAIN, answering, 2.0),
)
CHILD = (
    Phase("looks for devices", workshop.ANSWER, looking, 0.3),
    Phase("quantizes", workshop.QUANTIZE, quantizing, 0.5),
    Phase("calibrates", workshop.CALIBRATE, calibrating, 1.0, (0,), "calibration/"),
    Phase("loads the model", workshop.ANSWER, loading, 0.3),
    Phase("answers", workshop.AGAIN, answering, 2.0),
)
"""When each is struck. Writes of the store are in `tests.faults.store`."""


Strike = Callable[[Trial, list[int]], bool]
"""Does it to a trial and its children; whether it could."""


def struck(phase: Phase, folder: Path, rng: random.Random, strike: Strike) -> tuple[Trial, list[int]]:
    """A trial that was struck, finished, and its children then. It is begun anew where it was through before."""
    for attempt in range(ATTEMPTS):
        with workshop.hub() as server:
            trial = workshop.trial(phase.work, folder / str(attempt), server).start()
            trial.wait_for(phase.moment)
            time.sleep(rng.uniform(0, phase.seconds / (attempt + 1)))
            workers = trial.workers()
            could = trial.process.poll() is None and strike(trial, workers)
            trial.finish()
        if could:
            return trial, workers
    raise RuntimeError(f"it was through before, {ATTEMPTS} times")


def kill_parent(trial: Trial, _workers: list[int]) -> bool:
    trial.process.send_signal(signal.SIGKILL)
    return trial.process.wait() == -signal.SIGKILL


def kill_child(moment: Callable[[Trial], Any], trial: Trial, _workers: list[int]) -> bool:
    """Only while it is the moment still: the child of the next stage may end the command otherwise."""
    workers: list[int] = moment(trial)
    for worker in workers[:1]:
        os.kill(worker, signal.SIGKILL)
    return bool(workers)


def _kills(phase: Phase, whom: str) -> Callable[[Path, int], Outcome]:
    def trials(folder: Path, n: int) -> Outcome:
        rng = random.Random(f"{SEED} {whom} {phase.name}")
        strike = kill_parent if whom == "parent" else partial(kill_child, phase.moment)
        wrong: list[str] = []
        codes: Counter[int] = Counter()
        message = ""
        for number in range(n):
            place = folder / str(number)
            trial, workers = struck(phase, place, rng, strike)
            codes[trial.code] += 1
            if whom == "child":
                wrong += trial.message(code=trial.code) if trial.code in phase.codes else [f"exit {trial.code}"]
                message = message or _stored(trial) or trial.said()
            if not all(processes.ends_within(worker, 10) for worker in workers):
                wrong.append(f"the child outlived its parent: {workers}")
            with workshop.hub() as server:
                again = workshop.trial(phase.work, trial.folder, server).run()
            wrong += again.message(code=0) + workshop.unlike_whole(phase.work, again, phase.may_lack)
        exits = ", ".join(f"exit {code} × {count}" for code, count in codes.items())
        came = f"{exits}; every rerun ends as if nothing had been"
        return outcome(came, wrong, n=n, message=message)

    return trials


def _stored(trial: Trial) -> str:
    """The reason that the store has."""
    return next((plain(str(row["error"])) for row in trial.contenders() if row["error"]), "")


PROMISE = "the same command again ends as an uninterrupted run; nothing is left over, nothing lives on"
ROWS = tuple(
    Fault(f"kill -9 of the {whom}", f"while it {phase.name}", PROMISE, _kills(phase, whom), share)
    for whom, phases, share in (("parent", PARENT, 1 / 8), ("child", CHILD, 1 / 5))
    for phase in phases
)
