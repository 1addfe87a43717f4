"""Vega-Lite specs -> SVG, by vl-convert, which draws without a browser or the network.

Its engine takes half a second to start and holds Python's lock all the while, so it runs in processes of its own
(`pen`), beside the one that asks the store.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from gguf_bench.errors import GgufBenchError

PEN = Path(__file__).with_name("pen.py")
PROCESSES = max(1, min(3, len(os.sched_getaffinity(0)) - 1))
"""One core is left to the one that asks the store."""


class Pens:
    """Draw charts side by side; use as a context manager. They get ready while other work is done.

    Raises GgufBenchError where vl-convert is not installed.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("vl_convert") is None:
            raise GgufBenchError(
                "report needs vl_convert, which is not installed", hint="pip install 'gguf-bench[report]'"
            )
        self._threads = ThreadPoolExecutor(PROCESSES)
        self._free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        # By its path, so that it need not import the package; not of the terminal's group, so that Ctrl-C is ours.
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-P", PEN],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            for _ in range(PROCESSES)
        ]
        for process in self._processes:
            self._free.put(process)

    def __enter__(self) -> Pens:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            process.communicate()

    def draw(self, spec: Mapping[str, Any]) -> Future[str]:
        """The SVG element of a chart to be, for a page that has the CSS variables its colours are.

        Its result raises GgufBenchError where vl-convert cannot draw it.
        """
        return self._threads.submit(self._drawn, spec)

    def _drawn(self, spec: Mapping[str, Any]) -> str:
        process = self._free.get()
        try:
            reply = _asked(process, spec)
        finally:
            self._free.put(process)
        if "error" in reply:
            raise GgufBenchError(f"a chart cannot be drawn: {reply['error']}")
        return reply["svg"][reply["svg"].index("<svg") :]


def _asked(process: subprocess.Popen[bytes], spec: Mapping[str, Any]) -> dict[str, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(spec).encode() + b"\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = b""
    reply: dict[str, str] = json.loads(line) if line else {"error": "vl-convert died"}
    return reply
