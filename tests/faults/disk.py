"""A small disk that is full: before it begins, and while it is at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.disks import fill, small_disk
from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.workshop import Work

MIB = 2**20
UNAWARE = "from gguf_bench import paths\npaths.require_room = paths.require_free_space = lambda *_: None"
"""The room that was there when it looked is gone when it writes."""


@dataclass(frozen=True)
class Full:
    """`work` in a folder on a disk with so much room; then again with room for all.

    `looks`: it sees that before. `kept`: parts of the names of what may stay for the next time.
    """

    work: Work
    room_bytes: int
    says: tuple[str, ...]
    before: str = ""
    code: int = 1
    kept: tuple[str, ...] = ("\0",)
    size_bytes: int = 400 * MIB

    def strike(self, _folder: Path, _n: int) -> Outcome:
        workshop.whole(self.work)
        with small_disk(self.size_bytes) as disk, workshop.hub() as server:
            folder = disk / "here"
            trial = workshop.trial(self.work, folder, server)
            trial.before = self.before
            (folder / "tmpdir").mkdir(exist_ok=True)
            filler = fill(disk, self.room_bytes)
            trial.run()
            wrong = trial.message(*self.says, code=self.code)
            wrong += [f"left over: {name}" for name in trial.partials() if not all(part in name for part in self.kept)]
            filler.unlink()
            again = trial.again().run()
            wrong += again.message(code=0) + workshop.unlike_whole(self.work, again, "calibration/")
            return outcome(f"exit {self.code}; with room again the same command finishes", wrong, message=trial.said())


def _row(where: str, full: Full) -> Fault:
    strike: Callable[[Path, int], Outcome] = full.strike
    return Fault("full disk", where, "one line, nothing half-written stays, with room again all goes on", strike)


PARTIAL_PULL = ("hf_home/", ".incomplete")
ROOM = ("; free some space, or point",)
FULL = ("No space left", *ROOM)
ROWS = (
    _row("pull, before it begins", Full(workshop.PULL, 20 * MIB, ("pulling acme/cut needs", *ROOM))),
    _row(
        "pull, in the middle of a shard",
        Full(workshop.PULL, 20 * MIB, ("the disk of the Hub cache", "is full", *ROOM), UNAWARE, kept=PARTIAL_PULL),
    ),
    _row("convert", Full(workshop.CONVERT, 20 * MIB, FULL)),
    _row("convert, no room at all", Full(workshop.CONVERT, 600 * 1024, FULL)),
    _row("quantize, before it begins", Full(workshop.QUANTIZE, 10 * MIB, ("Q8_0 needs", *ROOM))),
    _row(
        "quantize, in the middle of the file",
        Full(workshop.QUANTIZE, 10 * MIB, ("cannot be written to its end", "on its disk", *ROOM), UNAWARE),
    ),
    _row("imatrix, writing it", Full(workshop.IMATRIX, 700 * 1024, FULL)),
    _row(
        "compare, all stages, before it begins",
        Full(workshop.CHAIN, 20 * MIB, ("failed: pulling acme/cut needs", *ROOM), code=3),
    ),
    _row("compare, making the store", Full(workshop.CALIBRATE, 0, ("database or disk is full", "; free some space"))),
)
