"""A clock that somebody sets while a command is at work: a day forward, ten years back.

A small library is preloaded that moves the time of day, and that alone, for the parent and its children.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.disks import NotHere
from tests.faults import kills, workshop
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import Trial
from tests.faults.workshop import SHARD, Work

DAY, YEARS = 86_400, 10 * 365 * 86_400
DURATIONS = """
    select * from (
        select 'contenders' as place, min(load_seconds) as least, max(load_seconds) as most from contenders
        union all select 'wall', min(wall_seconds), max(wall_seconds) from contenders
        union all select 'speed', min(prompt_tokens_per_second), 0 from contenders
        union all select 'generation', min(generation_tokens_per_second), 0 from contenders
        union all select 'documents', min(documents_per_minute), 0 from eps_scores
        union all select 'answers', min(seconds), max(seconds) from answers
    ) where least < 0 or most > 3600
"""


def _library(folder: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotHere("there is no C compiler")
    path = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    built = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], capture_output=True)
    if built.returncode:
        raise NotHere(f"it cannot be built: {built.stderr.decode()[:300]}")
    return path


@dataclass(frozen=True)
class Jump:
    """The clock is set by `seconds` when `moment` of `work` has come."""

    work: Work
    moment: Callable[[Trial], object]
    seconds: int

    def strike(self, folder: Path, _n: int) -> Outcome:
        workshop.whole(self.work)
        offset = folder / "offset"
        offset.write_text("0")
        library = _library(folder)
        with workshop.hub() as server:
            trial = workshop.trial(self.work, folder / "here", server)
            trial.environment = {**trial.environment, "LD_PRELOAD": str(library), "CLOCK_JUMP": str(offset)}
            if self.work is workshop.PULL:
                server.cut(SHARD, 5_678_901)
            trial.start()
            trial.wait_for(self.moment)
            offset.write_text(str(self.seconds))
            trial.finish()
            wrong = trial.message(code=0)
            wrong += workshop.unlike_whole(self.work, trial)
            wrong += [f"durations: {rows}" for rows in [trial.asked(DURATIONS)] if rows]
            if trial.asked("select 1 from runs"):
                for reader in (
                    ["results", "show", "1", "--json"],
                    ["results", "list"],
                    ["report", "1", "-o", "r.html"],
                ):
                    wrong += Trial(trial.folder, reader, environment=trial.environment).run().message(code=0)
                (trial.folder / "r.html").unlink(missing_ok=True)
                shown = json.loads(Trial(trial.folder, ["results", "list", "--json"]).run().stdout)
                wrong += [] if [run["status"] for run in shown] == ["finished"] else [f"runs: {shown}"]
            again = trial.again().run()
            wrong += again.message(code=0) + workshop.unlike_whole(self.work, again)
        return outcome("goes on; no duration is negative or hours; the same again has nothing to do", wrong)


PLACES = (
    ("pull, in the middle of a shard", workshop.PULL, kills.pulling),
    ("convert", workshop.CONVERT, kills.writing),
    ("quantize", workshop.QUANTIZE, kills.quantizing),
    ("compare, calibrating", workshop.CALIBRATE, kills.calibrating),
    ("compare, loading", workshop.ANSWER, kills.loading),
    ("compare, answering", workshop.AGAIN, kills.answering),
)
ROWS = tuple(
    Fault(f"clock set {name}", where, "nothing notices", Jump(work, moment, seconds).strike)
    for where, work, moment in PLACES
    for name, seconds in (("a day forward", DAY), ("ten years back", -YEARS))
)
