"""A reader of standard output that leaves early, as `head` does."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import Trial

MANY = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 300000) select i, hex(i) from n"


def _piped(trial: Trial, reader: str) -> Trial:
    """`trial | reader`, finished; its exit code is that of the command."""
    trial.start()
    assert trial.process.stdout is not None
    with subprocess.Popen(shlex.split(reader), stdin=trial.process.stdout, stdout=subprocess.PIPE, text=True) as head:
        trial.process.stdout.close()  # the reader has it
        trial.stdout = head.stdout.read() if head.stdout else ""
    assert trial.process.stderr is not None
    trial.stderr = trial.process.stderr.read()
    trial.process.stderr.close()
    trial.process.wait(600)
    return trial


def _strike(reader: str, *more: str) -> Callable[[Path, int], Outcome]:
    def strike(folder: Path, _n: int) -> Outcome:
        trial = workshop.trial(workshop.ANSWER, folder)
        trial.arguments = [*trial.arguments, *more]
        found = _piped(trial, reader)
        wrong = found.message(code=0)
        wrong += [f"stderr: {found.stderr[-300:]}"] if "roken pipe" in found.stderr else []
        wrong += workshop.unlike_whole(workshop.ANSWER, found)
        return outcome("exit 0, nothing said; the run is whole", wrong)

    return strike


def _query(reader: str, *arguments: str) -> Callable[[Path, int], Outcome]:
    def strike(folder: Path, _n: int) -> Outcome:
        done = workshop.trial(workshop.ANSWER, folder).run()
        found = _piped(Trial(folder, arguments), reader)
        wrong = found.message(code=0) + ([f"stderr: {found.stderr[-300:]}"] if found.stderr else [])
        wrong += [] if len(found.stdout.splitlines()) == int(reader != "true") else [f"read: {found.stdout[:200]!r}"]
        wrong += workshop.unlike_whole(workshop.ANSWER, done)
        return outcome("exit 0, nothing said", wrong)

    return strike


PROMISE = "exit 0, not a word, nothing is lost"
ROWS = (
    Fault("stdout closed", "compare piped to head -1", PROMISE, _strike("head -1")),
    Fault("stdout closed", "compare piped to true", PROMISE, _strike("true")),
    Fault("stdout closed", "compare --json piped to head -1", PROMISE, _strike("head -1", "--json")),
    Fault("stdout closed", "compare --json piped to true", PROMISE, _strike("true", "--json")),
    Fault(
        "stdout closed",
        "query --csv piped to head -1, 300,000 rows",
        PROMISE,
        _query("head -1", "query", "--csv", MANY),
    ),
    Fault(
        "stdout closed", "query --nl piped to head -1, 300,000 rows", PROMISE, _query("head -1", "query", "--nl", MANY)
    ),
    Fault("stdout closed", "query piped to true, 300,000 rows", PROMISE, _query("true", "query", MANY)),
    Fault("stdout closed", "results export 1 piped to head -1", PROMISE, _query("head -1", "results", "export", "1")),
)
