"""Processes as /proc shows them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def with_default_signals() -> None:
    """For `preexec_fn`: a background job or nohup ignores signals, and its children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def is_alive(pid: int) -> bool:
    """Whether `pid` runs; a process that ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


def signals_caught(pid: int) -> set[int]:
    """The signals that the process has handlers for."""
    bits = int(Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0], 16)
    return {number + 1 for number in range(64) if bits >> number & 1}


def children_of(pid: int) -> list[int]:
    """What any thread of `pid` started and has not ended."""
    found: list[int] = []
    with suppress(OSError):  # `pid` is gone
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):  # the thread is
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> set[int]:
    """All processes below `pid`."""
    found = set(children_of(pid))
    for child in list(found):
        found |= descendants(child)
    return found


def workers(pid: int) -> list[int]:
    """The children of `pid`, once each runs a program of its own."""
    own = Path(f"/proc/{pid}")
    try:
        pids = map(int, (own / f"task/{pid}/children").read_text().split())
        # One that has not got there yet shares its parent's memory, and its parent waits for it in the kernel.
        return [child for child in pids if _program(Path(f"/proc/{child}")) not in (b"", _program(own))]
    except OSError:
        return []


def has_in_memory(pid: int, part: str) -> bool:
    """Whether a file with `part` in its name is mapped by `pid`."""
    try:
        return part in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def open_files(pid: int) -> set[str]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(link.readlink()))
    except OSError:
        return found  # it was closed meanwhile
    return found


def with_environment(variable: str) -> list[int]:
    """The processes, alive, that were started with `variable`, a name and its value."""
    wanted = variable.encode() + b"\0"
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                if wanted in (process / "environ").read_bytes() and is_alive(int(process.name)):
                    found.append(int(process.name))
            except OSError:
                continue
    return found


def comes_true(what: Callable[[], object], seconds: float) -> bool:
    """Whether it is true within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.01)
    return bool(what())


def ends_within(pid: int, seconds: float) -> bool:
    """Whether the process `pid` is gone, or goes before so many seconds have passed."""
    return comes_true(lambda: not is_alive(pid), seconds)


def _program(process: Path) -> bytes:
    return (process / "cmdline").read_bytes()
