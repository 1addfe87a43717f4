"""A store that another process is writing, for longer than any of ours ever would."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.kills import answering
from tests.faults.trial import Trial

HELD_SECONDS = 30.0
HASTY = "from gguf_bench import store\nstore.BUSY_SECONDS = 5"


class Writer:
    """Another process's transaction: it holds the lock until `let_go`, or for `seconds`."""

    def __init__(self, database: Path, seconds: float) -> None:
        self.held, self.release, self.seconds = threading.Event(), threading.Event(), seconds
        self._thread = threading.Thread(target=self._hold, args=(database,))
        self._thread.start()
        self.held.wait(60)

    def _hold(self, database: Path) -> None:
        with closing(sqlite3.connect(database, timeout=60)) as connection:
            connection.execute("begin immediate")
            self.held.set()
            self.release.wait(self.seconds)
            connection.rollback()

    def let_go(self) -> None:
        self.release.set()
        self._thread.join()


def _with_a_store(folder: Path) -> Trial:
    """Something that has a run in its store, and another one to come in the same."""
    first = workshop.trial(workshop.ANSWER, folder).run()
    following = first.again()
    following.arguments = [*first.arguments, "--name", "second"]
    return following


def _whole_second(folder: Path) -> Trial:
    return _with_a_store(folder / "whole").run()


def held(folder: Path, _n: int, seconds: float = HELD_SECONDS) -> Outcome:
    """From before it begins, on; readers meanwhile."""
    trial = _with_a_store(folder / "locked")
    writer = Writer(trial.database, seconds)
    began = time.monotonic()
    trial.start()
    reader = Trial(trial.folder, ["results", "list"]).run()
    held_up = time.monotonic() - began < seconds and trial.process.poll() is None
    trial.finish()
    waited = time.monotonic() - began
    writer.let_go()
    wrong = trial.message(code=0) + reader.message(code=0) + trial.unlike(_whole_second(folder))
    wrong += [] if held_up and waited >= seconds else ["it did not wait"]
    return outcome(f"it waits and goes on after {seconds:.0f} s; `results list` meanwhile as ever", wrong)


def held_midway(folder: Path, _n: int, seconds: float = HELD_SECONDS) -> Outcome:
    trial = _with_a_store(folder / "locked").start()
    trial.wait_for(answering)
    writer = Writer(trial.database, seconds)
    began = time.monotonic()
    trial.finish()
    waited = time.monotonic() - began
    writer.let_go()
    wrong = trial.message(code=0) + trial.unlike(_whole_second(folder))
    return outcome(f"it waits and goes on after {waited:.0f} s", wrong)


def held_too_long(folder: Path, _n: int) -> Outcome:
    """With patience cut from 60 s to 5 s."""
    trial = _with_a_store(folder / "locked")
    trial.before = HASTY
    writer = Writer(trial.database, 600)
    trial.run()
    writer.let_go()
    wrong = trial.message("database is locked", "; another process is writing it, wait for that one to finish")
    again = trial.again().run()
    wrong += again.message(code=0) + again.unlike(_whole_second(folder))
    return outcome("exit 1; the same command again finishes", wrong, message=trial.said())


PROMISE = "it waits and goes on, or says so in one line"
ROWS = (
    Fault("store locked by another process", "compare, for 30 s from its start on", PROMISE, held),
    Fault("store locked by another process", "compare, for 30 s while it answers", PROMISE, held_midway),
    Fault("store locked by another process", "compare, without end", PROMISE, held_too_long),
)
