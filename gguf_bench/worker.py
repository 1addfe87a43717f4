"""The child process: reads one job from standard input, does it with llama.cpp, and streams events to standard output.

`child` starts it. What it can do is in `jobs`, a module a job. Standard output belongs to the events alone: llama.cpp's
own prints go to standard error, where the parent finds the reason when this process dies.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from importlib import import_module
from typing import Any

from gguf_bench.errors import GgufBenchError
from gguf_bench.jobs.protocol import report

TALKING_JOBS = ("chat", "quantize")
"""Jobs that go on reading their standard input, and so notice themselves when the parent is gone."""


def main() -> None:
    """Do the one job and exit: 0 when done or when the failure was reported as an event.

    The argument names it, so that its module is imported before the job comes.
    """
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def emit(event: str, **fields: Any) -> None:
        left = memoryview(json.dumps({"event": event, **fields}).encode() + b"\n")
        while left:  # a process that is stopped and goes on may have written a part
            left = left[out.write(left) or 0 :]

    name = sys.argv[1]
    module = import_module(f"gguf_bench.jobs.{name}")
    lines = sys.stdin.buffer
    job = json.loads(lines.readline())
    if name not in TALKING_JOBS:
        threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        module.work(job, emit, lines)
    except GgufBenchError as error:
        report(error, emit)
    except MemoryError:
        emit("error", kind="ModelError", message="out of memory", hint="")
    except BaseException:  # noqa: BLE001 (a bug of ours: its traceback is what the parent finds in the log)
        traceback.print_exc()
        os._exit(1)
    out.close()
    os._exit(0)  # nothing is left to save, and freeing gigabytes politely takes time


def _exit_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
