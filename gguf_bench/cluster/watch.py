"""Whether what a worker computes is still wanted: its task was not cancelled, and nobody is closing the worker.

The scheduler cancels a coordinator's tasks when the coordinator says so, and when it is gone, however it ended. Dask
lets a task's thread run on then; here its child process is ended, and the thread comes to its end by that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from distributed import get_worker
from distributed.core import Status

from gguf_bench.child import Child
from gguf_bench.errors import ClusterError

LOOK_SECONDS = 0.25


class Unwanted(ClusterError):
    """Nobody waits for the task any more."""


class Watch:
    """The task of this thread. As a `Progress` it keeps what is said in `said`, and stops work that shows a bar."""

    def __init__(self) -> None:
        self._worker = get_worker()
        self._key = self._worker.get_current_task()
        self.said: list[str] = []
        self._children: list[Child] = []

    @property
    def is_wanted(self) -> bool:
        task = self._worker.state.tasks.get(self._key)
        is_open = self._worker.status in (Status.running, Status.paused)
        return is_open and task is not None and task.state in ("executing", "long-running")

    def check(self) -> None:
        """Raise Unwanted where that is so."""
        if not self.is_wanted:
            raise Unwanted("the task was cancelled")

    def on_child(self, child: Child) -> None:
        """Have `ending` look after it."""
        self._children.append(child)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Within, a child process ends as soon as the task is not wanted."""
        through = threading.Event()

        def look() -> None:
            while not through.wait(LOOK_SECONDS):
                if not self.is_wanted:
                    for child in self._children:
                        child.close()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            through.set()
            thread.join()

    # As a Progress and its bars

    def bar(self, label: str, total: float | None, unit: str) -> Watch:
        return self

    def say(self, line: str) -> None:
        self.said.append(line)

    def advance(self, amount: float) -> None:
        self.check()

    def note(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass
