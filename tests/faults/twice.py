"""The same command twice at once, in the same folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import Trial
from tests.faults.workshop import Work

REFUSED = ("is being computed by another process", "; wait for it, or give this one another --name")


def _two(work: Work, folder: Path) -> tuple[Trial, Trial, list[str]]:
    """Both, finished, and the paths that the Hub was asked for."""
    with workshop.hub() as server:
        first = workshop.trial(work, folder, server)
        second = workshop.trial(work, folder, server)
        for trial in (first, second):
            trial.start()
        for trial in (first, second):
            trial.finish()
        return first, second, server.fetched()


def _both(work: Work, may_lack: str = "\0") -> Callable[[Path, int], Outcome]:
    def strike(folder: Path, _n: int) -> Outcome:
        first, second, fetched = _two(work, folder)
        wrong = first.message(code=0) + second.message(code=0)
        wrong += [] if first.stdout == second.stdout else [f"{first.stdout!r}, {second.stdout!r}"]
        wrong += ["a shard was fetched twice"] if fetched.count(workshop.SHARD) > 1 else []
        wrong += workshop.unlike_whole(work, first, may_lack)
        return outcome("exit 0 and 0, one result", wrong)

    return strike


def compares(folder: Path, _n: int) -> Outcome:
    """The one that comes second is refused, or finds all done."""
    first, second, _ = _two(workshop.CHAIN, folder)
    refused = first if first.code else second
    finished = second if refused is first else first
    wrong = finished.message(code=0) + (refused.message(*REFUSED) if refused.code else [])
    again = finished.again().run()
    wrong += again.message(code=0) + workshop.unlike_whole(workshop.CHAIN, again)
    return outcome(
        f"exit {finished.code} and {refused.code}; one run, every answer once", wrong, message=refused.said()
    )


def other_names(folder: Path, _n: int) -> Outcome:
    """Two runs of the same files, which both pull, convert and quantize."""
    with workshop.hub() as server:
        trials = [workshop.trial(workshop.CHAIN, folder, server) for _ in "ab"]
        for trial, name in zip(trials, "ab", strict=True):
            trial.arguments = [*trial.arguments, "--name", name]
            trial.start()
        for trial in trials:
            trial.finish()
    wrong = [complaint for trial in trials for complaint in trial.message(code=0)]
    wrong += trials[0].unsound() + [f"left over: {name}" for name in trials[0].partials()]
    answers = "select document_id, output, score from answers a join contenders c on c.id = a.contender_id"
    one, other = (sorted(trials[0].asked(f"{answers} where c.asked and c.run_id = {run}")) for run in (1, 2))
    wrong += [] if one == other and len(one) == workshop.N_DOCUMENTS else [f"answers differ: {one}, {other}"]
    files = [name for name in trials[0].files() if name.endswith(".gguf")]
    wrong += [] if len(files) == 2 else [f"files: {files}"]
    return outcome("exit 0 and 0, two runs with the same answers, each file made once", wrong)


PROMISE = "one result, nothing is done to the other's half"
ROWS = (
    Fault("the same twice at once", "pull", PROMISE, _both(workshop.PULL)),
    Fault("the same twice at once", "convert", PROMISE, _both(workshop.CONVERT)),
    Fault("the same twice at once", "quantize", PROMISE, _both(workshop.QUANTIZE)),
    Fault("the same twice at once", "imatrix", PROMISE, _both(workshop.IMATRIX)),
    Fault("the same twice at once", "compare, all stages", PROMISE, compares),
    Fault("two comparisons at once", "compare, all stages, other names", PROMISE, other_names),
)
