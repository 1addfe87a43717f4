"""Files that a disk, or another program, has cut short or damaged since they were written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import plain
from tests.faults.workshop import Work


@dataclass(frozen=True)
class Damage:
    """`how` is done to the file named by `pattern` that a work left; then it is tried again.

    By itself that either mends it, or says so in one line that `says` how to: then the file is removed.
    """

    work: Work
    pattern: str
    how: Callable[[Path], object]
    says: tuple[str, ...] = ()

    def strike(self, folder: Path, _n: int) -> Outcome:
        with workshop.hub() as server:
            done = workshop.trial(self.work, folder, server).run()
            (path,) = [path for path in folder.rglob(self.pattern) if path.suffix != ".lock"]
            real = path.resolve()
            content = real.read_bytes()
            real.unlink()  # it may be shared by a link
            real.write_bytes(content)
            self.how(real)
            again = done.again().run()
            wrong = again.message(*self.says, code=1 if self.says else 0)
            message = next((plain(line) for line in again.stderr.splitlines() if "damaged" in line), again.said())
            if self.says:
                real.unlink(missing_ok=True)
                again = done.again().run()
                wrong += again.message(code=0)
            wrong += workshop.unlike_whole(self.work, again)
        came = "exit 1; removed as it says, all is made again" if self.says else "noticed, and made again"
        return outcome(came, wrong, message=message)


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    """Other bytes, as many."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 512)


PROMISE = "made again, or one line that says what to do"
ROWS = (
    Fault("truncated cache file", "a shard", PROMISE, Damage(workshop.PULL, workshop.SHARD, truncate).strike),
    Fault("damaged cache file", "a shard", PROMISE, Damage(workshop.PULL, workshop.SHARD, scribble).strike),
    Fault("truncated cache file", "config.json", PROMISE, Damage(workshop.CONVERT, "config.json", truncate).strike),
    Fault(
        "truncated cache file", "the converted GGUF", PROMISE, Damage(workshop.QUANTIZE, "*-BF16.gguf", truncate).strike
    ),
    Fault(
        "truncated cache file", "the quantized GGUF", PROMISE, Damage(workshop.CHAIN, "*-Q8_0.gguf", truncate).strike
    ),
    Fault(
        "truncated cache file",
        "what was measured of the machine",
        PROMISE,
        Damage(workshop.CALIBRATE, "calibration/*.json", truncate).strike,
    ),
    Fault(
        "emptied cache file",
        "what was measured of the machine",
        PROMISE,
        Damage(workshop.CALIBRATE, "calibration/*.json", empty).strike,
    ),
)
