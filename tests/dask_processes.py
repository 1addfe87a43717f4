"""A real Dask scheduler and workers on loopback, each a process of its own, for tests and benchmarks.

Each ends by its own id. `Fault` is put into workers: what it makes of the child processes that they start.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from distributed import Client

ROOT = Path(__file__).parent.parent
START_SECONDS = 120

FAULTY = '''
import sys
from gguf_bench import child
child.WORKER = (sys.executable, "-P", "-c", """
import io, json, os, pathlib, signal, sys, time
line = sys.stdin.buffer.readline()
job = json.loads(line)
if job["job"] in ("run", "calibrate"):
    path = pathlib.Path(job["path"])
    if "crash" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    hold = path.with_suffix(".hold" if job["job"] == "run" else ".hold-calibrate")
    if hold.exists():
        hold.with_suffix(f".held-{os.getpid()}").touch()
        while hold.exists():
            time.sleep(0.02)
            print(json.dumps({"event": "beat"}), flush=True)
sys.stdin = io.TextIOWrapper(io.BytesIO(line))
from gguf_bench import worker
worker.main()
""")
'''
"""Children whose model is called crash die of SIGSEGV; one beside which lies a file `NAME.hold` waits for its
end, one that calibrates for that of `NAME.hold-calibrate`."""


class DaskProcesses:
    """A scheduler, and the workers that `add` starts. `address` is where the scheduler listens."""

    def __init__(self, folder: Path, *, protocol: str = "tcp", env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.env = folder, dict(env or {})
        self.processes: list[subprocess.Popen[bytes]] = []
        about = folder / "scheduler.json"
        command = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", protocol, "--no-dashboard"]
        command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(about)]
        self.scheduler = self._start(command, folder, {})
        self.address = str(_waited_for(self.scheduler, lambda: json.loads(about.read_text())["address"]))

    def add(
        self, name: str, *arguments: str, env: Mapping[str, str] | None = None, fault: str = FAULTY
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread in a folder of its own; it joins when it is ready."""
        folder = self.folder / name
        folder.mkdir()
        command = ["dask_worker", self.address, "--host", "127.0.0.1", "--name", name, "--nthreads", "1"]
        command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--local-directory", str(folder)]
        preload = folder / "preload.py"
        preload.write_text(fault)
        options = arguments if "--nanny" in arguments else ("--no-nanny", *arguments)
        return self._start([*command, "--preload", str(preload), *options], folder, env or {})

    def _start(self, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        module, *arguments = command
        with (folder / f"{module}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *arguments],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)} | self.env | dict(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.processes.append(process)
        return process

    def wait_for_workers(self, count: int) -> None:
        """Until so many have joined."""
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=START_SECONDS)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill it, and wait until it is gone."""
        process.kill()
        process.wait()

    def __enter__(self) -> DaskProcesses:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for process in self.processes:
            self.end(process)


def _die_with_parent() -> None:
    """Also where that is killed. (PR_SET_PDEATHSIG: it counts from the thread that starts the process.)"""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _waited_for(process: subprocess.Popen[bytes], found: object) -> object:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return found()  # type: ignore[operator]
        except (OSError, ValueError, KeyError):
            time.sleep(0.02)
    raise RuntimeError("the scheduler did not start; see its log")
