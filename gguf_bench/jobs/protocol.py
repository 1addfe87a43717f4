"""What jobs are given, and how they tell of themselves."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gguf_bench.errors import GgufBenchError

Job = Mapping[str, Any]
"""The line of JSON that a job is given as, its name in "job"."""
Emit = Callable[..., None]
"""`emit(event, **fields)` sends the parent one line of JSON."""
Lines = Iterable[bytes]
"""What comes on standard input behind the job, for jobs that go on reading it."""

PROGRESS_EVERY_SECONDS, BEAT_EVERY_SECONDS = 0.1, 1.0


def report(error: GgufBenchError, emit: Emit, event: str = "error") -> None:
    """Tell the parent of `error`, which it raises again; as another `event` it is told only."""
    emit(event, kind=type(error).__name__, message=error.message, hint=error.hint)


class Seldom:
    """Emits `event`, at most every so many seconds."""

    def __init__(self, emit: Emit, event: str, every_seconds: float) -> None:
        self._emit, self._event, self._every_seconds, self._last = emit, event, every_seconds, 0.0

    def __call__(self, **fields: Any) -> None:
        if time.monotonic() - self._last > self._every_seconds:
            self._last = time.monotonic()
            self._emit(self._event, **fields)


def beat(emit: Emit) -> Seldom:
    """A sign of life for the parent."""
    return Seldom(emit, "beat", BEAT_EVERY_SECONDS)


def peak_rss_bytes() -> int:
    """The most memory that this process held. getrusage would begin with that of the process it was forked from."""
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * (int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
